"""Phase 4, optional: drop what is close to an evaluation set, so that scores on it are meaningful."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

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
    use_values,
    with_rejected,
)
from ..errors import SourceError
from ..novelty import choose_tokenizer, near_copies
from ..settings import DecontaminationSettings
from .shared_ngrams import find_shared_runs

# Of a dataset on the Hub, in this order; all splits if it has none of these.
_SPLITS = ("test", "validation", "train")
_BATCH = 50_000


@dataclass(frozen=True)
class EvaluationSet:
    """The texts of an evaluation set; `name` is its id on the Hub or the file's name."""

    name: str
    column: str
    texts: tuple[str, ...]


def decontaminate(
    instances: Dataset,
    *,
    settings: DecontaminationSettings,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Drop the instances that are close to an item of an evaluation set.

    Args:
        instances: Columns `instruction` and `input` as in `schema.INSTANCES`.
        settings: The evaluation sets, and what counts as close.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the dropped rows, each with the name of the (first) set it is close to, but without
            the text of that set; and `sources`: name, column, number of items and of dropped rows of each set.

    Returns:
        The other rows, with all columns.

    Raises:
        SourceError: If an evaluation set cannot be read, or its column is ambiguous.
    """
    instances = require_columns(instances, INSTANCES, "decontaminate", ("instruction", "input"))
    sources = _name_apart([read_evaluation_set(source) for source in settings.sources])
    judged = apply(
        instances,
        decontaminate_batch,
        phase="decontaminate",
        features=with_rejected(instances.features),
        settings={"settings": settings},
        make_resources=partial(use_values, evaluation=sources),
        depends_on=[(source.name, fingerprint(source.texts)) for source in sources],
        batch_size=_BATCH,
        show_progress=True,
        cache_dir=cache_dir,
    )
    kept = keep(judged, phase="decontaminate", cache_dir=cache_dir, trace=trace)
    if trace is not None and trace.rejected is not None:
        dropped = Counter(trace.rejected["rejected"][:])
        counts = [(source, dropped[_reason(source, settings)]) for source in sources]
        trace.facts["sources"] = [
            {"name": source.name, "column": source.column, "items": len(source.texts), "dropped": count}
            for source, count in counts
        ]
    return kept


def decontaminate_batch(
    batch: Batch, *, evaluation: Sequence[EvaluationSet], settings: DecontaminationSettings
) -> Columns:
    """Reject the rows that are close to an evaluation set.

    A row is close if its instruction is, or its input, or both together; the output is not compared. Reads the columns
    `instruction` and `input`; returns all columns and `rejected`.
    """
    shown = [
        {instruction, given, f"{instruction}\n\n{given}"} if given.strip() else {instruction}
        for instruction, given in zip(batch["instruction"], batch["input"], strict=True)
    ]
    texts = sorted(set().union(*shown))
    rejected = [""] * len(shown)
    for source in evaluation:
        if settings.method == "ngram":
            found = find_shared_runs(texts, source.texts, settings.ngram)
        else:
            tokenizer = choose_tokenizer(source.texts)
            found = ~near_copies(texts, source.texts, settings.max_similarity, tokenizer).is_novel
        close = {text for text, is_close in zip(texts, found, strict=True) if is_close}
        for row, own in enumerate(shown):
            if not rejected[row] and not close.isdisjoint(own):
                rejected[row] = _reason(source, settings)
    return {**batch, "rejected": rejected}


def _name_apart(sources: Sequence[EvaluationSet]) -> list[EvaluationSet]:
    """Return the sets with their column and number in their name where several have the same one."""
    names = Counter(source.name for source in sources)
    return [
        replace(source, name=f"{source.name} ({source.column}, {number})") if names[source.name] > 1 else source
        for number, source in enumerate(sources, start=1)
    ]


def _reason(source: EvaluationSet, settings: DecontaminationSettings) -> str:
    if settings.method == "ngram":
        return f"shares {settings.ngram} words in a row with {source.name}"
    return f"ROUGE-L above {settings.max_similarity} with {source.name}"


def read_evaluation_set(source: str) -> EvaluationSet:
    """Read the texts of an evaluation set, without empty items and duplicates.

    The source is `PATH:COLUMN` (JSON, JSON Lines, CSV, Parquet; a text file has an item per line and no column),
    `USER/NAME:COLUMN` or `USER/NAME:CONFIG:COLUMN`. Of a dataset on the Hub the split `test` is read, else
    `validation`, else `train`, else all. Without a column, the only one with nothing but text is read.
    """
    place, colon, column = source.rpartition(":")
    # The last colon may be part of a path: a drive's, or one in the name of a file.
    if not colon or Path(source).is_file() or "/" in column or "\\" in column:
        place, column = source, ""
    is_file = Path(place).is_file()
    if is_file and Path(place).suffix.lower() == ".txt":
        if column:
            raise SourceError(f"{place} is a text file and has no column {column!r}: leave the column out")
        texts, column = read_lines(Path(place)), "text"
    else:
        hub_id, _, config = (place, "", "") if is_file or re.match(r"[A-Za-z]:[\\/]", place) else place.partition(":")
        rows = read_rows(hub_id, "evaluation sets", config=config or None, splits=_SPLITS, may_join=True)
        if not rows:
            raise SourceError(f"{source} is empty")
        names = list(dict.fromkeys(name for row in rows for name in row))
        if column and column not in names:
            raise SourceError(f"{source}: there is no column {column!r}; it has {', '.join(names)}")
        if not column:
            found = [name for name in names if all(isinstance(row.get(name), str | None) for row in rows)]
            if len(found) != 1:
                fault = (
                    f"its columns with text are {', '.join(found)}" if found else f"none of {', '.join(names)} is text"
                )
                raise SourceError(f"{source}: name the column to compare with, as {source}:COLUMN; {fault}")
            column = found[0]
        texts = [row[column] for row in rows if row.get(column) is not None]
        if not all(isinstance(text, str) for text in texts):
            raise SourceError(f"{source}: the column {column!r} holds something that is not text; name another")
    unique = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not unique:
        raise SourceError(f"{source}: there is no text in the column {column!r}; name another")
    return EvaluationSet(Path(place).name if Path(place).exists() else place, column, unique)
