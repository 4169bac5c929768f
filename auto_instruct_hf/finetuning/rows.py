"""Rows to train on and to test on, from a build, a file or the Hub, as TRL takes them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value

from ..core import CHAT, INSTANCES, brief, from_rows, instruction_id, make_id, read_rows, to_flag
from ..errors import SourceError
from ..evaluation import read_built
from ..generation import read_seeds
from ..recipe import ChatSettings
from ..sampling import add_messages

_LOG = logging.getLogger(__name__)
_TEXTS = ("instruction", "input", "output")
EXAMPLES = Features(
    {
        **{name: Value("string") for name in _TEXTS},
        "is_classification": Value("bool"),
        "prompt": CHAT["prompt"],
        "completion": CHAT["completion"],
    }
)
"""One row an example: its texts, whether it is classification, and the two parts of its chat."""
SPLITS = ("train", "test")


def read_examples(source: str | Path, split: str = "train") -> Dataset:
    """Read the examples of a split.

    Args:
        source: Folder of a build, of which the config `instances` is read; or what `read_rows` takes, with the columns
            `instruction` and `output`, or in any other shape that `read_seeds` reads.
        split: The split of a build, and the value of the column `split` if a file has one. Without that column, all
            rows are of `train`.

    Returns:
        Columns as EXAMPLES, equal rows once; empty if there is no such split. Where a prompt has several outputs, it
        asks for the strategy of each (column `attribute`), as in a build.

    Raises:
        SourceError: If it cannot be read, or a value is of another type.
        SeedError: If it lacks a column.
    """
    if (Path(source) / "dataset").is_dir():
        splits = read_built(Path(source)).read_splits("instances")
        if split not in splits:
            return from_rows([], EXAMPLES)
        part = splits[split] if "prompt" in splits[split].column_names else _add_chat(splits[split])
        return from_rows(part.select_columns(list(EXAMPLES)), EXAMPLES)
    rows = read_rows(source, "training rows")
    if any({"instruction", "output"} - set(row) for row in rows):
        return to_examples(read_seeds(source) if split == "train" else from_rows([], INSTANCES))
    kept = [row for row in rows if str(row.get("split") or "train") == split]
    return to_examples([_read_row(row, f"{source}, row {number}") for number, row in enumerate(kept, start=1)])


def to_examples(rows: Dataset | Sequence[dict[str, Any]]) -> Dataset:
    """Turn rows with `instruction`, `input`, `output`, `is_classification` into columns as EXAMPLES.

    Rows without output are left out; `attribute` may be missing. Of rows with equal texts one is kept.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["output"].strip():
            whole = {"attribute": "", **row}
            key = make_id(*(whole[name] for name in (*_TEXTS, "attribute")))
            found[key] = {**whole, "instance_id": key, "instruction_id": instruction_id(whole["instruction"])}
    if left_out := sum(not row["output"].strip() for row in rows):
        _LOG.warning("%d rows without output are left out", left_out)
    instances = from_rows([{name: row[name] for name in INSTANCES} for row in found.values()], INSTANCES)
    return _add_chat(instances).select_columns(list(EXAMPLES)) if found else from_rows([], EXAMPLES)


def shuffle_outputs(examples: Dataset, seed: int) -> Dataset:
    """Give each example the output of another one; the control that should not help."""
    order = np.random.default_rng(seed).permutation(len(examples))
    donors = np.empty_like(order)
    donors[order] = np.roll(order, 1)  # one cycle: none keeps its own
    columns = examples.to_dict()
    for name in ("output", "completion"):
        columns[name] = [columns[name][row] for row in donors]
    return Dataset.from_dict(columns, features=EXAMPLES)


def _read_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {name: row.get(name) or "" for name in (*_TEXTS, "attribute")}
    for name, value in found.items():
        if not isinstance(value, str):
            raise SourceError(f"{where}: {name!r} must be text, found {brief(value)}")
    if (flag := to_flag(row.get("is_classification"))) is None:
        raise SourceError(
            f"{where}: 'is_classification' must be true or false, found {brief(row['is_classification'])}"
        )
    return {**found, "is_classification": flag}


def _add_chat(instances: Dataset) -> Dataset:
    return add_messages(DatasetDict(train=instances), settings=ChatSettings())["train"]
