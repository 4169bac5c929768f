"""The figures of a dataset card: plain data in, a matplotlib figure out, which `to_png` makes a file of."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Wedge
from matplotlib.ticker import MaxNLocator

from ...core import FloatArray
from .drawing import (
    COLOURS,
    FAINT,
    INK,
    PAPER,
    WIDTH,
    add_panel,
    clean,
    clean_names,
    fit,
    mark,
    say_empty,
    shorten_count,
    show_counts,
    start,
    styled,
)

_NUM_VERBS, _NUM_NOUNS = 20, 4  # as in Self-Instruct's figure
_NARROWEST = 0.025  # of the circle before all is fitted in: a verb's segment must hold its word
_TICKS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500)  # of numbers of clusters
_TOKENS = (COLOURS[0], "#b9d7ea", COLOURS[1])  # new input, cached input, output


@styled
def draw_cluster_sizes(names: Sequence[str], before: Sequence[int], after: Sequence[int]) -> Figure:
    """Draw the sizes of the clusters before and after sampling.

    Args:
        names: The topics.
        before: Rows of each before sampling.
        after: Rows of each after it.

    Returns:
        Two horizontal bars a cluster, its shares of all rows.
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
    """Draw how long the texts are.

    Args:
        input_words: Of instruction and input together, in words, a row each.
        output_words: Of the output, in words, a row each.

    Returns:
        Two histograms; the longest hundredth is left out where it would stretch them, and counted.
    """
    figure = start(5.1, "Lengths in words", f"Instances: {len(input_words):,}")
    for number, (title, words) in enumerate((("Instruction and input", input_words), ("Output", output_words))):
        axes = add_panel(figure, 0.95 + 4.75 * number, 0.75, 4.1, 2.9)
        axes.set_title(title, pad=24)
        axes.set(xlabel="words", ylabel="" if number else "instances")
        lengths = np.array(words, dtype=float)
        if not len(lengths):
            say_empty(axes)
            continue
        longest, limit = float(lengths.max()), float(np.quantile(lengths, 0.99))
        limit = longest if longest <= 1.5 * limit else limit
        width = math.ceil(max(limit, 1) / 40)
        edges = np.arange(-0.5, limit + width, width)
        axes.hist(lengths, edges.tolist(), color=COLOURS[0], edgecolor=PAPER, linewidth=0.6)
        median = float(np.median(lengths))
        mark(axes, median, f"median {median:,.0f}", align="left" if median < edges[-1] / 2 else "right")
        if beyond := int((lengths > edges[-1]).sum()):
            axes.set_xlabel(f"words (not shown: {beyond:,} longer, up to {longest:,.0f})")
        show_counts(axes)
    return figure


@styled
def draw_similarity(similarity: FloatArray, threshold: float) -> Figure:
    """Draw how far each instruction is from the others.

    Args:
        similarity: Highest ROUGE-L F1 of each against the pool when it was admitted, in [0, 1].
        threshold: The recipe's: what was above it was dropped.

    Returns:
        A histogram with the threshold.
    """
    known = np.asarray(similarity, dtype=float)
    known = known[np.isfinite(known)]
    note = "Highest ROUGE-L F1 of each instruction against all that came before it; 1 is a copy"
    figure = start(4.8, "Similarity to the nearest earlier instruction", note)
    axes = add_panel(figure, 0.95, 0.75, WIDTH - 1.35, 2.85)
    axes.set(xlim=(0, 1), xlabel="ROUGE-L F1", ylabel="instructions", xticks=np.linspace(0, 1, 11))
    if not len(known):
        say_empty(axes)
        return figure
    # A bin holds its upper edge: what equals the threshold was admitted.
    bins = np.clip(np.ceil(known * 40 - 1e-4).astype(int) - 1, 0, 39)
    counts = np.bincount(bins, minlength=40)
    axes.bar(np.arange(40) / 40, counts, 1 / 40, align="edge", color=COLOURS[0], edgecolor=PAPER, linewidth=0.6)
    median = float(np.median(known))
    mark(axes, median, f"median {median:.2f}", align="right" if median <= threshold else "left")
    mark(axes, threshold, f"dropped above {threshold:g}", "#a84a00", "left" if median <= threshold else "right")
    show_counts(axes)
    return figure


