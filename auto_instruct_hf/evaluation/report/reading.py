"""What is evaluated: a built folder, or any instruction dataset, as rows that can be measured and judged."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, concatenate_datasets

from ...core import INSTANCES, TEXT_COLUMNS, brief, instruction_id, make_id, read_rows, to_flag
from ...errors import RecipeError, SourceError
from ...generation import BUNDLED
from ...recipe import EmbeddingSettings, Recipe

_MORE = ("is_classification", "attribute", "cluster")


@dataclass(frozen=True)
class Material:
    """What is evaluated, and what is known of it."""

    name: str
    measured: Dataset
    """For `measures.measure_dataset`: the columns as they are."""
    judged: Dataset | None
    """For `assessment.assess`: columns as `schema.INSTANCES`, each instance once, and `cluster` where there is one;
    None: a column that the questions are about is missing."""
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The instructions of each split, each once."""
    sample: DatasetDict | None = None
    """The stratified sample of a build, without its texts."""
    seeds: Sequence[str] | None = None
    """The instructions of the seed tasks, where they are to be had."""
    teacher: str = ""
    """Who wrote it; "": not known."""
    is_embedded: bool = False
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    seed: int = 42

    def digest(self) -> str:
        """Return a hash of all rows that the figures are of, whatever their order."""
        return digest_splits({"": self.measured}, self.sample or {})


def digest_splits(instances: Mapping[str, Dataset], sample: Mapping[str, Dataset]) -> str:
    """Return a hash of the rows of both configs, whatever their order; of the sample, of its ids by split."""
    names = sorted(set(next(iter(instances.values())).column_names) - {"messages"})
    whole = sorted(digest for part in instances.values() for digest in _digest_rows(part, names))
    drawn = [name.encode() + b"".join(_digest_rows(part, ["instance_id"])) for name, part in sorted(sample.items())]
    return hashlib.sha256(b"\n".join([b"".join(whole), *drawn])).hexdigest()[:16]


def _digest_rows(rows: Dataset, names: Sequence[str]) -> list[bytes]:
    columns = zip(*(rows[name][:] for name in names), strict=True)
    return sorted(hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).digest() for row in columns)


def read_build(out: Path, seeds: str | Path | None = None, columns: Mapping[str, str] | None = None) -> Material:
    """Read a build.

    Args:
        out: Its folder, with `dataset` in it.
        seeds: The seed tasks, as `tables.read_rows` takes them; None: the bundled ones, if it grew from them.
        columns: Where their column is not called `instruction`: `instruction` -> its name.

    Returns:
        The material.

    Raises:
        SourceError: If there is no build in the folder, or the seeds cannot be read.
    """
    folder = out / "dataset"
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        recipe = Recipe.from_yaml(folder / "recipe.yaml")
        instances, sample = (
            DatasetDict({split: _read_split(folder, config, split) for split in report["configs"][config]})
            for config in ("instances", "default")
        )
    except (OSError, ValueError, KeyError):  # pyarrow's errors are of the first two kinds
        raise SourceError(
            f"{out} holds no built dataset (dataset/report.json, recipe.yaml and data): build one with "
            "scripts/build.py, or give a file or the id of a dataset on the Hub"
        ) from None
    except RecipeError as error:
        raise SourceError(
            f"{out} was built by another version: run the build again, it asks for nothing ({error})"
        ) from None
    whole = concatenate_datasets(list(instances.values()))
    if seeds is None and report["seeds"]["is_bundled"]:
        seeds = BUNDLED
    return Material(
        name=report["title"],
        measured=whole.remove_columns([name for name in ("messages",) if name in whole.column_names]),
        judged=whole.select_columns([*INSTANCES, "cluster"]),
        splits={split: list(dict.fromkeys(part["instruction"][:])) for split, part in instances.items()},
        sample=sample.remove_columns(
            [name for name in (*TEXT_COLUMNS, "messages") if name in sample["train"].column_names]
        )
        if "train" in sample
        else None,
        seeds=None if seeds is None else _read_seeds(seeds, columns or {}, "name it with instruction=YOURS"),
        teacher=report["teacher"],
        is_embedded=report["is_embedded"],
        embedding=recipe.embedding,
        seed=recipe.seed,
    )


def _read_split(folder: Path, config: str, split: str) -> Dataset:
    files = sorted((folder / "data" / config).glob(f"{split}-*.parquet"))
    if not files:
        raise OSError(f"no file of {config}/{split}")
    return Dataset(pyarrow.concat_tables(pyarrow.parquet.read_table(file) for file in files))


