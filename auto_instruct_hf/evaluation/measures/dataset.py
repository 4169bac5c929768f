"""All measurements of an instruction dataset in one call, ready for JSON."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset

from ...core import INSTANCES, TEXT_COLUMNS, Columns, Vectors, hide_folder, require_columns
from ...errors import SchemaError
from ...recipe import EmbeddingSettings
from .distributions import Figures, make_histogram, measure_evenness, measure_labels, measure_lengths
from .embeddings import embed_texts, join_prompt, measure_alignment, measure_meaning, measure_vendi
from .wording import measure_distinct, measure_nearest, measure_overlap, measure_verb_nouns

# Ours: for 50,000 outputs of 40 words this takes 8 s on two cores; all outputs take a minute.
_NEAREST_OUTPUTS = 5_000
# Ours: the standard error is 0.002 to 0.004 (labels), extrapolated from the seed tasks.
_ALIGNED_ROWS = 2_000
_REASONS = {"rows": "there are no rows", "embeddings": "embeddings were not asked for"}


def measure_dataset(
    dataset: Dataset,
    *,
    references: Sequence[str] | None = None,
    embedding: EmbeddingSettings | None = None,
    with_embeddings: bool = True,
    nearest_outputs: int | None = _NEAREST_OUTPUTS,
    aligned_rows: int = _ALIGNED_ROWS,
    seed: int = 42,
    cache_dir: Path | None = None,
) -> Figures:
    """Measure an instruction dataset. The order of its rows does not change the result.

    Of the rows with the same `instance_id` only the first counts; without that column, but with `num_draws` (rows were
    sampled more than once), the first of equal rows; else all rows.

    Args:
        dataset: At least one of the columns `instruction`, `input` and `output` (text). `instance_id`,
            `instruction_id`, `attribute` (text), `is_classification` (bool), `cluster` and `num_draws` are optional.
        references: Instructions to compare with, such as the seeds; None: no overlap is measured.
        embedding: The embedding model.
        with_embeddings: Whether to measure what needs it.
        nearest_outputs: Size of the random sample of outputs that are compared with all others; None: all outputs.
        aligned_rows: Size of the random sample of rows of each kind whose alignment is measured.
        seed: Seed of the samples.
        cache_dir: Folder of the embeddings' cache; None: as in `core.apply`.

    Returns:
        Figures by name: `rows` (given, counted, their instructions), `instructions` (each once), `inputs`, `outputs`,
        `balance`, `alignment`, `overlap`, as returned by the functions of this folder; `left_out` maps each missing
        measure to the reason; `seed` and `embedding_model`.

    Raises:
        SchemaError: If there is no text column, or a column has another type or holds a null.
    """
    present = [name for name in INSTANCES if name in dataset.column_names]
    if not set(present) & set(TEXT_COLUMNS):
        raise SchemaError(
            f"measure_dataset needs one of the columns {', '.join(TEXT_COLUMNS)}; found: "
            f"{', '.join(dataset.column_names) or 'none'}. Rename yours with Dataset.rename_column"
        )
    rows, key = _count_once(require_columns(dataset, INSTANCES, "measure_dataset", present))
    columns = {name: list(rows[name][:]) for name in (*present, "cluster") if name in rows.column_names}
    embed = partial(embed_texts, settings=embedding, cache_dir=cache_dir)
    instructions = _list_instructions(columns) if "instruction" in columns else []
    nearest = partial(measure_nearest, num_rows=nearest_outputs, seed=seed)
    num_clusters = getattr(rows.features.get("cluster"), "num_classes", None)
    align = partial(_measure_alignment, columns, embed, aligned_rows, seed)
    embedded = ("rows", "embeddings")
    # Name -> columns and conditions that the measure needs, and the measure.
    measures: dict[str, tuple[Sequence[str], Callable[[], object]]] = {
        "instructions.lengths": (["instruction"], lambda: measure_lengths(instructions)),
        "instructions.distinct": (["instruction"], lambda: measure_distinct(instructions)),
        "instructions.nearest": (["instruction"], lambda: measure_nearest(instructions)),
        "instructions.verb_nouns": (["instruction"], lambda: measure_verb_nouns(instructions)),
        "instructions.meaning": (["instruction", *embedded], lambda: measure_meaning(embed(instructions))),
        "instructions.vendi": (["instruction", *embedded], lambda: measure_vendi(embed(instructions))),
        "inputs.lengths": (["input"], lambda: measure_lengths(columns["input"])),
        "outputs.lengths": (["output"], lambda: measure_lengths(columns["output"])),
        "outputs.distinct": (["output"], lambda: measure_distinct(columns["output"])),
        "outputs.nearest": (["output"], lambda: nearest(columns["output"])),
        "balance.clusters": (["cluster"], lambda: measure_evenness(columns["cluster"], num_clusters)),
        "balance.labels": (["instruction", "is_classification", "attribute"], lambda: _measure_labels(columns)),
        "alignment": (["instruction", "output", *embedded], align),
    }
    if references is not None:
        measures["overlap"] = (["instruction"], lambda: measure_overlap(instructions, references))
    available = {*columns, *(["rows"] * (len(rows) > 0)), *(["embeddings"] * with_embeddings)}
    counts = {"given": len(dataset), "measured": len(rows), "counted_once_by": key}
    figures: Figures = {"rows": {**counts, "instructions": len(instructions) if "instruction" in columns else None}}
    left_out: dict[str, str] = {}
    for name, (needs, measure) in measures.items():
        if missing := [need for need in needs if need not in available]:
            left_out[name] = "; ".join(_REASONS.get(need, f"there is no column {need!r}") for need in missing)
        else:
            group, _, own = name.partition(".")
            figures[group] = {**figures.get(group, {}), own: measure()} if own else measure()
    model = hide_folder((embedding or EmbeddingSettings()).model) if with_embeddings else None
    return {**figures, "left_out": left_out, "seed": seed, "embedding_model": model}


def _count_once(dataset: Dataset) -> tuple[Dataset, str | None]:
    """Return each row once, and the column by which rows are known to repeat; None: all rows count."""
    key = next((name for name in ("instance_id", "num_draws") if name in dataset.column_names), None)
    if key is None:
        return dataset, None
    names = (key,) if key == "instance_id" else (*TEXT_COLUMNS, "attribute")
    values = list(zip(*(dataset[name][:] for name in names if name in dataset.column_names), strict=True))
    first = {values[row]: row for row in reversed(range(len(values)))}
    return dataset.select(sorted(first.values())), key


def _list_instructions(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one instruction per id, the alphabetically first of several spellings; without ids that of each row."""
    if "instruction_id" not in columns:
        return list(columns["instruction"])
    spellings = zip(columns["instruction_id"], columns["instruction"], strict=True)
    return list(dict(sorted(spellings, reverse=True)).values())