@styled
def draw_acceptance(rounds: Sequence[Mapping[str, int]]) -> Figure:
    """Draw how the bootstrap went.

    Args:
        rounds: Keys `round`, `requests`, `candidates`, `admitted`, in order.

    Returns:
        The share of candidates admitted by round, beside the growth of the pool.
    """
    numbers, candidates, admitted = (
        np.array([row[key] for row in rounds], dtype=float) for key in ("round", "candidates", "admitted")
    )
    note = f"{admitted.sum():,.0f} of {candidates.sum():,.0f} candidates admitted; rounds: {len(rounds):,}"
    figure = start(4.7, "Growth of the pool", note)
    left, right = (add_panel(figure, x, 0.75, 4.0, 2.75) for x in (0.95, 5.75))
    left.set(title="Candidates admitted", xlabel="round", ylim=(0, 1.04))
    right.set(title="Instructions, all rounds so far", xlabel="round")
    if not len(rounds):
        say_empty(left)
        say_empty(right)
        return figure
    share = np.divide(admitted, candidates, out=np.full(len(rounds), np.nan), where=candidates > 0)
    marker = "o" if len(rounds) <= 40 else ""
    left.plot(numbers, share, color=COLOURS[0], lw=2, marker=marker, ms=5, clip_on=False)
    right.plot(numbers, candidates.cumsum(), color=COLOURS[3], lw=2, ls="--", label="candidates")
    right.plot(numbers, admitted.cumsum(), color=COLOURS[0], lw=2, marker=marker, ms=5, label="admitted")
    right.legend(loc="upper left", fontsize=12)
    for axes in (left, right):
        show_counts(axes)
        axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    right.set_ylim(bottom=0)
    left.set_yticks(np.linspace(0, 1, 5), [f"{percent}%" for percent in range(0, 101, 25)])
    return figure


@styled
def draw_curve(curve: Sequence[Mapping[str, Any]], chosen: int) -> Figure:
    """Draw what was measured for each number of clusters.

    Args:
        curve: Keys `num_clusters`, `silhouette` and `stability` (None where it was not measured), in order.
        chosen: The number taken.

    Returns:
        Both curves over the number, on a scale of ratios, with the number taken.
    """
    figure = start(4.8, "Number of clusters", "1 is apart and alike in every resample; 0 is no better than chance")
    axes = add_panel(figure, 0.95, 0.75, WIDTH - 1.35, 2.85)
    if not len(curve):
        say_empty(axes)
        return figure
    numbers = [row["num_clusters"] for row in curve]
    for key, colour, ls in (("silhouette", COLOURS[0], "-"), ("stability", COLOURS[3], "--")):
        points = [(row["num_clusters"], row[key]) for row in curve if row[key] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, lw=2, ls=ls, marker="o", ms=5, label=key, clip_on=False)
    axes.legend(loc="lower right", fontsize=12)
    axes.set_xscale("log")
    ticks = [number for number in _TICKS if numbers[0] <= number <= numbers[-1]]
    axes.set_xticks(ticks, [str(number) for number in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("clusters")
    axes.set_xlim(0.95 * min(numbers[0], chosen), 1.05 * max(numbers[-1], chosen))
    axes.grid(axis="y")
    mark(axes, chosen, f"taken: {chosen}", align="left" if chosen**2 < numbers[0] * numbers[-1] else "right")
    return figure


@styled
def draw_verbs(ours: Sequence[tuple[str, str]], seeds: Sequence[tuple[str, str]]) -> Figure:
    """Draw what the instructions ask for.

    Args:
        ours: Root verb and direct object of each instruction that has both.
        seeds: The same of the seed tasks.

    Returns:
        A sunburst each: the 20 most frequent verbs inside, the 4 most frequent objects of each outside. A verb has the
        same colour in both; an object's segment too narrow for its word stands without.
    """
    note = f"The top {_NUM_VERBS} root verbs and the top {_NUM_NOUNS} objects of each; rare verbs are drawn "
    note += "wider than to scale"
    figure = start(6.15, "What the instructions ask for", note)
    rings = [_count_verbs(pairs) for pairs in (ours, seeds)]
    verbs = dict.fromkeys(verb for ring in rings for verb in ring)
    colours = {verb: COLOURS[number % len(COLOURS)] for number, verb in enumerate(verbs)}
    titles, numbers = ("this dataset", "seed tasks"), (len(ours), len(seeds))
    for place, (title, number, ring) in enumerate(zip(titles, numbers, rings, strict=True)):
        axes = add_panel(figure, 5.0 * place, 0.1, 5.0, 5.0)
        axes.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))  # a unit is an inch
        axes.axis("off")
        counts = {verb: sum(nouns.values()) for verb, nouns in ring.items()}
        total, angle = sum(counts.values()), 90.0
        widths = {verb: max(count, _NARROWEST * total) for verb, count in counts.items()}
        axes.text(0, 0.2, title, size=11, weight="bold", ha="center", va="center")
        share = f"{number:,} pairs,\n{total / max(number, 1):.0%} shown"
        axes.text(0, -0.12, share, size=11, color=FAINT, ha="center", va="center")
        for verb, nouns in ring.items():
            span, colour = 360 * widths[verb] / sum(widths.values()), to_rgb(colours[verb])
            pale = (0.35 * colour[0] + 0.65, 0.35 * colour[1] + 0.65, 0.35 * colour[2] + 0.65)
            _draw_segment(axes, verb, angle, span, (0.68, 1.54), colour)
            for noun, count in nouns.items():
                _draw_segment(axes, noun, angle, span * count / counts[verb], (1.54, 2.46), pale)
                angle -= span * count / counts[verb]
    return figure


