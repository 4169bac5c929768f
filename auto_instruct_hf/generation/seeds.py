"""Read seed tasks: the bundled ones or others, checked row by row."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import SEEDS, brief, from_rows, join_faults, normalise, read_rows, to_flag
from ..errors import SeedError, SourceError

BUNDLED = Path(__file__).parent / "seeds.jsonl"
BUNDLED_NAME = "the seeds of auto-instruct-hf"
_BUNDLED_LICENSE = "apache-2.0"
_OPTIONAL = ("input", "is_classification", "domain")
_CHATS = ("messages", "conversations")
# Ours: Alpaca has 28 rows without output in 52,002; more than one in ten suggests a wrong column.
_MAX_LEFT_OUT = 0.1
_MAX_NUMBERS = 5
_LOG = logging.getLogger(__name__)


def read_seeds(
    source: str | Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> Dataset:
    """Read seed tasks.

    Supports the formats of Self-Instruct (`instances`: a list of `input` and `output`, of which the first is read),
    Alpaca (`instruction`, `input`, `output`), and chats (`messages`, or ShareGPT's `conversations`: the user's first
    turn and the assistant's first after it). `input`, `is_classification` and `domain` may be missing: then they are
    "", false and "". A few rows without output, or that repeat an earlier one, are left out with a warning.

    Args:
        source: As for `core.read_rows`; on the Hub also `user/name:config` and `user/name:config:split`. None: the
            bundled seeds.
        columns: Column of `schema.SEEDS` -> column of the source, if they differ.
        config: Configuration of a dataset on the Hub.
        split: The split to read; None: `train`, or the only one.
        revision: Revision of a dataset on the Hub.

    Returns:
        Columns of `schema.SEEDS`; its info has the name (`dataset_name`), the license if known, and
        the mapping of columns (`description`).

    Raises:
        SeedError: If the source cannot be read, is empty, lacks a column, repeats an instruction, or has a value that
            is not text; the message names the rows (from 1).
    """
    source = BUNDLED if source is None else source
    hub_id, given_config, given_split = _split_hub_name(source)
    try:
        table = read_rows(hub_id, "seeds", config=config or given_config, split=split or given_split, revision=revision)
    except SourceError as error:
        raise SeedError(str(error)) from None
    if len(table) == 0:
        raise SeedError(f"{source} is empty: a seed set needs at least one row with instruction and output")
    found = list(dict.fromkeys(key for row in table for key in row))
    chat = next((name for name in _CHATS if name in found and "instruction" not in (*found, *(columns or ()))), None)
    if chat:
        table, found = [_read_chat(row, chat) for row in table], ["instruction", "output"]
    names = _find_columns(found, columns or {}, source)
    rows = _read_table(table, names, source)
    seeds = from_rows(rows, SEEDS)
    name = Path(source).name if Path(source).exists() else str(source)
    seeds.info.dataset_name = BUNDLED_NAME if source == BUNDLED else name
    seeds.info.license = _BUNDLED_LICENSE if source == BUNDLED else ""
    seeds.info.description = " ".join(f"{name}={column}" for name, column in (columns or {}).items())
    return seeds


def _find_columns(found: list[str], mapping: Mapping[str, str], source: str | Path) -> dict[str, str]:
    """Return column of SEEDS -> column of the source, for those that it has."""
    unknown = sorted(set(mapping) - set(SEEDS))
    if unknown:
        raise SeedError(
            f"unknown column {unknown[0]!r} in the mapping; seeds have the columns {', '.join(SEEDS)}, and the mapping "
            "names them first: instruction=YOURS"
        )
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


def _split_hub_name(source: str | Path) -> tuple[str | Path, str | None, str | None]:
    """Split `user/name:config:split`; config and split are None if they are not given, and for files."""
    name, *rest = str(source).split(":")
    if Path(source).exists() or not rest or len(rest) > 2 or name.count("/") != 1:
        return source, None, None
    config, split = (*rest, "")[:2]
    return name, config or None, split or None


def _read_chat(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    """Return the first turn of the user and the first of the assistant after it."""
    found: dict[str, Any] = {"instruction": None, "output": None}
    turns = row.get(column)
    for turn in turns if isinstance(turns, list) else ():
        role = str(turn.get("role", turn.get("from"))) if isinstance(turn, dict) else ""
        name = "instruction" if role in ("user", "human") else "output" if role in ("assistant", "gpt") else None
        if name and found[name] is None and (name == "instruction" or found["instruction"] is not None):
            found[name] = _join_parts(turn.get("content", turn.get("value")))
    return found


def _join_parts(content: object) -> object:
    """Return the text of a turn that is a list of parts, all of them texts; any other content as it is."""
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(map(str, texts)) if texts and all(isinstance(text, str) for text in texts) else content


def _read_table(
    table: Sequence[Mapping[str, Any]], names: Mapping[str, str], source: str | Path
) -> list[dict[str, Any]]:
    """Return the rows; a few without output or repeated are left out, all other faults are raised together."""
    rows, faults = [], []
    left_out: dict[str, list[tuple[int, str]]] = {"without output": [], "that repeat an earlier one": []}
    first: dict[tuple[str, str], int] = {}
    for number, found in enumerate(table, start=1):
        try:
            row = _read_row(found, names)
        except _NoOutputError as fault:
            left_out["without output"].append((number, str(fault)))
            continue
        except SeedError as fault:
            faults.append((number, str(fault)))
            continue
        earlier = first.setdefault((normalise(row["instruction"]), normalise(row["input"])), number)
        if earlier == number:
            rows.append(row)
        else:
            text = f" repeats row {earlier}: {brief(row['instruction'])}. Remove one of them"
            left_out["that repeat an earlier one"].append((number, text))
    for reason, some in left_out.items():
        if len(some) > _MAX_LEFT_OUT * len(table):
            faults = sorted(faults + some)
        elif some:
            numbers = ", ".join(str(number) for number, _ in some[:_MAX_NUMBERS])
            more = ", …" if len(some) > _MAX_NUMBERS else ""
            _LOG.warning("%s: %d rows %s are left out (%s%s)", source, len(some), reason, numbers, more)
    if faults:
        raise SeedError(f"{source}, {join_faults([f'row {number}{fault}' for number, fault in faults])}")
    return rows


class _NoOutputError(SeedError):
    """A row is whole but for its output."""


def _read_row(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    values = {name: row.get(names[name]) if name in names else None for name in SEEDS}
    if names.get("output") == "instances":
        instances = values["output"]
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            raise SeedError(f": `instances` must be a list with at least one object, found {brief(instances)}")
        values.update(input=instances[0].get("input"), output=instances[0].get("output"))
    for name, value in values.items():
        is_missing = value is None or (isinstance(value, float) and math.isnan(value))  # as data frames write it
        if name == "is_classification":
            values[name] = to_flag(None if is_missing else value)
            if values[name] is None:
                raise SeedError(f": {name!r} must be true or false, found {brief(value)}")
        elif is_missing and name in _OPTIONAL:
            values[name] = ""
        elif name == "output" and (is_missing or value == ""):
            raise _NoOutputError(": there is no output")
        elif not isinstance(value, str):
            raise SeedError(f": {name!r} must be text, found {brief(value)}")
        elif not value.strip() and name not in _OPTIONAL:
            raise SeedError(f": {name!r} is empty")
        else:
            values[name] = value.strip()
    return values