def count_lengths(rows: Dataset) -> Figures:
    """Compute the histogram of lengths in words of each text column; `measure_dataset` counts the same texts."""
    columns = {name: rows[name][:] for name in (*TEXT_COLUMNS, "instruction_id") if name in rows.column_names}
    if "instruction" in columns:
        columns["instruction"] = _list_instructions(columns)
    return {name: make_histogram(columns[name]) for name in TEXT_COLUMNS if name in columns}


def _measure_labels(columns: Columns) -> Figures:
    tasks = columns.get("instruction_id", columns["instruction"])
    kinds = zip(tasks, columns["attribute"], columns["is_classification"], strict=True)
    labelled = [(task, label) for task, label, is_clf in kinds if is_clf and label]
    return measure_labels([task for task, _ in labelled], [label for _, label in labelled])


def _measure_alignment(columns: Columns, embed: Callable[[list[str]], Vectors], max_rows: int, seed: int) -> Figures:
    """Measure alignment, separately for classification if it is known: labels say little of their prompts."""
    size = len(columns["output"])
    groups = columns.get("instruction_id", columns["instruction"])
    texts = list(zip(columns["instruction"], columns.get("input", [""] * size), columns["output"], groups, strict=True))
    kinds = ["all"] * size
    if "is_classification" in columns:
        kinds = ["classification" if is_clf else "other" for is_clf in columns["is_classification"]]
    found = {}
    for kind in sorted(set(kinds)):
        own = sorted(text for text, one in zip(texts, kinds, strict=True) if one == kind)
        own = [own[row] for row in np.random.default_rng(seed).permutation(len(own))[:max_rows]]
        prompts = embed([join_prompt(instruction, given) for instruction, given, _, _ in own])
        outputs = embed([output for _, _, output, _ in own])
        found[kind] = measure_alignment(prompts, outputs, [group for *_, group in own], seed=seed)
    return found
