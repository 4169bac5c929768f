"""Phase 4, first step: drop what is broken, each with its reason.

The rules are those of Auto-Instruct: the input equals the output; the output is missing, holds the words of the
request, or breaks off at a connective; an instruction has the same input and output twice.
"""

from pathlib import Path
from typing import Any

from datasets import Dataset

from .recipe import CurationSettings
from .schema import INSTANCES, require_columns, with_rejected
from .texts import normalise
from .transform import Batch, Trace, apply, columns, keep, rows

# Ours: an answer of one or two words may be a connective ("Which word joins the clauses?").
_FEWEST_WORDS_TO_BREAK_OFF = 3


def curate(
    instances: Dataset,
    *,
    settings: CurationSettings | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Drop broken instances.

    Args:
        instances: Columns as `schema.INSTANCES`.
        settings: The words that give a broken output away.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the dropped rows.

    Returns:
        The sound rows, same columns.
    """
    require_columns(instances, INSTANCES, "curate", INSTANCES)
    settings = settings or CurationSettings()
    judged = apply(
        instances.select_columns(list(INSTANCES)),
        curate_batch,
        phase="curate",
        features=with_rejected(INSTANCES),
        settings={"settings": settings},
        cache_dir=cache_dir,
    )
    unique = apply(
        judged,
        deduplicate_table,
        phase="deduplicate",
        features=with_rejected(INSTANCES),
        batch_size=None,
        cache_dir=cache_dir,
    )
    return keep(unique, phase="curate", cache_dir=cache_dir, trace=trace)


def curate_batch(batch: Batch, *, settings: CurationSettings) -> dict[str, list[Any]]:
    """Find what is broken in a row by itself.

    Args:
        batch: Columns as `schema.INSTANCES`.
        settings: The words that give a broken output away.

    Returns:
        The same columns and `rejected`.
    """
    judged = [{**row, "rejected": find_fault(row, settings)} for row in rows(batch)]
    return columns(judged, with_rejected(INSTANCES))


def deduplicate_table(batch: Batch) -> dict[str, list[Any]]:
    """Of rows of one instruction with the same input and output, reject all but the first.

    Args:
        batch: All rows; columns as `schema.INSTANCES`, and `rejected`.

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
    return columns(judged, with_rejected(INSTANCES))


def find_fault(instance: dict[str, Any], settings: CurationSettings) -> str:
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
    if not instance["is_classification"] and len(words) >= _FEWEST_WORDS_TO_BREAK_OFF:
        last = words[-1].lower()
        if last in settings.connectives or last.endswith(","):
            return "output breaks off"
    return ""
