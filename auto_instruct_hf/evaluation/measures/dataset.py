"""All measurements of an instruction dataset in one call, ready for JSON.

Each is also a module for `evaluate.load`: the folders `diversity`, `balance`, `verb_nouns`, `length_profile`, `overlap`
and `alignment` beside this file.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, Value

from ...core import TEXT_COLUMNS, require_columns
from ...errors import SchemaError
from ...recipe import EmbeddingSettings
from .alignment_score import join_prompt, measure_alignment
from .evenness import measure_evenness, measure_labels
from .lengths import measure_lengths
from .nearest import measure_nearest, measure_overlap
from .variety import measure_distinct, measure_verb_nouns
from .vendi import embed_texts, measure_vendi

# What is read where it is there; a cluster may be of any type.
_READ = Features(
    {
        **{name: Value("string") for name in (*TEXT_COLUMNS, "instance_id", "instruction_id", "attribute")},
        "is_classification": Value("bool"),
    }
)
# Ours: of 50,000 outputs of 40 words so many take eight seconds on two cores, all of them a minute.
_NEAREST_OUTPUTS = 5_000
# Ours: a standard error of 0.002 to 0.004 (labels), reckoned from that of the seed tasks.
_ALIGNED_ROWS = 2_000

Embed = Callable[[Sequence[str]], Any]


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
) -> dict[str, Any]:
    """Measure an instruction dataset. The order of its rows decides nothing.

    Each row counts once: of those that share an `instance_id` the first; without that column, where `num_draws` tells
    that rows were drawn more than once, of those that are equal. In other datasets equal rows are measured as they are.

    Args:
        dataset: At least one of the columns `instruction`, `input` and `output` (text); where present `instance_id`,
            `instruction_id`, `attribute` (text), `is_classification` (bool), `cluster`, `num_draws` are used as well.
        references: Instructions to compare these with, such as the seeds; None: no overlap is measured.
        embedding: The embedding model, as for `embedding.embed`.
        with_embeddings: Whether to measure what needs an embedding model.
        nearest_outputs: Outputs that are compared with all others, a random sample; None: all.
        aligned_rows: Rows of each kind whose alignment is measured, a random sample; all where there are fewer.
        seed: Decides the samples.
        cache_dir: Folder of the embeddings' cache; None: as in `transform.apply`.

    Returns:
        Figures by name: `rows` (how many were given, how many count, their instructions), `instructions` (each once),
        `inputs`, `outputs`, `balance`, `alignment`, `overlap`, as the functions of this folder return them; `left_out`
        has the name of each measure that is missing, and the reason; `seed` and `embedding_model`.

    Raises:
        SchemaError: If none of the three columns of text is there, or a column is of another type or holds a null.
    """
    there = [name for name in _READ if name in dataset.column_names]
    if not set(there) & set(TEXT_COLUMNS):
        raise SchemaError(
            f"measure_dataset needs one of the columns {', '.join(TEXT_COLUMNS)}; found: "
            f"{', '.join(dataset.column_names) or 'none'}. Rename yours with Dataset.rename_column"
        )
    dataset = require_columns(dataset, _READ, "measure_dataset", there)
    rows, key = _count_once(dataset)
    columns = {name: list(rows[name][:]) for name in (*there, "cluster") if name in rows.column_names}
    conditions = {"rows": len(rows) > 0, "embeddings": with_embeddings}
    found = _Measures({*columns, *(name for name, holds in conditions.items() if holds)})
    embed: Embed = partial(embed_texts, settings=embedding, cache_dir=cache_dir)
    instructions = list_instructions(columns) if "instruction" in columns else []

    found.add("instructions.lengths", ("instruction",), lambda: measure_lengths(instructions))
    found.add("instructions.distinct", ("instruction",), lambda: measure_distinct(instructions))
    found.add("instructions.nearest", ("instruction",), lambda: measure_nearest(instructions))
    found.add("instructions.verb_nouns", ("instruction",), lambda: measure_verb_nouns(instructions))
    vendi = ("instruction", "rows", "embeddings")
    found.add("instructions.vendi", vendi, lambda: measure_vendi(embed(instructions)))
    found.add("inputs.lengths", ("input",), lambda: measure_lengths(columns["input"]))
    found.add("outputs.lengths", ("output",), lambda: measure_lengths(columns["output"]))
    found.add("outputs.distinct", ("output",), lambda: measure_distinct(columns["output"]))
    nearest = partial(measure_nearest, num_rows=nearest_outputs, seed=seed)
    found.add("outputs.nearest", ("output",), lambda: nearest(columns["output"]))
    found.add("balance.clusters", ("cluster",), lambda: _measure_clusters(rows))
    labels = ("instruction", "is_classification", "attribute")
    found.add("balance.labels", labels, lambda: _measure_labels(columns))
    aligned = ("instruction", "output", "rows", "embeddings")
    found.add("alignment", aligned, lambda: _measure_alignment(columns, embed, aligned_rows, seed))
    if references is not None:
        found.add("overlap", ("instruction",), lambda: measure_overlap(instructions, references))
    counts = {"given": len(dataset), "measured": len(rows), "counted_once_by": key}
    return {
        "rows": {**counts, "instructions": len(instructions) if "instruction" in columns else None},
        **found.figures,
        "left_out": found.left_out,
        "seed": seed,
        "embedding_model": _name_model(embedding) if with_embeddings else None,
    }


class _Measures:
    """Figures, and what is missing among them for want of a column."""

    def __init__(self, there: set[str]) -> None:
        self.figures: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}
        self._there = there

    def add(self, name: str, needs: Sequence[str], measure: Callable[[], Any]) -> None:
        missing = [need for need in needs if need not in self._there]
        if missing:
            reasons = {"rows": "there are no rows", "embeddings": "embeddings were not asked for"}
            self.left_out[name] = "; ".join(reasons.get(need, f"there is no column {need!r}") for need in missing)
            return
        group, _, own = name.partition(".")
        if own:
            self.figures.setdefault(group, {})[own] = measure()
        else:
            self.figures[group] = measure()


def _count_once(dataset: Dataset) -> tuple[Dataset, str | None]:
    """Return each row once, and by what a row is told from another; None where all rows are taken as they are."""
    if "instance_id" in dataset.column_names:
        keys, name = list(dataset["instance_id"][:]), "instance_id"
    elif "num_draws" in dataset.column_names:
        columns = [name for name in (*TEXT_COLUMNS, "attribute") if name in dataset.column_names]
        keys, name = list(zip(*(dataset[column][:] for column in columns), strict=True)), "num_draws"
    else:
        return dataset, None
    first: dict[Any, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    return dataset.select(list(first.values())), name


def list_instructions(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the instructions that are measured.

    Args:
        columns: Column -> its values; `instruction`, and `instruction_id` where there is one.

    Returns:
        Each instruction once by its id, of several spellings the first; without ids that of each row.
    """
    if "instruction_id" not in columns:
        return list(columns["instruction"])
    found: dict[str, str] = {}
    for key, text in zip(columns["instruction_id"], columns["instruction"], strict=True):
        found[key] = min(found.get(key, text), text)
    return list(found.values())


