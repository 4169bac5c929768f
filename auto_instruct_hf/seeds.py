"""Seed tasks: the bundled ones, or any set as it is found, checked row by row."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, load_dataset

from .errors import SeedError
from .schema import SEEDS
from .texts import normalise
from .transform import from_rows

BUNDLED = Path(__file__).parent / "data" / "seeds.jsonl"
BUNDLED_NAME = "the seeds of auto-instruct-hf"
_BUNDLED_LICENSE = "apache-2.0"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_EMPTY = "{} is empty: a seed set needs at least one row with instruction and output"
_YES = {"yes", "true", "1", "1.0"}
_NO = {"no", "false", "0", "0.0", "nan", ""}


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
        A dataset with the columns of `schema.SEEDS`; its info tells its name, and its licence where that is known.

    Raises:
        SeedError: If the source cannot be read, is empty, lacks a column, repeats an instruction, or holds something
            that is not text; the message names the row (counted from 1).
    """
    source = BUNDLED if source is None else source
    table = _load(source, config, split, revision)
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
    return seeds


def bundled_domains() -> list[str]:
    """Return the names of the domains of the bundled seeds, sorted."""
    return sorted({json.loads(line)["domain"] for line in BUNDLED.read_text(encoding="utf-8").splitlines()})


def _load(source: str | Path, config: str | None, split: str | None, revision: str | None) -> list[dict[str, Any]]:
    path = Path(source)
    if path.is_file():
        return _load_file(path)
    if path.exists():
        raise SeedError(f"{source} is not a file: give one of {', '.join(_READERS)}, or the id of a dataset on the Hub")
    if not _HUB_ID.fullmatch(str(source)) or path.suffix in _READERS:
        raise SeedError(f"no such seed file: {source}. Give a file, or the id of a dataset on the Hub (user/name)")
    try:
        loaded = load_dataset(str(source), config, split=split, revision=revision)
    except Exception as error:  # the clients below raise errors of half a dozen families; each is told in one line
        raise SeedError(f"cannot load the seeds {source} from the Hub: {_first_line(error)}") from None
    if isinstance(loaded, DatasetDict):
        if "train" not in loaded and len(loaded) > 1:
            raise SeedError(f"{source} has the splits {', '.join(loaded)} and no train: name the one to read")
        loaded = loaded["train"] if "train" in loaded else next(iter(loaded.values()))
    rows: list[dict[str, Any]] = loaded.to_list()
    return rows


def _load_file(path: Path) -> list[dict[str, Any]]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SeedError(f"{path} ends in {path.suffix or 'nothing'}: seed files are {', '.join(_READERS)}")
    return reader(path)


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SeedError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None
    return rows


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    lines = enumerate(_decode(path).split("\n"), start=1)
    return [_parse_object(line, f"{path}, row {number}") for number, line in lines if line.strip()]


def _read_json(path: Path) -> list[dict[str, Any]]:
    text = _decode(path)
    if text.lstrip().startswith("{"):
        return _read_json_lines(path)
    try:
        rows = json.loads(text or "[]")
    except ValueError as error:
        raise SeedError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(rows, list):
        raise SeedError(f"{path} must hold a list of objects, found {_brief(rows)}")
    return [_parse_object(json.dumps(row), f"{path}, row {number}") for number, row in enumerate(rows, start=1)]


def _parse_object(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
        json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise SeedError(f"{where} cannot be read as JSON: {error}") from None
    if not isinstance(row, dict):
        raise SeedError(f"{where} must be an object with instruction and output, found {_brief(row)}")
    return row


def _read_csv(path: Path) -> list[dict[str, Any]]:
    # The standard library's reader: no cell is taken for a number, a null or an index, and a cell may be long.
    text = io.StringIO(_decode(path), newline="")
    limit = csv.field_size_limit(sys.maxsize)
    try:
        table = [cells for cells in csv.reader(text, strict=True) if cells]
    except csv.Error as error:
        raise SeedError(f"{path} cannot be read as CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)
    header, *rows = table or [[]]
    if len(set(header)) < len(header):
        raise SeedError(f"{path} has two columns of one name: {', '.join(header)}")
    for number, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            raise SeedError(
                f"{path}, row {number} has {len(cells)} cells, the header {len(header)}: "
                "put texts with commas in quotes"
            )
    return [dict(zip(header, cells, strict=True)) for cells in rows]


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SeedError(f"{path}, line {line} is not UTF-8 text (byte {error.start}): convert the file") from None


_READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


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
            raise SeedError(f"{where}: `instances` must be a list with at least one object, found {_brief(instances)}")
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
        raise SeedError(f"{where}: {name!r} must be text, found {_brief(value)}")
    if not value.strip() and not may_be_empty:
        raise SeedError(f"{where}: {name!r} is empty")
    return value.strip()


def _flag(value: Any, where: str) -> bool:
    word = "" if value is None else str(value).strip().lower()
    if word not in _YES | _NO:
        raise SeedError(f"{where}: 'is_classification' must be true or false, found {_brief(value)}")
    return word in _YES


def _brief(value: Any) -> str:
    text = repr(value)
    return f"{text[:80]}{'…' if len(text) > 80 else ''} ({type(value).__name__})"


def _check_repeats(rows: list[dict[str, Any]], source: str | Path) -> None:
    first: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=1):
        key = (normalise(row["instruction"]), normalise(row["input"]))
        if key in first:
            raise SeedError(
                f"{source}, row {number} repeats row {first[key]}: {_brief(row['instruction'])}. Remove one of them"
            )
        first[key] = number
