"""Distributions as figures ready for JSON: lengths of texts, sizes of clusters and labels."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core import FloatArray, count_words

Figures = dict[str, Any]
"""Measurements by name, nested, ready for JSON."""


def find_figure(figures: object, path: str) -> object:
    """Return the figure at a path of names joined by dots, None if there is none."""
    for name in path.split("."):
        figures = figures.get(name) if isinstance(figures, Mapping) else None
    return figures


def describe_values(values: Iterable[float] | FloatArray) -> Figures:
    """Describe finite numbers by `count`, `mean`, `min`, `max`, `median`, three `quartiles` and nine `deciles`.

    Quantiles are interpolated linearly. Without values `count` is 0 and the others are None.
    """
    # Sorted, so that their order does not change the last digit of the mean.
    found = np.sort(np.fromiter(values, dtype=np.float64))
    if not len(found):
        return {"count": 0, **dict.fromkeys(("mean", "min", "max", "median", "quartiles", "deciles"))}
    return {
        "count": len(found),
        "mean": float(found.mean()),
        "min": float(found.min()),
        "max": float(found.max()),
        "median": float(np.median(found)),
        "quartiles": np.percentile(found, [25, 50, 75]).tolist(),
        "deciles": np.percentile(found, np.arange(10, 100, 10)).tolist(),
    }


def make_histogram(texts: Iterable[str], max_bars: int = 30) -> Figures:
    """Compute the histogram of text lengths in words; texts without words are skipped.

    `width` of a bar in words; `counts`, one per bar, the first from 1 to `width` words; `beyond`: the number of texts
    of the longest hundredth, if including them would stretch the histogram.
    """
    words = np.array([count for count in map(count_words, texts) if count], dtype=np.int64)
    if not len(words):
        return {"width": 1, "counts": [], "beyond": 0}
    limit, longest = float(np.quantile(words, 0.99)), int(words.max())
    width = max(1, -(-int(longest if longest <= 1.5 * limit else limit) // max_bars))
    bins = (words - 1) // width
    counts = np.bincount(bins[bins < max_bars], minlength=min(max_bars, int(bins.max()) + 1))
    return {"width": width, "counts": counts.tolist(), "beyond": int((bins >= max_bars).sum())}


def measure_lengths(texts: Sequence[str]) -> Figures:
    """Measure the lengths of texts in words; in scripts without spaces two characters count as one word.

    Args:
        texts: Any texts.

    Returns:
        `num_texts`; `share_empty`, the share of texts that are only white space (None without texts); `words`, the
        distribution of the word counts of the others.
    """
    filled = [text for text in texts if text.strip()]
    return {
        "num_texts": len(texts),
        "share_empty": (len(texts) - len(filled)) / len(texts) if texts else None,
        "words": describe_values(map(count_words, filled)),
    }


def measure_evenness(kinds: Sequence[Hashable], num_kinds: int | None = None) -> Figures:
    """Measure how evenly rows are distributed over kinds, such as clusters.

    `num_rows`; `num_kinds`, the possible kinds, by default those that occur; `num_met`, those that occur; `coverage`,
    their share; `normalised_entropy`, the entropy divided by log(`num_kinds`) (Pielou 1966, "The measurement of
    diversity in different types of biological collections"), 1 if all kinds have the same size, None for fewer than two
    kinds; `effective_number`, that of equally large kinds with the same entropy; `largest_share`. It raises ValueError
    if more kinds occur than are possible.
    """
    counts = np.array(sorted(Counter(kinds).values()), dtype=np.float64)
    possible = len(counts) if num_kinds is None else num_kinds
    if len(counts) > possible:
        raise ValueError(f"num_kinds is {num_kinds}, but {len(counts)} different kinds occur: give at least as many")
    shares = counts / counts.sum()
    # A rounding error must not exceed the bound.
    entropy = min(max(float(-(shares * np.log(shares)).sum()), 0.0), float(np.log(max(len(counts), 1))))
    return {
        "num_rows": len(kinds),
        "num_kinds": possible,
        "num_met": len(counts),
        "coverage": len(counts) / possible if possible else None,
        "normalised_entropy": entropy / float(np.log(possible)) if possible > 1 and len(counts) else None,
        "effective_number": float(np.exp(entropy)) if len(counts) else 0.0,
        "largest_share": float(shares.max()) if len(counts) else None,
    }


def measure_labels(tasks: Sequence[Hashable], labels: Sequence[Hashable]) -> Figures:
    """Measure how evenly the rows of each classification task are distributed over its labels that occur.

    `num_tasks`; `num_one_label`: tasks with a single label; the distributions of `labels_a_task`, and of the
    `normalised_entropy` of tasks with two labels or more.
    """
    by_task: dict[Hashable, list[Hashable]] = {}
    for task, label in zip(tasks, labels, strict=True):
        by_task.setdefault(task, []).append(label)
    found = [measure_evenness(own) for own in by_task.values()]
    return {
        "num_tasks": len(found),
        "num_one_label": sum(one["num_met"] == 1 for one in found),
        "labels_a_task": describe_values([one["num_met"] for one in found]),
        "normalised_entropy": describe_values([one["normalised_entropy"] for one in found if one["num_met"] > 1]),
    }
