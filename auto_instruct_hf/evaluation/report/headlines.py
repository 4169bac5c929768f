"""The measurements that tell most, in words, for the page and the card."""

from collections.abc import Mapping, Sequence
from typing import Any


def list_headlines(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the figures that tell most.

    Args:
        figures: As `report.evaluate` returns them.

    Returns:
        What, how much, and what it means; those that are known.
    """
    measures = figures["measures"]
    near = "share whose nearest other has a ROUGE-L above {:g}"
    wanted: list[tuple[str, Sequence[str], str, Any]] = [
        ("Near copies, instructions", ("instructions", "nearest", "share_above"), near, percent),
        ("Near copies, outputs", ("outputs", "nearest", "share_above"), near, percent),
        ("Near the seeds", ("overlap", "share_above"), "share of instructions above {:g} to a seed task", percent),
        ("Vendi score", ("instructions", "vendi"), "so many different instructions, by their embeddings", number),
        ("Distinct bigrams", ("outputs", "distinct", "distinct_2"), "of all word pairs in outputs", percent),
        ("Verb-object pairs", ("instructions", "verb_nouns", "num_pairs"), "different ones in instructions", count),
        ("Without an input", ("inputs", "lengths", "share_empty"), "share of the instances", percent),
        ("Without an output", ("outputs", "lengths", "share_empty"), "share of the instances", percent),
        ("Evenness of topics", ("balance", "clusters", "normalised_entropy"), "1: all of one size", number),
    ]
    meaning = "how often an output is nearer to its own task than to another; 0.5: chance"
    kinds = (measures.get("alignment") or {}).keys()
    wanted += [(_name_alignment(kind), ("alignment", kind, "auc"), meaning, number) for kind in kinds]
    tiles = []
    for name, path, means, show in wanted:
        value, group = find(measures, path), find(measures, path[:-1])
        if value is not None:
            threshold = group.get("threshold", 0) if isinstance(group, Mapping) else 0
            tiles.append((name, show(value), means.format(threshold)))
    return tiles


def _name_alignment(kind: str) -> str:
    return {"all": "Alignment", "other": "Alignment, texts", "classification": "Alignment, labels"}[kind]


def find(figures: Any, path: Sequence[str]) -> Any:
    """Return what stands at a path of keys, None where there is nothing."""
    for name in path:
        figures = figures.get(name) if isinstance(figures, Mapping) else None
    return figures


def percent(share: float | None) -> str:
    """Return a share as text, "" for None."""
    return "" if share is None else f"{share:.1%}"


def number(value: float | None) -> str:
    """Return a number as text with as many digits as mean something, "" for None."""
    return "" if value is None else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def count(value: int | None) -> str:
    """Return a count as text with separators, "" for None."""
    return "" if value is None else f"{value:,}"
