"""Read what is evaluated: a built folder, or any instruction dataset, as rows that can be measured and judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, concatenate_datasets

from ...core import (
    CHAT,
    INSTANCES,
    TEXT_COLUMNS,
    brief,
    instruction_id,
    make_id,
    read_rows,
    text_or_nothing,
    to_flag,
)
from ...errors import SourceError
from ...generation import BUNDLED
from ...recipe import EmbeddingSettings
from ..built_folder import digest_splits, read_built
from ..questions import DatasetRow

_COLUMNS = (*TEXT_COLUMNS, "is_classification", "attribute", "cluster")


@dataclass(frozen=True)
class EvaluatedDataset:
    """The dataset that is evaluated, and what is known of it."""

    name: str
    measured: Dataset
    """For `measures.measure_dataset`: the columns as they are."""
    judged: Dataset | None
    """For `judging.assess`: each instance once, columns as `schema.INSTANCES`, and `cluster` if there is one; None
    without instructions or outputs."""
    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The instructions of each split, each once."""
    sample: DatasetDict | None = None
    """The stratified sample of a build, without its texts."""
    seeds: Sequence[str] | None = None
    """The instructions of the seed tasks, if they are available."""
    teacher: str = ""
    """The model that wrote it; "": unknown."""
    is_embedded: bool = False
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    seed: int = 42

    def digest(self) -> str:
        """Return a hash of all rows that the figures are computed from, in any order."""
        return digest_splits({"": self.measured}, self.sample or {})


def read_build(
    out: Path, seeds: str | Path | None = None, columns: Mapping[str, str] | None = None
) -> EvaluatedDataset:
    """Read the build in the folder `out`.

    `seeds` are compared with, as `read_rows` takes them, by default the bundled ones if it was built from them;
    `columns` maps `instruction` to that column of theirs. If a part cannot be read, it raises SourceError.
    """
    built = read_built(out)
    report, recipe = built.report, built.recipe
    instances, sample = built.read_splits("instances"), built.read_splits("default")
    whole = concatenate_datasets(list(instances.values()))
    if seeds is None and report["seeds"]["is_bundled"]:
        seeds = BUNDLED
    without = {*TEXT_COLUMNS, *CHAT}
    return EvaluatedDataset(
        name=report["title"],
        measured=whole.select_columns([name for name in whole.column_names if name not in CHAT]),
        judged=whole.select_columns([*INSTANCES, "cluster"]),
        splits={split: list(dict.fromkeys(part["instruction"][:])) for split, part in instances.items()},
        sample=sample.select_columns([name for name in sample["train"].column_names if name not in without])
        if "train" in sample
        else None,
        seeds=None if seeds is None else _read_seeds(seeds, columns or {}, "name it with instruction=YOURS"),
        teacher=report["teacher"],
        is_embedded=report["is_embedded"],
        embedding=recipe.embedding,
        seed=recipe.seed,
    )


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
) -> EvaluatedDataset:
    """Read any instruction dataset. Rows with equal texts are one instance.

    Args:
        source: A Parquet, CSV, JSON or JSON Lines file, or the id of a dataset on the Hub.
        columns: `instruction`, `input`, `output`, `is_classification`, `attribute` or `cluster` -> the column of the
            source, if it differs. At least one of the first three must exist.
        config: Configuration of a dataset on the Hub.
        split: Split of a dataset on the Hub; None: `train`, or the only one.
        revision: Revision of a dataset on the Hub.
        seeds: Instructions to compare with, a file or a dataset with a column `instruction`; None: none.
        seed: Seed of the samples.

    Returns:
        The dataset.

    Raises:
        SourceError: If it cannot be read, is empty, lacks a column, or holds something that is not text.
    """
    columns = dict(columns or {})
    if unknown := sorted(set(columns) - set(_COLUMNS)):
        raise SourceError(f"unknown column {unknown[0]!r} in the mapping; there are {', '.join(_COLUMNS)}")
    table = read_rows(source, "instructions and outputs", config=config, split=split, revision=revision)
    if not table:
        raise SourceError(f"{source} is empty: there is nothing to evaluate")
    there = list(dict.fromkeys(key for row in table for key in row))
    missing = [name for name in columns.values() if name not in there]
    names = {name: columns.get(name, name) for name in _COLUMNS if columns.get(name, name) in there}
    if missing or not set(names) & set(TEXT_COLUMNS):
        lacks = f"column {missing[0]!r}" if missing else f"column {', '.join(TEXT_COLUMNS[:-1])} or {TEXT_COLUMNS[-1]}"
        raise SourceError(f"{source} has no {lacks}; it has {', '.join(there)}. Map one: instruction=YOURS")
    rows = [
        {name: _parse_cell(name, row.get(column), f"{source}, row {at}: {column!r}") for name, column in names.items()}
        for at, row in enumerate(table, start=1)
    ]
    features = Features({name: Value("bool" if name == "is_classification" else "string") for name in names})
    return EvaluatedDataset(
        name=Path(source).name if Path(source).is_file() else source,
        measured=Dataset.from_list(rows, features=features),
        judged=_to_instances(rows) if {"instruction", "output"} <= set(names) else None,
        seeds=None if seeds is None else _read_seeds(seeds, {}, "rename theirs"),
        seed=seed,
    )


def _parse_cell(name: str, value: object, where: str) -> str | bool:
    if name == "cluster":
        return str(value)
    if name == "is_classification":
        if (flag := to_flag(value)) is None:
            raise SourceError(f"{where} must be true or false, found {brief(value)}")
        return flag
    if value is not None and not isinstance(value, str):
        raise SourceError(f"{where} must be text, found {brief(value)}")
    return text_or_nothing(value) if name == "input" else value or ""


def _to_instances(rows: Sequence[DatasetRow]) -> Dataset:
    """Return rows as instances, equal ones once."""
    found: dict[str, DatasetRow] = {}
    # Sorted, so that of rows with the same texts the same one is kept whatever their order.
    for row in sorted(rows, key=lambda row: (row.get("is_classification", False), row.get("cluster", ""))):
        whole = {"is_classification": False, "attribute": "", "input": "", **row}
        key = make_id(*(whole[name] for name in (*TEXT_COLUMNS, "attribute")))
        found.setdefault(key, {**whole, "instance_id": key, "instruction_id": instruction_id(row["instruction"])})
    clusters = sorted({row["cluster"] for row in found.values() if "cluster" in row})
    features = Features({**INSTANCES, **({"cluster": ClassLabel(names=clusters)} if clusters else {})})
    return Dataset.from_list([{name: row[name] for name in features} for row in found.values()], features=features)
