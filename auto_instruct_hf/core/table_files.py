"""Read rows from Parquet, JSON, JSON Lines and CSV files, compressed or in a folder of shards."""

import csv
import io
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
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
_SIMILAR = 0.1  # difference of `chaos`; ours: French and Italian texts were read as Baltic or Vietnamese without it
_TURKISH = re.compile("[ýþðÝÞÐ]")  # what Turkish letters become in cp1252
_START = 64
_MAX_FAULTS = 5


def name_format(path: Path) -> str:
    """Return the suffix of a file without that of a compression; "" if it is none of FORMATS."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in FORMATS else ""


def is_table(path: Path) -> bool:
    """Return whether `read_file` reads a path, by its name or by what a folder holds."""
    return bool(name_format(path)) if path.is_file() else _is_saved(path) or any(path.glob("*.parquet"))


def read_file(path: Path) -> list[Row]:
    """Read the rows of a file of FORMATS, of a folder of Parquet files, or of what `Dataset.save_to_disk` wrote.

    A SourceError says where that failed.
    """
    if _is_saved(path):
        return _read_saved(path)
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
    try:
        return content.decode(_name_unicode(content))
    except UnicodeDecodeError as error:
        encoding = _guess_encoding(content) if detect else None
        if encoding:
            _LOG.warning("%s is read as %s: save it as UTF-8 if letters are wrong", path, encoding)
            return content.decode(encoding)
        line = content[: error.start].count(b"\n") + 1
        raise SourceError(f"{path}, line {line} is not UTF-8 text (byte {error.start}): convert the file") from None


def _name_unicode(content: bytes) -> str:
    """Return the Unicode encoding of a text, by its byte order mark or where it has a zero in every other byte."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    start = content[:_START]
    zeros = [bool(start) and not any(start[offset::2]) for offset in (0, 1)]
    return "utf-16-be" if zeros[0] else "utf-16-le" if zeros[1] and len(start) > 1 else "utf-8-sig"


def _guess_encoding(content: bytes) -> str | None:
    """Return the most likely encoding; of those that make hardly a difference, the one of Western Europe."""
    matches = charset_normalizer.from_bytes(content)
    best = matches.best()
    if best is None:
        return None
    western = next((one for one in matches if one.encoding == "cp1252" and one.chaos <= best.chaos + _SIMILAR), best)
    return best.encoding if _TURKISH.search(str(western)) else western.encoding


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


def join_faults(faults: Sequence[str]) -> str:
    """Join what is wrong with rows, the first ones in full and a count of the others."""
    more = f"; and {len(faults) - _MAX_FAULTS:,} more rows" if len(faults) > _MAX_FAULTS else ""
    return f"{'; '.join(faults[:_MAX_FAULTS])}{more}"


def _read_parquet(path: Path) -> list[Row]:
    try:
        return list_rows(Dataset(pq.read_table(path)))
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: features that datasets does not know
        raise SourceError(f"{path} cannot be read as Parquet: {first_line(error)}") from None


def _is_saved(path: Path) -> bool:
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


def _read_saved(path: Path) -> list[Row]:
    try:
        return list_rows(Dataset.load_from_disk(str(path)))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} cannot be read as a saved dataset: {first_line(error)}") from None


def _read_json_lines(path: Path) -> list[Row]:
    text = read_text(path)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if lines and lines[0][1].strip() in ("{", "["):
        return _read_json(path)  # pretty-printed
    return _parse_objects(lines, path)


def _read_json(path: Path) -> list[Row]:
    text = read_text(path)
    try:
        content = json.loads(text or "[]")
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith("{"):
            raise SourceError(f"{path} cannot be read as JSON: {error}") from None
        return _parse_objects(enumerate(_split_objects(text), start=1), path)
    if isinstance(content, dict):
        content = next((content[name] for name in _LISTS if isinstance(content.get(name), list)), [content])
    if not isinstance(content, list):
        raise SourceError(f"{path} must hold a list of objects, found {brief(content)}")
    return _parse_objects(((number, json.dumps(row)) for number, row in enumerate(content, start=1)), path)


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


def _parse_objects(numbered: Iterable[tuple[int, str]], path: Path) -> list[Row]:
    """Parse JSON objects; a SourceError names all rows that are none, up to a number."""
    rows, faults = [], []
    for number, text in numbered:
        try:
            row = json.loads(text)
            json.dumps(row, ensure_ascii=False).encode()  # raises for half of a surrogate pair
        except (ValueError, RecursionError) as error:
            faults.append(f"row {number} cannot be read as JSON: {error}")
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            faults.append(f"row {number} must be an object, found {brief(row)}")
    if faults:
        raise SourceError(f"{path}, {join_faults(faults)}")
    return rows


def _read_csv(path: Path) -> list[Row]:
    # The standard library's reader keeps every cell as text, without a limit on its length.
    text = read_text(path, detect=True)
    text = text if "\n" in text else text.replace("\r", "\n")
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
