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
from datasets import Dataset, DatasetDict, load_dataset

from ..errors import RecipeError, SourceError

_YES = {"yes", "true", "1", "1.0"}
_NO = {"no", "false", "0", "0.0", "nan", ""}
Row = dict[str, Any]
"""A row as it was read: column -> value."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


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
    """Read rows, without changing them.

    Args:
        source: A Parquet, CSV, JSON or JSON Lines file, or the id of a dataset on the Hub.
        what: What the rows are, in the plural, for error messages.
        config: Configuration of a dataset on the Hub.
        split: The split to read; None: the first of `splits` that exists, or the only split.
        revision: Revision of a dataset on the Hub.
        splits: Names to try if `split` is None.
        may_join: Whether to read all splits if there are several and none is in `splits`.

    Returns:
        The rows.

    Raises:
        SourceError: If it cannot be read; the message says where reading failed.
    """
    path = Path(source)
    if path.is_file():
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise SourceError(f"{path} ends in {path.suffix or 'nothing'}: {what} are read from {', '.join(_READERS)}")
        return reader(path)
    if path.exists():
        raise SourceError(
            f"{source} is not a file: give one of {', '.join(_READERS)}, or the id of a dataset on the Hub"
        )
    if not _HUB_ID.fullmatch(str(source)) or path.suffix in _READERS:
        raise SourceError(
            f"no such file of {what}: {source}. Give a file, or the id of a dataset on the Hub (user/name)"
        )
    try:
        loaded = load_dataset(str(source), config, split=split, revision=revision)
    except Exception as error:  # the clients below raise many kinds of errors; each is reported in one line
        raise SourceError(f"cannot load the {what} {source} from the Hub: {_first_line(error)}") from None
    parts = _choose(loaded, splits, may_join, source) if isinstance(loaded, DatasetDict) else [loaded]
    return [row for part in parts for row in part.to_list()]


def _choose(loaded: DatasetDict, splits: Sequence[str], may_join: bool, source: str | Path) -> list[Dataset]:
    chosen = next((name for name in splits if name in loaded), None)
    if chosen is None and len(loaded) > 1 and not may_join:
        wanted = " and no ".join(splits)
        raise SourceError(f"{source} has the splits {', '.join(loaded)} and no {wanted}: name the one to read")
    return list(loaded.values()) if chosen is None else [loaded[chosen]]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, stripped, without blank ones.

    Args:
        path: The file.

    Returns:
        The lines.

    Raises:
        SourceError: If it is not UTF-8.
    """
    return [line.strip() for line in _decode(path).split("\n") if line.strip()]


def _read_parquet(path: Path) -> list[Row]:
    try:
        rows: list[Row] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as Parquet: {_first_line(error)}") from None
    return rows


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
        table = [cells for cells in csv.reader(text, strict=True) if cells]
    except csv.Error as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)
    header, *rows = table or [[]]
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
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


def brief(value: object) -> str:
    """Format a value for an error message: truncated, with its type."""
    text = repr(value)
    return f"{text[:80]}{'…' if len(text) > 80 else ''} ({type(value).__name__})"


def to_flag(value: object) -> bool | None:
    """Parse a yes or no as people write it ("Yes", "no", "true", "0").

    Args:
        value: A cell; None and "" mean no.

    Returns:
        The flag; None if it is neither.
    """
    word = "" if value is None else str(value).strip().lower()
    return word in _YES if word in _YES | _NO else None


def parse_columns(pairs: Iterable[str] | None) -> dict[str, str]:
    """Parse the values of `--column`.

    Args:
        pairs: Texts such as `instruction=prompt`; None: none.

    Returns:
        The name of the column in this package -> its name in the file.

    Raises:
        RecipeError: If one has no equals sign.
    """
    found = [pair.partition("=") for pair in pairs or ()]
    for name, equals, _ in found:
        if not equals:
            raise RecipeError(f"--column is {name!r}; it should be like instruction=prompt")
    return {name: column for name, _, column in found}
