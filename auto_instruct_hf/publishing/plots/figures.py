"""The charts of a dataset card: cluster sizes, lengths, similarity, verbs."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Wedge
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...core import FloatArray
from .drawing import COLOURS, FAINT, INK, PAPER, WIDTH, add_panel, clean, clean_names, fit, start, styled

_NUM_VERBS, _NUM_NOUNS = 20, 4  # as in Self-Instruct's figure
_MIN_SHARE = 0.025  # of the circle before scaling: a verb's segment must hold its word


@styled
def draw_cluster_sizes(names: Sequence[str], before: Sequence[int], after: Sequence[int]) -> Figure:
    """Draw two horizontal bars per cluster: its shares of the rows before and after sampling.

    Args:
        names: The topics.
        before: Rows of each topic before sampling.
        after: Rows of each topic after sampling.

    Returns:
        The bar chart.
    """
    height = (0.4 if len(names) <= 12 else 0.28) * max(len(names), 1)
    shares = [np.array(counts, dtype=float) / max(sum(counts), 1) for counts in (before, after)]
    note = f"Share of the {sum(before):,} instances before sampling (wide, light) and the {sum(after):,} rows after"
    figure = start(height + 1.35, "Sizes of the clusters", f"{note} (narrow, dark)")
    axes = add_panel(figure, 4.9, 0.2, 3.4, height)
    axes.barh(range(len(names)), shares[0], height=0.78, color="#a9cfe6")
    axes.barh(range(len(names)), shares[1], height=0.3, color="#00466e")
    axes.set(ylim=(max(len(names), 1) - 0.5, -0.5), xlim=(0, max([0.01, *shares[0], *shares[1]])), xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)
    side = axes.get_yaxis_transform()
    for number, (topic, first, second) in enumerate(zip(clean_names(names), *shares, strict=True)):
        axes.text(-0.035, number, str(number), weight="bold", ha="right", va="center", transform=side)
        axes.text(-0.155, number, fit(topic, 4.1, 12), ha="right", va="center", transform=side)
        axes.text(max(first, second), number, f"  {first:.1%} → {second:.1%}", va="center")
    return figure


@styled
def draw_lengths(input_words: Sequence[int], output_words: Sequence[int]) -> Figure:
    """Draw histograms of text lengths; the longest 1 % is left out if it would stretch them, and counted.

    Args:
        input_words: Words of instruction and input together, per row.
        output_words: Words of the output, per row.

    Returns:
        The two histograms.
    """
    figure = start(5.1, "Lengths in words", f"Instances: {len(input_words):,}")
    for number, (title, words) in enumerate((("Instruction and input", input_words), ("Output", output_words))):
        axes = add_panel(figure, 0.95 + 4.75 * number, 0.75, 4.1, 2.9)
        axes.set_title(title, pad=24)
        axes.set(xlabel="words", ylabel="" if number else "instances")
        lengths = np.array(words, dtype=float)
        if not len(lengths):
            _say_empty(axes)
            continue
        longest, limit = float(lengths.max()), float(np.quantile(lengths, 0.99))
        limit = longest if longest <= 1.5 * limit else limit
        width = math.ceil(max(limit, 1) / 40)
        edges = np.arange(-0.5, limit + width, width)
        _draw_histogram(axes, lengths, edges)
        median = float(np.median(lengths))
        _mark(axes, median, f"median {median:,.0f}", align="left" if median < edges[-1] / 2 else "right")
        if beyond := int((lengths > edges[-1]).sum()):
            axes.set_xlabel(f"words (not shown: {beyond:,} longer, up to {longest:,.0f})")
    return figure


@styled
def draw_similarity(similarity: FloatArray, threshold: float) -> Figure:
    """Draw a histogram of the similarity of instructions, with the threshold.

    Args:
        similarity: Highest ROUGE-L F1 of each instruction against all earlier ones, in [0, 1]; NaN: none.
        threshold: Instructions with a higher similarity were dropped.

    Returns:
        The histogram.
    """
    known = similarity[np.isfinite(similarity)]
    note = "Highest ROUGE-L F1 of each instruction against all earlier ones; 1 is a copy"
    figure = start(4.8, "Similarity to the nearest earlier instruction", note)
    axes = add_panel(figure, 0.95, 0.75, WIDTH - 1.35, 2.85)
    axes.set(xlim=(0, 1), xlabel="ROUGE-L F1", ylabel="instructions", xticks=np.linspace(0, 1, 11))
    if not len(known):
        _say_empty(axes)
        return figure
    # A bin includes its upper edge: a similarity equal to the threshold was kept.
    bins = np.clip(np.ceil(known * 40 - 1e-4), 1, 40)
    _draw_histogram(axes, (bins - 0.5) / 40, np.arange(41) / 40)
    median = float(np.median(known))
    _mark(axes, median, f"median {median:.2f}", align="right" if median <= threshold else "left")
    _mark(axes, threshold, f"dropped above {threshold:g}", "#a84a00", "left" if median <= threshold else "right")
    return figure


@styled
def draw_verbs(ours: Sequence[tuple[str, str]], seeds: Sequence[tuple[str, str]]) -> Figure:
    """Draw the 20 most frequent root verbs as a ring, and the 4 most frequent objects of each around it.

    Args:
        ours: Root verb and direct object of each instruction that has both.
        seeds: The same of the seed tasks.

    Returns:
        Two sunbursts. A verb has the same colour in both; segments too narrow for their word have none.
    """
    note = f"The top {_NUM_VERBS} root verbs and the top {_NUM_NOUNS} objects of each; rare verbs are drawn "
    figure = start(6.15, "What the instructions ask for", note + "wider than to scale")
    rings = [_count_verbs(pairs) for pairs in (ours, seeds)]
    verbs = dict.fromkeys(verb for ring in rings for verb in ring)
    colours = {verb: COLOURS[number % len(COLOURS)] for number, verb in enumerate(verbs)}
    titled = zip(("this dataset", "seed tasks"), (len(ours), len(seeds)), rings, strict=True)
    for place, (title, num_pairs, ring) in enumerate(titled):
        axes = add_panel(figure, 5.0 * place, 0.1, 5.0, 5.0)
        axes.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))  # a unit is an inch
        axes.axis("off")
        total, angle = sum(nouns.total() for nouns in ring.values()), 90.0
        widths = {verb: max(nouns.total(), _MIN_SHARE * total) for verb, nouns in ring.items()}
        axes.text(0, 0.2, title, size=11, weight="bold", ha="center", va="center")
        shown = f"{num_pairs:,} pairs,\n{total / max(num_pairs, 1):.0%} shown"
        axes.text(0, -0.12, shown, size=11, color=FAINT, ha="center", va="center")
        for verb, nouns in ring.items():
            span = 360 * widths[verb] / sum(widths.values())
            _draw_segment(axes, verb, angle, span, (0.68, 1.54), colours[verb])
            for noun, count in nouns.items():
                width = span * count / nouns.total()
                _draw_segment(axes, noun, angle, width, (1.54, 2.46), colours[verb], alpha=0.35)
                angle -= width
    return figure


def _count_verbs(pairs: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Return how often each object shown occurs, by verb, the most frequent verbs first."""
    counts: dict[str, Counter[str]] = {}
    for verb, noun in pairs:
        counts.setdefault(clean(verb) or "…", Counter())[clean(noun) or "…"] += 1
    ranked = sorted(counts, key=lambda verb: -counts[verb].total())[:_NUM_VERBS]
    return {verb: Counter(dict(counts[verb].most_common(_NUM_NOUNS))) for verb in ranked}