def _count_verbs(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Return how often each object shown occurs, by verb, the most frequent verbs first."""
    counts: dict[str, Counter[str]] = {}
    for verb, noun in pairs:
        counts.setdefault(clean(verb) or "…", Counter())[clean(noun) or "…"] += 1
    ranked = sorted(counts, key=lambda verb: -counts[verb].total())[:_NUM_VERBS]
    return {verb: dict(counts[verb].most_common(_NUM_NOUNS)) for verb in ranked}


def _draw_segment(
    axes: Axes, word: str, angle: float, span: float, radii: tuple[float, float], colour: tuple[float, float, float]
) -> None:
    """Draw a segment of a ring, clockwise from an angle in degrees, with its word along the radius where it fits."""
    inner, outer = radii
    axes.add_patch(Wedge((0, 0), outer, angle - span, angle, width=outer - inner, fc=colour, ec=PAPER, lw=0.8))
    middle, radius, size = angle - span / 2, (inner + outer) / 2, 9.5
    if math.radians(min(span, 180)) * radius < 0.9 * size / 72:
        return
    is_left = 90 < middle % 360 < 270
    x, y = radius * math.cos(math.radians(middle)), radius * math.sin(math.radians(middle))
    is_dark = float(np.dot(colour, (0.3, 0.59, 0.11))) < 0.41
    axes.text(
        x, y, fit(word, outer - inner - 0.04, size), size=size, ha="center", va="center", rotation_mode="anchor",
        rotation=middle + 180 * is_left, color=PAPER if is_dark else INK,
    )  # fmt: skip


@styled
def draw_costs(usages: Iterable[Mapping[str, Any]]) -> Figure:
    """Draw what the teacher cost.

    Args:
        usages: Keys `phase`, `dollars` (None where no price is known), `input_tokens`, `cached_tokens` (part of the
            input's) and `output_tokens`; sums over the models of a phase are taken here.

    Returns:
        A bar a phase: dollars, or tokens where a price is missing or nothing was to pay.
    """
    parts = ("new input", "cached input", "output")
    tokens: dict[str, npt.NDArray[np.int64]] = {}
    prices: dict[str, list[float | None]] = {}
    for usage in usages:
        phase, cached = clean(str(usage["phase"])), usage["cached_tokens"]
        counts = np.array([usage["input_tokens"] - cached, cached, usage["output_tokens"]], dtype=np.int64)
        tokens[phase] = tokens.get(phase, np.zeros(3, dtype=np.int64)) + counts
        prices.setdefault(phase, []).append(usage["dollars"])
    paid = np.array([sum(filter(None, found)) for found in prices.values()])
    is_priced = paid.sum() > 0 and not any(None in found for found in prices.values())
    totals = sum(tokens.values(), np.zeros(3, dtype=np.int64))
    note = "Tokens: " + ", ".join(f"{shorten_count(total)} {part}" for total, part in zip(totals, parts, strict=True))
    title = f"Cost by phase: ${paid.sum():,.2f} at list price" if is_priced else "Tokens by phase"
    height = 0.5 * max(len(tokens), 1)
    figure = start(height + (1.4 if is_priced else 1.7), title, note)
    axes = add_panel(figure, 1.7, 0.25, 5.2 if is_priced else 7.2, height)
    axes.set(xticks=[], yticks=[], ylim=(max(len(tokens), 1) - 0.5, -0.5))
    axes.spines["bottom"].set_visible(False)
    if not tokens:
        say_empty(axes)
        return figure
    ends = paid if is_priced else np.zeros(len(tokens))
    if is_priced:
        axes.barh(range(len(tokens)), paid, 0.66, color=COLOURS[0])
    else:
        for part, column, colour in zip(parts, np.array([*tokens.values()]).T, _TOKENS, strict=True):
            axes.barh(range(len(tokens)), column, 0.66, ends, color=colour, edgecolor=PAPER, label=part)
            ends = ends + column
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderpad=0, borderaxespad=0.2)
    for place, (phase, counts) in enumerate(tokens.items()):
        axes.text(-0.02, place, fit(phase, 1.4, 12), ha="right", va="center", transform=axes.get_yaxis_transform())
        money = f"${ends[place]:,.2f}" if ends[place] == 0 or ends[place] >= 0.005 else "under $0.01"
        text = f"{money} · {shorten_count(counts[:2].sum())} in, {shorten_count(counts[2])} out"
        axes.text(ends[place], place, f"  {text if is_priced else shorten_count(ends[place])}", va="center")
    axes.set_xlim(0, float(ends.max()) or 1.0)
    return figure
