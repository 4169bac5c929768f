"""Phase 4, first step: drop broken instances, each with its reason.

The rules of Auto-Instruct: the input equals the output; the output is missing, contains words of the request, or ends
in a connective; an instruction has the same input and output twice. Then the rules of `filters`, which are ours.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, Value

from ..core import (
    INSTANCES,
    Batch,
    Columns,
    Trace,
    apply,
    are_in,
    columns,
    hash_rows,
    is_first,
    keep,
    load_filters,
    normalise,
    require_columns,
    rows,
    text_or_nothing,
    use_values,
    with_columns,
    with_rejected,
)
from ..filters import clean_instruction, find_input_fault, find_instruction_fault, find_output_fault
from ..settings import CurationSettings, FiltersSettings

# Ours: an answer of one or two words may be a connective ("Which word joins the clauses?").
_MIN_WORDS_TO_BREAK_OFF = 3
_COMPARED = ("instruction_id", "is_classification", "input", "output", "rejected")
_BATCH = 1000


def curate(
    instances: Dataset,
    *,
    settings: CurationSettings | None = None,
    filters: FiltersSettings | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Drop broken instances.

    Args:
        instances: Columns `instruction_id`, `instruction`, `is_classification`, `input` and `output` as in
            `schema.INSTANCES`; `attribute` if there are strategies.
        settings: The words that show that an output is broken.
        filters: Rules on texts, and their word lists.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the dropped rows.

    Returns:
        The other rows, with all columns. Instructions are without list marks, quotes and the like around them, and
        inputs that say "none" are "".
    """
    needed = ("instruction_id", "instruction", "is_classification", "input", "output")
    instances = require_columns(instances, INSTANCES, "curate", needed)
    features = with_rejected(instances.features)
    filters = load_filters(filters)
    values = {"settings": settings or CurationSettings(), "filters": filters}
    judged = apply(
        instances,
        curate_batch,
        phase="curate",
        features=features,
        settings=values,
        make_resources=use_values,
        batch_size=_BATCH,
        cache_dir=cache_dir,
    )
    compared = apply(
        judged.select_columns([*_COMPARED]),
        compare_table,
        phase="deduplicate",
        features=Features({"rejected": Value("string")}),
        settings={"filters": filters},
        batch_size=None,
        form="arrow",
        cache_dir=cache_dir,
    )
    return keep(with_columns(judged, compared), phase="curate", cache_dir=cache_dir, trace=trace)


def curate_batch(batch: Batch, *, settings: CurationSettings, filters: FiltersSettings | None = None) -> Columns:
    """Clean the instructions and inputs of a batch, and add `rejected`: the fault of each row by itself, or "".

    Reads `instruction`, `is_classification`, `input`, `output` and, if it is there, `attribute`; returns all columns.
    """
    filters = load_filters(filters)
    judged = rows(batch)
    tasks = {text: _judge_instruction(text, filters) for text in set(batch["instruction"])}
    for row in judged:
        task, given, output, is_clf = (row[name] for name in ("instruction", "input", "output", "is_classification"))
        row["input"] = given = text_or_nothing(given, filters)
        row["instruction"], fault = tasks[task]
        input_fault = find_input_fault(given, task, filters)
        row["rejected"] = (
            fault
            or (f"input: {input_fault}" if input_fault else "")
            or find_instance_fault(given, output, is_clf, settings=settings)
            or find_output_fault(output, task, given, row.get("attribute", ""), is_clf, filters)
            or ""
        )
    return columns(judged, [*batch, "rejected"])


def _judge_instruction(text: str, filters: FiltersSettings) -> tuple[str, str]:
    """Return an instruction without what is around it, and its fault, or ""."""
    fault = find_instruction_fault(text, filters)
    return clean_instruction(text, filters), f"instruction: {fault}" if fault else ""


def compare_table(table: pa.Table, *, filters: FiltersSettings) -> Columns:
    """Reject rows that do not go with others of their instruction.

    Of rows with the same input and output all but the first; of a classification task all rows whose input has several
    outputs. `table` has the columns `instruction_id`, `is_classification`, `input`, `output` and `rejected` of all
    rows; returns the column `rejected`.
    """
    inputs = hash_rows(table, ("instruction_id", "input"), normalised=("input",), needed="input")
    instances = hash_rows(table, ("instruction_id", "input", "output"), normalised=("input", "output"))
    is_whole = pc.equal(table["rejected"], "").to_numpy()
    first = is_first(instances, is_whole)
    reasons = table["rejected"].to_numpy().astype(object)
    reasons[is_whole & ~first] = "same input and output as an earlier instance"
    is_labelled = first & table["is_classification"].to_numpy() & (inputs > 0)
    found, counts = np.unique(inputs[is_labelled], return_counts=True)
    if "input under several labels" not in filters.skip:
        reasons[is_labelled & are_in(inputs, found[counts > 1])] = "input under several labels"
    return {"rejected": reasons}


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