def _draw_segment(
    axes: Axes, word: str, angle: float, span: float, radii: tuple[float, float], colour: str, alpha: float = 1.0
) -> None:
    """Draw a segment of a ring, clockwise from an angle in degrees, with its word along the radius if it fits."""
    inner, outer = radii
    wedge = Wedge((0, 0), outer, angle - span, angle, width=outer - inner, fc=(colour, alpha), ec=PAPER, lw=0.8)
    axes.add_patch(wedge)
    middle, radius, size = angle - span / 2, (inner + outer) / 2, 9.5
    if math.radians(min(span, 180)) * radius < 0.9 * size / 72:
        return
    is_left = 90 < middle % 360 < 270
    x, y = radius * math.cos(math.radians(middle)), radius * math.sin(math.radians(middle))
    is_dark = alpha * (1 - np.dot(to_rgb(colour), (0.3, 0.59, 0.11))) > 0.59
    axes.text(
        x, y, fit(word, outer - inner - 0.04, size), size=size, ha="center", va="center", rotation_mode="anchor",
        rotation=middle + 180 * is_left, color=PAPER if is_dark else INK,
    )  # fmt: skip


def _draw_histogram(axes: Axes, values: FloatArray, edges: FloatArray) -> None:
    axes.hist(values, edges.tolist(), color=COLOURS[0], edgecolor=PAPER, linewidth=0.6)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.grid(axis="y")


def _mark(axes: Axes, value: float, text: str, colour: str = INK, align: Literal["left", "right"] = "left") -> None:
    """Draw a vertical line with a label above the panel."""
    axes.axvline(value, color=colour, lw=1.6, ls="--")
    axes.text(value, 1.02, text, size=11, color=colour, ha=align, va="bottom", transform=axes.get_xaxis_transform())


def _say_empty(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "no rows", color=FAINT, ha="center", va="center", transform=axes.transAxes)
