"""The most telling measurements in words, for the page and the card."""

from collections.abc import Callable, Mapping

from ..measures import find_figure

_ALIGNMENT = {"all": "Alignment", "other": "Alignment, texts", "classification": "Alignment, labels"}


def list_headlines(figures: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """Return the most telling figures.

    Args:
        figures: As `evaluate` returns them.

    Returns:
        Name, value and meaning of each figure that is known.
    """
    measures = figures["measures"]
    alignment = find_figure(measures, "alignment")
    kinds = list(alignment) if isinstance(alignment, Mapping) else []
    near = "share whose nearest other has a ROUGE-L above {:g}"
    wanted: list[tuple[str, str, str, Callable[..., str]]] = [
        ("Near copies, instructions", "instructions.nearest.share_above", near, percent),
        ("Near copies, outputs", "outputs.nearest.share_above", near, percent),
        ("Near the seeds", "overlap.share_above", "share of instructions above {:g} to a seed task", percent),
        ("Vendi score", "instructions.vendi", "so many different instructions, by their embeddings", number),
        ("Distinct bigrams", "outputs.distinct.distinct_2", "of all word pairs in outputs", percent),
        ("Verb-object pairs", "instructions.verb_nouns.num_pairs", "different ones in instructions", count),
        ("Without an input", "inputs.lengths.share_empty", "share of the instances", percent),
        ("Without an output", "outputs.lengths.share_empty", "share of the instances", percent),
        ("Evenness of topics", "balance.clusters.normalised_entropy", "1: all of one size", number),
    ]
    meaning = "how often an output is nearer to its own task than to another; 0.5: chance"
    wanted += [(_ALIGNMENT[kind], f"alignment.{kind}.auc", meaning, number) for kind in kinds]
    tiles = []
    for name, path, means, show in wanted:
        value, group = find_figure(measures, path), find_figure(measures, path.rpartition(".")[0])
        if value is not None:
            threshold = group.get("threshold", 0) if isinstance(group, Mapping) else 0
            tiles.append((name, show(value), means.format(threshold)))
    return tiles


def percent(share: float | None) -> str:
    """Return a share as text, "" for None."""
    return "" if share is None else f"{share:.1%}"


def number(value: float | None) -> str:
    """Return a number as text, with a precision that depends on its size; "" for None."""
    return "" if value is None else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def count(value: int | None) -> str:
    """Return a count as text with separators, "" for None."""
    return "" if value is None else f"{value:,}"
