"""Seed tasks: the bundled ones, or any set as it is found, checked row by row."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import SEEDS, brief, from_rows, normalise, read_rows, to_flag
from ..errors import SeedError, SourceError

BUNDLED = Path(__file__).parent / "seeds.jsonl"
BUNDLED_NAME = "the seeds of auto-instruct-hf"
_BUNDLED_LICENSE = "apache-2.0"
_EMPTY = "{} is empty: a seed set needs at least one row with instruction and output"


def read_seeds(
    source: str | Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> Dataset:
    """Read seed tasks.

    The shapes of Self-Instruct (`instances`: a list of `input` and `output`; the first one counts) and of Alpaca
    (`instruction`, `input`, `output`) are known. `input`, `is_classification` and `domain` may be missing: then there
    is no input, no task counts as classification, and no domain is named.

    Args:
        source: A Parquet, CSV, JSON or JSON Lines file, or the id of a dataset on the Hub; None: the bundled seeds.
        columns: Where names differ: column of the contract -> column of the source.
        config: Configuration of a dataset on the Hub.
        split: Which split to read; None: `train`, or the only one there is.
        revision: Revision of a dataset on the Hub.

    Returns:
        A dataset with the columns of `schema.SEEDS`; its info has the name (`dataset_name`), the license if known, and
        the mapping of columns (`description`).

    Raises:
        SeedError: If the source cannot be read, is empty, lacks a column, repeats an instruction, or holds something
            that is not text; the message names the row (counted from 1).
    """
    source = BUNDLED if source is None else source
    try:
        table = read_rows(source, "seeds", config=config, split=split, revision=revision)
    except SourceError as error:
        raise SeedError(str(error)) from None
    if len(table) == 0:
        raise SeedError(_EMPTY.format(source))
    names = _find_columns(list(dict.fromkeys(key for row in table for key in row)), columns or {}, source)
    rows = [_read_row(row, names, f"{source}, row {number}") for number, row in enumerate(table, start=1)]
    _check_repeats(rows, source)
    seeds = from_rows(rows, SEEDS)
    seeds.info.dataset_name = (
        BUNDLED_NAME if source == BUNDLED else Path(source).name if Path(source).is_file() else str(source)
    )
    seeds.info.license = _BUNDLED_LICENSE if source == BUNDLED else ""
    seeds.info.description = " ".join(f"{name}={column}" for name, column in (columns or {}).items())
    return seeds


def bundled_domains() -> list[str]:
    """Return the names of the domains of the bundled seeds, sorted."""
    return sorted({json.loads(line)["domain"] for line in BUNDLED.read_text(encoding="utf-8").splitlines()})


def _find_columns(found: list[str], mapping: Mapping[str, str], source: str | Path) -> dict[str, str]:
    unknown = sorted(set(mapping) - set(SEEDS))
    if unknown:
        raise SeedError(f"unknown column {unknown[0]!r} in the mapping; the contract has {', '.join(SEEDS)}")
    names = {name: mapping.get(name, name) for name in SEEDS}
    for name, column in names.items():
        in_instances = name in ("input", "output") and name not in mapping and "instances" in found
        may_be_missing = name in ("input", "is_classification", "domain") and name not in mapping
        if column not in found and not in_instances and not may_be_missing:
            raise SeedError(
                f"{source} has no column {column!r}; it has {', '.join(found)}. Rename one, or map it: {name}=YOURS"
            )
    if "instances" in found and "output" not in mapping and "output" not in found:
        names.update(input="instances", output="instances")
    return {name: column for name, column in names.items() if column in found}


def _read_row(row: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    values = {name: row.get(column) for name, column in names.items()}
    if names.get("output") == "instances":
        instances = values["output"]
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            raise SeedError(f"{where}: `instances` must be a list with at least one object, found {brief(instances)}")
        values.update(input=instances[0].get("input"), output=instances[0].get("output"))
    return {
        "instruction": _text(values["instruction"], "instruction", where),
        "input": _text(values.get("input"), "input", where, may_be_empty=True),
        "output": _text(values["output"], "output", where),
        "is_classification": _flag(values.get("is_classification"), where),
        "domain": _text(values.get("domain"), "domain", where, may_be_empty=True),
    }


def _text(value: Any, name: str, where: str, may_be_empty: bool = False) -> str:
    if value is None and may_be_empty:
        return ""
    if not isinstance(value, str):
        raise SeedError(f"{where}: {name!r} must be text, found {brief(value)}")
    if not value.strip() and not may_be_empty:
        raise SeedError(f"{where}: {name!r} is empty")
    return value.strip()


def _flag(value: Any, where: str) -> bool:
    flag = to_flag(value)
    if flag is None:
        raise SeedError(f"{where}: 'is_classification' must be true or false, found {brief(value)}")
    return flag


def _check_repeats(rows: list[dict[str, Any]], source: str | Path) -> None:
    first: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=1):
        key = (normalise(row["instruction"]), normalise(row["input"]))
        if key in first:
            raise SeedError(
                f"{source}, row {number} repeats row {first[key]}: {brief(row['instruction'])}. Remove one of them"
            )
        first[key] = number
