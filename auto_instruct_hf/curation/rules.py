"""Phase 4, first step: drop broken instances, each with its reason.

The rules are those of Auto-Instruct: the input equals the output; the output is missing, contains words of the request,
or ends in a connective; an instruction has the same input and output twice.
"""

from pathlib import Path

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
        settings: The words that show that an output is broken.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the dropped rows.

    Returns:
        The other rows, with all columns.
    """
    needed = ("instruction_id", "is_classification", "input", "output")
    instances = require_columns(instances, INSTANCES, "curate", needed)
    features = with_rejected(instances.features)
    values = {"settings": settings or CurationSettings()}
    judged = apply(instances, curate_batch, phase="curate", features=features, settings=values, cache_dir=cache_dir)
    unique = apply(
        judged, deduplicate_table, phase="deduplicate", features=features, batch_size=None, cache_dir=cache_dir
    )
    return keep(unique, phase="curate", cache_dir=cache_dir, trace=trace)


def curate_batch(batch: Batch, *, settings: CurationSettings) -> Columns:
    """Add `rejected` to a batch of rows: the fault of each row by itself (see `find_instance_fault`), or ""."""
    texts = zip(batch["input"], batch["output"], batch["is_classification"], strict=True)
    return {**batch, "rejected": [find_instance_fault(*values, settings=settings) for values in texts]}


def deduplicate_table(batch: Batch) -> Columns:
    """Reject all but the first of the rows of one instruction with the same input and output.

    Reads the columns `instruction_id`, `input`, `output` and `rejected` of all rows; returns all columns.
    """
    seen = set()
    judged = rows(batch)
    for row in judged:
        key = (row["instruction_id"], normalise(row["input"]), normalise(row["output"]))
        if not row["rejected"] and key in seen:
            row["rejected"] = "same input and output as an earlier instance"
        seen.add(key)
    return columns(judged, batch)


def find_instance_fault(given: str, output: str, is_classification: bool, *, settings: CurationSettings) -> str:
    """Return why an instance with this input and output is broken, or ""."""
    output = output.strip()
    if not output:
        return "no output"
    if given and normalise(given) == normalise(output):
        return "input equals output"
    leaked = next((words for words in settings.leaks if words in output), None)
    if leaked:
        return f"output holds {leaked!r}"
    words = output.split()
    may_break_off = not is_classification and len(words) >= _MIN_WORDS_TO_BREAK_OFF
    # In lower case only: "The right operator is OR" is complete.
    return "output breaks off" if may_break_off and words[-1] in settings.connectives else ""