def _measure_clusters(rows: Dataset) -> dict[str, Any]:
    return measure_evenness(rows["cluster"][:], getattr(rows.features["cluster"], "num_classes", None))


def _measure_labels(columns: dict[str, list[Any]]) -> dict[str, Any]:
    tasks = columns.get("instruction_id", columns["instruction"])
    kinds = zip(tasks, columns["attribute"], columns["is_classification"], strict=True)
    labelled = [(task, label) for task, label, is_clf in kinds if is_clf and label]
    return measure_labels([task for task, _ in labelled], [label for _, label in labelled])


def _measure_alignment(columns: dict[str, list[Any]], embed: Embed, most: int, seed: int) -> dict[str, Any]:
    """Measure the alignment of classification and of other tasks apart, where they are told: labels say little."""
    size = len(columns["output"])
    groups = columns.get("instruction_id", columns["instruction"])
    texts = list(zip(columns["instruction"], columns.get("input", [""] * size), columns["output"], groups, strict=True))
    kinds = ["all"] * size
    if "is_classification" in columns:
        kinds = ["classification" if is_clf else "other" for is_clf in columns["is_classification"]]
    found = {}
    for kind in sorted(set(kinds)):
        own = sorted(text for text, one in zip(texts, kinds, strict=True) if one == kind)
        own = [own[row] for row in np.random.default_rng(seed).permutation(len(own))[:most]]
        prompts = embed([join_prompt(instruction, given) for instruction, given, _, _ in own])
        outputs = embed([output for _, _, output, _ in own])
        found[kind] = measure_alignment(prompts, outputs, [group for *_, group in own], seed=seed)
    return found


def _name_model(embedding: EmbeddingSettings | None) -> str:
    from ...core import hide_folder  # it imports the client of the teacher

    return hide_folder((embedding or EmbeddingSettings()).model)
