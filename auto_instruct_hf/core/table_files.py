"""Read rows from Parquet, JSON, JSON Lines and CSV files, compressed or in a folder of shards."""

import csv
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charset_normalizer
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset

from ..errors import SourceError
from .texts import hide_tokens

Row = dict[str, Any]
"""A row as it was read: column -> value."""
_LOG = logging.getLogger(__name__)
FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
_LETTER = re.compile(r"\S")
_DELIMITERS = (",", ";", "\t", "|")
# Names under which a single object holds the rows.
_LISTS = ("data", "rows", "train", "examples", "instances")


def name_format(path: Path) -> str:
    """Return the suffix of a file without that of a compression; "" if it is none of FORMATS."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else ""


def read_file(path: Path) -> list[Row]:
    """Read the rows of a file of FORMATS, or of a folder of Parquet files; a SourceError says where that failed."""
    if path.is_dir():
        return [row for shard in sorted(path.glob("*.parquet")) for row in _read_parquet(shard)]
    readers = {".parquet": _read_parquet, ".json": _read_json, ".jsonl": _read_json_lines}
    return readers.get(name_format(path), _read_csv)(path)


def read_text(path: Path, *, detect: bool = False) -> str:
    """Return the decompressed text of a file in UTF-8, UTF-16 with a byte order mark, or any encoding if `detect`."""
    try:
        with pa.input_stream(str(path)) as stream:  # decompresses by the file's name
            content: bytes = stream.read()
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read: {first_line(error)}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = charset_normalizer.from_bytes(content).best() if detect else None
        if found is not None:
            _LOG.warning("%s is read as %s: save it as UTF-8 if letters are wrong", path, found.encoding)
            return str(found)
        line = content[: error.start].count(b"\n") + 1
        raise SourceError(f"{path}, line {line} is not UTF-8 text (byte {error.start}): convert the file") from None


def list_rows(part: Dataset) -> list[Row]:
    """Return the rows of a split, with the names of class labels instead of their numbers."""
    found: list[Row] = part.to_list()
    for name, feature in part.features.items():
        if isinstance(feature, ClassLabel):
            for row in found:
                row[name] = None if row[name] is None or row[name] < 0 else feature.int2str(row[name])
    return found


def first_line(error: BaseException) -> str:
    """Return the class and the first line of an error."""
    return f"{type(error).__name__}: {hide_tokens(next(iter(str(error).strip().splitlines()), ''))}"[:300]


def brief(value: object) -> str:
    """Format a value for an error message: truncated, with its type."""
    text = repr(value)
    return f"{text[:80]}{'…' if len(text) > 80 else ''} ({type(value).__name__})"


def _read_parquet(path: Path) -> list[Row]:
    try:
        return list_rows(Dataset(pq.read_table(path)))
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: features that datasets does not know
        raise SourceError(f"{path} cannot be read as Parquet: {first_line(error)}") from None


def _read_json_lines(path: Path) -> list[Row]:
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [_parse_object(line, f"{path}, row {number}") for number, line in lines if line.strip()]


def _read_json(path: Path) -> list[Row]:
    text = read_text(path)
    try:
        content = json.loads(text or "[]")
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith("{"):
            raise SourceError(f"{path} cannot be read as JSON: {error}") from None
        objects = enumerate(_split_objects(text), start=1)
        return [_parse_object(one, f"{path}, row {number}") for number, one in objects]
    if isinstance(content, dict):
        content = next((content[name] for name in _LISTS if isinstance(content.get(name), list)), [content])
    if not isinstance(content, list):
        raise SourceError(f"{path} must hold a list of objects, found {brief(content)}")
    return [_parse_object(json.dumps(row), f"{path}, row {number}") for number, row in enumerate(content, start=1)]


def _split_objects(text: str) -> Iterator[str]:
    """Yield the JSON values that follow each other in a text, pretty-printed or not; the last may be invalid."""
    decoder, start = json.JSONDecoder(), 0
    while found := _LETTER.search(text, start):
        start = found.start()
        try:
            end = decoder.raw_decode(text, start)[1]
        except (ValueError, RecursionError):
            end = len(text)
        yield text[start:end]
        start = end


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
    text = read_text(path, detect=True)
    first, _, rest = text.partition("\n")
    first = first.rstrip("\r")
    if first.lower().startswith("sep=") and len(first) == len("sep=;"):  # as Excel writes it
        text, delimiter = rest, first[-1]
    else:
        delimiter = max(_DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    limit = csv.field_size_limit(sys.maxsize)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        table = [cells for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise SourceError(f"{path} cannot be read as CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)
    header, *rows = table or [[]]
    header = [name.strip() for name in header]
    if len(set(header)) < len(header):
        raise SourceError(f"{path} has two columns with the same name: {', '.join(header)}")
    for number, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            raise SourceError(
                f"{path}, row {number} has {len(cells)} cells, the header {len(header)} (separated by {delimiter!r}): "
                "put texts with the separator in quotes"
            )
    return [dict(zip(header, cells, strict=True)) for cells in rows]