def _read_seeds(source: str | Path, columns: Mapping[str, str], remedy: str) -> list[str]:
    name = columns.get("instruction", "instruction")
    found = [row.get(name) for row in read_rows(source, "seeds")]
    texts = [text for text in found if isinstance(text, str) and text.strip()]
    if not texts:
        raise SourceError(f"the seeds {source} have no text in a column {name!r}: {remedy}")
    return texts


def read_any(
    source: str,
    columns: Mapping[str, str] | None = None,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    seeds: str | Path | None = None,
    seed: int = 42,
) -> Material:
    """Read any instruction dataset.

    Args:
        source: A Parquet, CSV, JSON or JSON Lines file, or the id of a dataset on the Hub.
        columns: Where names differ: `instruction`, `input`, `output`, `is_classification`, `attribute` or `cluster` ->
            the column of the source. Of the first three one must be there.
        config: Configuration of a dataset on the Hub.
        split: Which split of it; None: `train`, or the only one there is.
        revision: Its revision.
        seeds: Instructions to compare with, a file or a dataset with a column `instruction`; None: none.
        seed: Decides what is picked.

    Returns:
        The material. It has no ids of its own: rows are told apart by their texts.

    Raises:
        SourceError: If it cannot be read, is empty, lacks a column, or holds something that is not text.
    """
    columns = dict(columns or {})
    unknown = sorted(set(columns) - {*TEXT_COLUMNS, *_MORE})
    if unknown:
        raise SourceError(
            f"unknown column {unknown[0]!r} in the mapping; there are {', '.join((*TEXT_COLUMNS, *_MORE))}"
        )
    table = read_rows(source, "instructions and outputs", config=config, split=split, revision=revision)
    if not table:
        raise SourceError(f"{source} is empty: there is nothing to evaluate")
    there = list(dict.fromkeys(key for row in table for key in row))
    missing = [name for name in columns.values() if name not in there]
    names = {name: columns.get(name, name) for name in (*TEXT_COLUMNS, *_MORE) if columns.get(name, name) in there}
    if missing or not set(names) & set(TEXT_COLUMNS):
        lacks = f"column {missing[0]!r}" if missing else f"column {', '.join(TEXT_COLUMNS[:-1])} or {TEXT_COLUMNS[-1]}"
        raise SourceError(f"{source} has no {lacks}; it has {', '.join(there)}. Map one: instruction=YOURS")
    rows = [_read_row(row, names, f"{source}, row {number}") for number, row in enumerate(table, start=1)]
    kinds = {"is_classification": Value("bool")}
    features = Features({name: kinds.get(name, Value("string")) for name in names})
    return Material(
        name=Path(source).name if Path(source).is_file() else source,
        measured=Dataset.from_list(rows, features=features),
        judged=_as_instances(rows) if {"instruction", "output"} <= set(names) else None,
        seeds=None if seeds is None else _read_seeds(seeds, {}, "rename theirs"),
        seed=seed,
    )


def _read_row(row: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, column in names.items():
        value = row.get(column)
        if name == "cluster":
            found[name] = str(value)
        elif name == "is_classification":
            flag = to_flag(value)
            if flag is None:
                raise SourceError(f"{where}: {column!r} must be true or false, found {brief(value)}")
            found[name] = flag
        elif value is not None and not isinstance(value, str):
            raise SourceError(f"{where}: {column!r} must be text, found {brief(value)}")
        else:
            found[name] = value or ""
    return found


def _as_instances(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """Return rows as instances, equal ones once."""
    found: dict[str, dict[str, Any]] = {}
    # Of rows with the same texts the same one, in whatever order they come.
    for row in sorted(rows, key=lambda row: (row.get("is_classification", False), row.get("cluster", ""))):
        whole = {"is_classification": False, "attribute": "", "input": "", **row}
        key = make_id(*(whole[name] for name in (*TEXT_COLUMNS, "attribute")))
        found.setdefault(key, {**whole, "instance_id": key, "instruction_id": instruction_id(row["instruction"])})
    clusters = sorted({row["cluster"] for row in found.values() if "cluster" in row})
    features = {**INSTANCES, **({"cluster": ClassLabel(names=clusters)} if clusters else {})}
    ordered = [{name: row[name] for name in features} for row in found.values()]
    return Dataset.from_list(ordered, features=Features(features))
