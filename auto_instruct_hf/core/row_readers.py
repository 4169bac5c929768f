"""Read rows from a file or a dataset on the Hub."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import DatasetDict, load_dataset

from ..errors import RecipeError, SourceError

_FLAGS = dict.fromkeys(("yes", "true", "1", "1.0"), True) | dict.fromkeys(("no", "false", "0", "0.0", "nan", ""), False)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
Row = dict[str, Any]
"""A row as it was read: column -> value."""


def read_rows(
    source: str | Path,
    what: str,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    splits: Sequence[str] = ("train",),
    may_join: bool = False,
) -> list[Row]:
    """Read the rows of a Parquet, CSV, JSON or JSON Lines file, or of a dataset on the Hub, without changing them.

    `what` names the rows in error messages, in the plural. On the Hub, `split` is read; if it is None, the first of
    `splits` that exists, else the only split, else all splits if `may_join`. A SourceError says where reading failed.
    """
    path, suffixes = Path(source), ", ".join(_READERS)
    if path.is_file():
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise SourceError(f"{path} ends in {path.suffix or 'nothing'}: {what} are read from {suffixes}")
        return reader(path)
    if path.exists():
        raise SourceError(f"{source} is not a file: give one of {suffixes}, or the id of a dataset on the Hub")
    if not _HUB_ID.fullmatch(str(source)) or path.suffix in _READERS:
        raise SourceError(
            f"no such file of {what}: {source}. Give a file, or the id of a dataset on the Hub (user/name)"
        )
    try:
        loaded = load_dataset(str(source), config, split=split, revision=revision)
    except Exception as error:  # the clients below raise many kinds of errors; each is reported in one line
        raise SourceError(f"cannot load the {what} {source} from the Hub: {_first_line(error)}") from None
    if not isinstance(loaded, DatasetDict):
        loaded = DatasetDict({"": loaded})
    names = [name for name in splits if name in loaded][:1] or list(loaded)
    if len(names) > 1 and not may_join:
        wanted = " and no ".join(splits)
        raise SourceError(f"{source} has the splits {', '.join(loaded)} and no {wanted}: name the one to read")
    return [row for name in names for row in loaded[name].to_list()]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, stripped, without blank ones."""
    return [line.strip() for line in _decode(path).split("\n") if line.strip()]


def _read_parquet(path: Path) -> list[Row]:
    try:
        return list(pq.read_table(path).to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None


def _read_json_lines(path: Path) -> list[Row]:
    lines = enumerate(_decode(path).split("\n"), start=1)
    return [_parse_object(line, f"{path}, row {number}") for number, line in lines if line.strip()]


def _read_json(path: Path) -> list[Row]:
    text = _decode(path)
    if text.lstrip().startswith("{"):
        return _read_json_lines(path)
    try:
        rows = json.loads(text or "[]")
    except ValueError as error:
        raise SourceError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(rows, list):
        raise SourceError(f"{path} must hold a list of objects, found {brief(rows)}")
    return [_parse_object(json.dumps(row), f"{path}, row {number}") for number, row in enumerate(rows, start=1)]


def _parse_object(text: str, where: str) -> Row:
    try:
        row = json.loads(text)
        json.dumps(row, ensure_ascii=False).encode()  # raises for half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} cannot be read as JSON: {error}") from None
    if not isinstance(row, dict):
        raise SourceError(f"{where} must be an object, found {brief(row)}")
    return row


def _read_csv(path: Path) -> list[Row]:
    # The standard library's reader keeps every cell as text, without a limit on its length.
    text = io.StringIO(_decode(path), newline="")
    limit = csv.field_size_limit(sys.maxsize)
    try:
        header, *rows = [cells for cells in csv.reader(text, strict=True) if cells] or [[]]
    except csv.Error as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)
    if len(set(header)) < len(header):
        raise SourceError(f"{path} has two columns with the same name: {', '.join(header)}")
    for number, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            raise SourceError(
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
        raise SourceError(f"{path}, line {line} is not UTF-8 text (byte {error.start}): convert the file") from None


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:300]


def brief(value: object) -> str:
    """Format a value for an error message: truncated, with its type."""
    text = repr(value)
    return f"{text[:80]}{'…' if len(text) > 80 else ''} ({type(value).__name__})"


def to_flag(value: object) -> bool | None:
    """Parse a yes or no as people write it ("Yes", "no", "true", "0"; None and "" mean no); None if it is neither."""
    return _FLAGS.get("" if value is None else str(value).strip().lower())


def parse_columns(pairs: Iterable[str] | None) -> dict[str, str]:
    """Parse the values of `--column`, such as `instruction=prompt`: column of this package -> column of the file."""
    found = list(pairs or ())
    for pair in found:
        if "=" not in pair:
            raise RecipeError(f"--column is {pair!r}; it should be like instruction=prompt")
    return dict(pair.split("=", 1) for pair in found)
