"""Seed tasks: the bundled ones, or any set as it is found, checked row by row."""

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value, load_dataset
from datasets.exceptions import DatasetGenerationError

from .errors import SeedError
from .schema import SEEDS
from .texts import normalise
from .transform import from_rows

BUNDLED = Path(__file__).parent / "data" / "seeds.jsonl"
_LOADERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_EMPTY = "{} is empty: a seed set needs at least one row with instruction and output"
_YES = {"yes", "true", "1"}
_NO = {"no", "false", "0", ""}


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
        A dataset with the columns of `schema.SEEDS`.

    Raises:
        SeedError: If the source cannot be read, is empty, lacks a column, repeats an instruction, or holds something
            that is not text; the message names the row (counted from 1).
    """
    source = BUNDLED if source is None else source
    table = _load(source, config, split, revision)
    if len(table) == 0:
        raise SeedError(_EMPTY.format(source))
    names = _find_columns(table, columns or {}, source)
    rows = [_read_row(row, names, f"{source}, row {number}") for number, row in enumerate(table, start=1)]
    _check_repeats(rows, source)
    return from_rows(rows, SEEDS)


def bundled_domains() -> list[str]:
    """Return the names of the domains of the bundled seeds, sorted."""
    return sorted({json.loads(line)["domain"] for line in BUNDLED.read_text(encoding="utf-8").splitlines()})


def _load(source: str | Path, config: str | None, split: str | None, revision: str | None) -> Dataset:
    path = Path(source)
    if path.is_file():
        return _load_file(path)
    if path.exists():
        raise SeedError(f"{source} is not a file: give one of {', '.join(_LOADERS)}, or the id of a dataset on the Hub")
    if not _HUB_ID.fullmatch(str(source)) or path.suffix in _LOADERS:
        raise SeedError(f"no such seed file: {source}. Give a file, or the id of a dataset on the Hub (user/name)")
    try:
        loaded = load_dataset(str(source), config, split=split, revision=revision)
    except Exception as error:  # the clients below raise errors of half a dozen families; each is told in one line
        raise SeedError(f"cannot load the seeds {source} from the Hub: {_first_line(error)}") from None
    if isinstance(loaded, DatasetDict):
        if "train" not in loaded and len(loaded) > 1:
            raise SeedError(f"{source} has the splits {', '.join(loaded)} and no train: name the one to read")
        loaded = loaded["train"] if "train" in loaded else next(iter(loaded.values()))
    assert isinstance(loaded, Dataset)  # not streaming
    return loaded


def _load_file(path: Path) -> Dataset:
    loader = _LOADERS.get(path.suffix.lower())
    if loader is None:
        raise SeedError(f"{path} ends in {path.suffix or 'nothing'}: seed files are {', '.join(_LOADERS)}")
    options: dict[str, Any] = {}
    if loader != "parquet":
        text = _decode(path)
        if not text.strip():
            raise SeedError(_EMPTY.format(path))
        if loader == "csv":  # all cells are text: an empty one is "", the word None is a word, a label may be 01
            header = next(csv.reader(io.StringIO(text)))
            options = {"keep_default_na": False, "features": Features({name: Value("string") for name in header})}
    try:
        loaded = load_dataset(loader, data_files=str(path.resolve()), split="train", **options)
    except (DatasetGenerationError, ValueError, OSError) as error:
        if "corresponds to no data" in str(error):
            raise SeedError(_EMPTY.format(path)) from None
        where = _first_bad_row(text) if path.suffix.lower() == ".jsonl" else ""
        raise SeedError(f"{path}{where} cannot be read as {loader}: {_first_line(error.__cause__ or error)}") from None
    assert isinstance(loaded, Dataset)  # one split was named
    return loaded


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise SeedError(f"{path}, line {row} is not UTF-8 text (byte {error.start}): convert the file") from None


def _first_bad_row(text: str) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            if line.strip():
                json.dumps(json.loads(line), ensure_ascii=False).encode()
        except ValueError:
            return f", row {number},"
    return ""


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


def _find_columns(table: Dataset, mapping: Mapping[str, str], source: str | Path) -> dict[str, str]:
    unknown = sorted(set(mapping) - set(SEEDS))
    if unknown:
        raise SeedError(f"unknown column {unknown[0]!r} in the mapping; the contract has {', '.join(SEEDS)}")
    found = table.column_names
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
    values = {name: row[column] for name, column in names.items()}
    if names.get("output") == "instances":
        instances = values["output"]
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            raise SeedError(f"{where}: `instances` must be a list with at least one object, found {_brief(instances)}")
        values.update(input=instances[0].get("input"), output=instances[0].get("output"))
    return {
        "instruction": _text(values["instruction"], "instruction", where),
        "input": _text(values.get("input") or "", "input", where, may_be_empty=True),
        "output": _text(values["output"], "output", where),
        "is_classification": _flag(values.get("is_classification") or False, where),
        "domain": _text(values.get("domain") or "", "domain", where, may_be_empty=True),
    }


def _text(value: Any, name: str, where: str, may_be_empty: bool = False) -> str:
    if not isinstance(value, str):
        raise SeedError(f"{where}: {name!r} must be text, found {_brief(value)}")
    if not value.strip() and not may_be_empty:
        raise SeedError(f"{where}: {name!r} is empty")
    return value.strip()


def _flag(value: Any, where: str) -> bool:
    word = str(value).strip().lower()
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
