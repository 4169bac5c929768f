"""Rows to train on and to test on, from a build, a file or the Hub, as TRL takes them."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, Value

from ..core import CHAT, brief, from_rows, read_rows, to_flag
from ..errors import SourceError
from ..evaluation import read_built
from ..generation import read_seeds
from ..sampling import make_completion, make_prompt

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


def is_build(source: str | Path) -> bool:
    """Return whether a source is the folder of a build."""
    return (Path(source) / "dataset").is_dir()


def read_examples(source: str | Path, split: str | None = "train") -> Dataset:
    """Read the examples of a split.

    Args:
        source: Folder of a build, of which the config `instances` is read; or what `read_rows` takes, with the columns
            `instruction` and `output`, or in any other shape that `read_seeds` reads.
        split: The split of a build, and the value of the column `split` if a file has one; without that column, all
            rows are of `train`. None: `test` of a build, all rows of a file.

    Returns:
        Columns as EXAMPLES, equal rows once; empty if there is no such split. Where a prompt has several outputs, it
        asks for the strategy of each (column `attribute`), as in a build.

    Raises:
        SourceError: If it cannot be read, or a value is of another type.
        SeedError: If it lacks a column.
    """
    if is_build(source):
        splits = read_built(Path(source)).read_splits("instances")
        return to_examples(splits[split or "test"]) if (split or "test") in splits else from_rows([], EXAMPLES)
    rows = read_rows(source, "training rows")
    if any({"instruction", "output"} - set(row) for row in rows):
        return to_examples(read_seeds(source) if split in ("train", None) else [])
    kept = [row for row in rows if split is None or str(row.get("split") or "train") == split]
    return to_examples([_read_row(row, f"{source}, row {number}") for number, row in enumerate(kept, start=1)])


def to_examples(rows: Dataset | Sequence[dict[str, Any]]) -> Dataset:
    """Turn rows with `instruction`, `input`, `output`, `is_classification` into columns as EXAMPLES.

    Rows without output are left out. Of rows with equal texts one is kept. `attribute` and `prompt`, a chat, may be
    missing.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        if row["output"].strip():
            whole = {"attribute": "", **row}
            found[tuple(whole[name] for name in (*_TEXTS, "attribute"))] = whole
    if left_out := sum(not row["output"].strip() for row in rows):
        _LOG.warning("%d rows without output are left out", left_out)
    outputs = Counter((row["instruction"], row["input"]) for row in found.values() if not row["is_classification"])
    for row in found.values():
        if not isinstance(row.get("prompt"), list):
            strategy = row["attribute"] if outputs[row["instruction"], row["input"]] > 1 else ""
            row["prompt"] = make_prompt(row["instruction"], row["input"], strategy)
        row["completion"] = make_completion(row["output"])
    return from_rows(found.values(), EXAMPLES)


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
    return {**found, "is_classification": flag, "prompt": row.get("prompt")}
