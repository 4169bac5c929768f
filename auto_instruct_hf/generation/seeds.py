"""Read seed tasks: the bundled ones or others, checked row by row."""

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
_OPTIONAL = ("input", "is_classification", "domain")


def read_seeds(
    source: str | Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> Dataset:
    """Read seed tasks.

    Supports the formats of Self-Instruct (`instances`: a list of `input` and `output`, of which the first is read) and
    Alpaca (`instruction`, `input`, `output`). `input`, `is_classification` and `domain` may be missing: then they are
    "", false and "".

    Args:
        source: A Parquet, CSV, JSON or JSON Lines file, or the id of a dataset on the Hub; None: the bundled seeds.
        columns: Column of `schema.SEEDS` -> column of the source, if they differ.
        config: Configuration of a dataset on the Hub.
        split: The split to read; None: `train`, or the only one.
        revision: Revision of a dataset on the Hub.

    Returns:
        Columns of `schema.SEEDS`; its info has the name (`dataset_name`), the license if known, and
        the mapping of columns (`description`).

    Raises:
        SeedError: If the source cannot be read, is empty, lacks a column, repeats an instruction, or has a value that
            is not text; the message names the row (from 1).
    """
    source = BUNDLED if source is None else source
    try:
        table = read_rows(source, "seeds", config=config, split=split, revision=revision)
    except SourceError as error:
        raise SeedError(str(error)) from None
    if len(table) == 0:
        raise SeedError(f"{source} is empty: a seed set needs at least one row with instruction and output")
    names = _find_columns(list(dict.fromkeys(key for row in table for key in row)), columns or {}, source)
    rows = []
    first: dict[tuple[str, str], int] = {}
    for number, found in enumerate(table, start=1):
        row = _read_row(found, names, f"{source}, row {number}")
        earlier = first.setdefault((normalise(row["instruction"]), normalise(row["input"])), number)
        if earlier != number:
            text = brief(row["instruction"])
            raise SeedError(f"{source}, row {number} repeats row {earlier}: {text}. Remove one of them")
        rows.append(row)
    seeds = from_rows(rows, SEEDS)
    name = Path(source).name if Path(source).is_file() else str(source)
    seeds.info.dataset_name = BUNDLED_NAME if source == BUNDLED else name
    seeds.info.license = _BUNDLED_LICENSE if source == BUNDLED else ""
    seeds.info.description = " ".join(f"{name}={column}" for name, column in (columns or {}).items())
    return seeds


def bundled_domains() -> list[str]:
    """Return the names of the domains of the bundled seeds, sorted."""
    return sorted({json.loads(line)["domain"] for line in BUNDLED.read_text(encoding="utf-8").splitlines()})


def _find_columns(found: list[str], mapping: Mapping[str, str], source: str | Path) -> dict[str, str]:
    """Return column of SEEDS -> column of the source, for those that it has."""
    unknown = sorted(set(mapping) - set(SEEDS))
    if unknown:
        raise SeedError(f"unknown column {unknown[0]!r} in the mapping; seeds have the columns {', '.join(SEEDS)}")
    names = {name: mapping.get(name, name) for name in SEEDS}
    for name, column in names.items():
        in_instances = name in ("input", "output") and "instances" in found
        if column not in found and (name in mapping or not (name in _OPTIONAL or in_instances)):
            raise SeedError(
                f"{source} has no column {column!r}; it has {', '.join(found)}. Rename one, or map it: {name}=YOURS"
            )
    if "instances" in found and "output" not in mapping and "output" not in found:
        names.update(input="instances", output="instances")
    return {name: column for name, column in names.items() if column in found}


def _read_row(row: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    values = {name: row.get(names[name]) if name in names else None for name in SEEDS}
    if names.get("output") == "instances":
        instances = values["output"]
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            raise SeedError(f"{where}: `instances` must be a list with at least one object, found {brief(instances)}")
        values.update(input=instances[0].get("input"), output=instances[0].get("output"))
    for name, value in values.items():
        if name == "is_classification":
            values[name] = to_flag(value)
            if values[name] is None:
                raise SeedError(f"{where}: {name!r} must be true or false, found {brief(value)}")
        elif value is None and name in _OPTIONAL:
            values[name] = ""
        elif not isinstance(value, str):
            raise SeedError(f"{where}: {name!r} must be text, found {brief(value)}")
        elif not value.strip() and name not in _OPTIONAL:
            raise SeedError(f"{where}: {name!r} is empty")
        else:
            values[name] = value.strip()
    return values
