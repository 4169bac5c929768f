"""Phase 4, first step: drop what is broken, each with its reason.

The rules are those of Auto-Instruct: the input equals the output; the output is missing, holds the words of the
request, or breaks off at a connective; an instruction has the same input and output twice.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import (
    INSTANCES,
    Batch,
    Columns,
    Trace,
    apply,
    columns,
    keep,
    normalise,
    require_columns,
    rows,
    with_rejected,
)
from ..recipe import CurationSettings

# Ours: an answer of one or two words may be a connective ("Which word joins the clauses?").
_MIN_WORDS_TO_BREAK_OFF = 3


def curate(
    instances: Dataset,
    *,
    settings: CurationSettings | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Drop broken instances.

    Args:
        instances: Columns `instruction_id`, `is_classification`, `input` and `output` as in `schema.INSTANCES`.
        settings: The words that give a broken output away.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Where given, it receives the dropped rows.

    Returns:
        The sound rows, with all columns that came in.
    """
    needed = ("instruction_id", "is_classification", "input", "output")
    instances = require_columns(instances, INSTANCES, "curate", needed)
    features = with_rejected(instances.features)
    settings = settings or CurationSettings()
    judged = apply(
        instances,
        curate_batch,
        phase="curate",
        features=features,
        settings={"settings": settings},
        cache_dir=cache_dir,
    )
    unique = apply(
        judged,
        deduplicate_table,
        phase="deduplicate",
        features=features,
        batch_size=None,
        cache_dir=cache_dir,
    )
    return keep(unique, phase="curate", cache_dir=cache_dir, trace=trace)


def curate_batch(batch: Batch, *, settings: CurationSettings) -> Columns:
    """Find what is broken in a row by itself.

    Args:
        batch: Columns `is_classification`, `input`, `output`, and others.
        settings: The words that give a broken output away.

    Returns:
        The same columns and `rejected`.
    """
    return {**batch, "rejected": [find_instance_fault(row, settings) for row in rows(batch)]}


def deduplicate_table(batch: Batch) -> Columns:
    """Of rows of one instruction with the same input and output, reject all but the first.

    Args:
        batch: All rows; columns `instruction_id`, `input`, `output`, `rejected`, and others.

    Returns:
        The same columns, more of them rejected.
    """
    seen = set()
    judged = rows(batch)
    for row in judged:
        key = (row["instruction_id"], normalise(row["input"]), normalise(row["output"]))
        if not row["rejected"] and key in seen:
            row["rejected"] = "same input and output as an earlier instance"
        seen.add(key)
    return columns(judged, batch)


def find_instance_fault(instance: dict[str, Any], settings: CurationSettings) -> str:
    """Return why an instance is broken, or ""."""
    output = instance["output"].strip()
    if not output:
        return "no output"
    if instance["input"] and normalise(instance["input"]) == normalise(output):
        return "input equals output"
    leaked = next((words for words in settings.leaks if words in output), None)
    if leaked:
        return f"output holds {leaked!r}"
    words = output.split()
    may_break_off = not instance["is_classification"] and len(words) >= _MIN_WORDS_TO_BREAK_OFF
    # In lower case only: "The right operator is OR" is whole.
    return "output breaks off" if may_break_off and words[-1] in settings.connectives else ""
