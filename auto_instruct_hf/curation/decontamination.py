"""Phase 4, where it is asked for: drop what is near to an evaluation set, so that scores on it mean something."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import (
    INSTANCES,
    Batch,
    Columns,
    Trace,
    apply,
    fingerprint,
    keep,
    read_lines,
    read_rows,
    require_columns,
    with_rejected,
)
from ..errors import SourceError
from ..novelty import choose_tokenizer, near_copies
from ..recipe import DecontaminationSettings
from .shared_ngrams import find_shared_runs

# Of a dataset on the Hub: what models are scored on. Where it has none of these, all of it.
_SPLITS = ("test", "validation", "train")
_WHAT = "evaluation sets"
_BATCH = 50_000


@dataclass(frozen=True)
class EvaluationSet:
    """The texts of an evaluation set."""

    name: str
    """As the report calls it: the id on the Hub, or the file's name."""
    column: str
    texts: tuple[str, ...]


def decontaminate(
    instances: Dataset,
    *,
    settings: DecontaminationSettings,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Drop the instances that are near to an item of an evaluation set.

    Args:
        instances: Columns `instruction` and `input` as in `schema.INSTANCES`.
        settings: The evaluation sets, and what counts as near.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Where given, it receives the dropped rows, each with the set it is near to (the first of several) but
            without that set's text; and `sources`: name, column, number of items and dropped rows of each set.

    Returns:
        The other rows, with all columns that came in.

    Raises:
        SourceError: If an evaluation set cannot be read, or it is not clear which of its columns is meant.
    """
    instances = require_columns(instances, INSTANCES, "decontaminate", ("instruction", "input"))
    sources = [read_evaluation_set(source) for source in settings.sources]
    reasons = [_reason(source.name, settings) for source in sources]
    judged = apply(
        instances,
        decontaminate_batch,
        phase="decontaminate",
        features=with_rejected(instances.features),
        settings={
            "method": settings.method,
            "max_similarity": settings.max_similarity,
            "ngram": settings.ngram,
            "reasons": reasons,
        },
        resources={"evaluation": [source.texts for source in sources]},
        depends_on=[fingerprint(source.texts) for source in sources],
        batch_size=_BATCH,
        show_progress=True,
        cache_dir=cache_dir,
    )
    kept = keep(judged, phase="decontaminate", cache_dir=cache_dir, trace=trace)
    if trace is not None and trace.rejected is not None:
        dropped = Counter(trace.rejected["rejected"])
        trace.facts["sources"] = [
            {"name": source.name, "column": source.column, "items": len(source.texts), "dropped": dropped[reason]}
            for source, reason in zip(sources, reasons, strict=True)
        ]
    return kept


def decontaminate_batch(
    batch: Batch,
    *,
    evaluation: Sequence[Sequence[str]],
    reasons: Sequence[str],
    method: str,
    max_similarity: float,
    ngram: int,
) -> Columns:
    """Find the rows that are near to an evaluation set.

    An instance is near if its instruction is, or its input, or both together; the answer is not looked at.

    Args:
        batch: Columns `instruction` and `input`, and others.
        evaluation: The texts of each evaluation set.
        reasons: What to give as the reason, for each of them.
        method: A value of `DecontaminationSettings.method`.
        max_similarity: For the method `rouge`.
        ngram: For the method `ngram`.

    Returns:
        The same columns and `rejected`.
    """
    shown = [
        {instruction, given, f"{instruction}\n\n{given}"} if given.strip() else {instruction}
        for instruction, given in zip(batch["instruction"], batch["input"], strict=True)
    ]
    texts = sorted(set().union(*shown))
    rejected = [""] * len(shown)
    for items, reason in zip(evaluation, reasons, strict=True):
        if method == "ngram":
            found = find_shared_runs(texts, items, ngram)
        else:
            found = ~near_copies(texts, items, max_similarity, choose_tokenizer(items)).is_novel
        near = {text for text, is_near in zip(texts, found, strict=True) if is_near}
        rejected = [
            given or ("" if near.isdisjoint(one) else reason) for given, one in zip(rejected, shown, strict=True)
        ]
    return {**batch, "rejected": rejected}


def read_evaluation_set(source: str) -> EvaluationSet:
    """Read the texts of an evaluation set.

    Args:
        source: `PATH:COLUMN` (JSON, JSON Lines, CSV, Parquet; text: an item a line, without a column),
            `USER/NAME:COLUMN` or `USER/NAME:CONFIG:COLUMN`. Of a dataset on the Hub the split `test` is read, else
            `validation`, else `train`, else all. Without a column, the only one whose values are all text.

    Returns:
        The set, its empty items left out, each other once.

    Raises:
        SourceError: If it cannot be read, has no such column or no text in it, or no column is named and several or
            none could be meant.
    """
    place, column = _part(source)
    is_file = Path(place).is_file()
    if is_file and Path(place).suffix.lower() == ".txt":
        if column:
            raise SourceError(f"{place} is a text file and has no column {column!r}: leave the column out")
        texts, column = read_lines(Path(place)), "text"
    else:
        hub_id, _, config = (place, "", "") if is_file or re.match(r"[A-Za-z]:[\\/]", place) else place.partition(":")
        rows = read_rows(hub_id, _WHAT, config=config or None, splits=_SPLITS, may_join=True)
        column = _choose_column(rows, column, source)
        texts = [row[column] for row in rows if row.get(column) is not None]
        if not all(isinstance(text, str) for text in texts):
            raise SourceError(f"{source}: the column {column!r} holds something that is not text; name another")
    unique = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not unique:
        raise SourceError(f"{source}: there is no text in the column {column!r}; name another")
    return EvaluationSet(Path(place).name if is_file else place, column, unique)


def _part(source: str) -> tuple[str, str]:
    """Part a source at its last colon, unless that belongs to a path: a drive's, or one in a file's name."""
    place, colon, column = source.rpartition(":")
    is_part_of_path = Path(source).is_file() or "/" in column or "\\" in column
    return (source, "") if not colon or is_part_of_path else (place, column)


def _choose_column(rows: Sequence[Mapping[str, Any]], column: str, source: str) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        raise SourceError(f"{source} is empty")
    if column:
        if column not in names:
            raise SourceError(f"{source}: there is no column {column!r}; it has {', '.join(names)}")
        return column
    found = [name for name in names if all(isinstance(row.get(name), str | None) for row in rows)]
    if len(found) != 1:
        which = f"its columns with text are {', '.join(found)}" if found else f"none of {', '.join(names)} is text"
        raise SourceError(f"{source}: name the column to compare with, as {source}:COLUMN; {which}")
    return found[0]


def _reason(name: str, settings: DecontaminationSettings) -> str:
    if settings.method == "ngram":
        return f"shares {settings.ngram} words in a row with {name}"
    return f"ROUGE-L above {settings.max_similarity} with {name}"
