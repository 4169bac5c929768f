"""Distributions of values as figures ready for JSON, and the lengths of texts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...core import FloatArray, count_words

Figures = dict[str, Any]
"""Measurements by name, nested, ready for JSON."""


def find_figure(figures: object, path: str) -> object:
    """Return the figure at a path of names joined by dots, None where there is none."""
    for name in path.split("."):
        figures = figures.get(name) if isinstance(figures, Mapping) else None
    return figures


def describe_values(values: Iterable[float] | FloatArray) -> Figures:
    """Describe a distribution.

    Args:
        values: Any finite numbers.

    Returns:
        `count`, `mean`, `min`, `max`, `median`, `quartiles` (three) and `deciles` (nine), the quantiles interpolated
        linearly. Without values `count` is 0 and the others are None.
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


def count_lengths(texts: Iterable[str], max_bars: int = 30) -> Figures:
    """Compute the histogram of text lengths in words.

    Args:
        texts: Any texts; those without a word are skipped.
        max_bars: Maximum number of bars.

    Returns:
        `width`: of a bar, in words; `counts`: texts of 1 to `width` words, of up to twice as many, and so on; `beyond`:
        texts of the longest hundredth, where including them would stretch the histogram.
    """
    words = np.array([count for count in map(count_words, texts) if count], dtype=np.int64)
    if not len(words):
        return {"width": 1, "counts": [], "beyond": 0}
    limit, longest = float(np.quantile(words, 0.99)), int(words.max())
    width = max(1, -(-int(longest if longest <= 1.5 * limit else limit) // max_bars))
    bins = (words - 1) // width
    return {
        "width": width,
        "counts": np.bincount(bins[bins < max_bars], minlength=min(max_bars, int(bins.max()) + 1)).tolist(),
        "beyond": int((bins >= max_bars).sum()),
    }


def measure_lengths(texts: Sequence[str]) -> Figures:
    """Measure how long texts are, in words; in scripts without spaces two characters count as one word.

    Args:
        texts: Any texts.

    Returns:
        `num_texts`; `share_empty`, the share of texts that are only white space (None without texts); `words`, the
        words of the others, counted by `texts.count_words` and described by `describe_values`.
    """
    filled = [text for text in texts if text.strip()]
    return {
        "num_texts": len(texts),
        "share_empty": (len(texts) - len(filled)) / len(texts) if texts else None,
        "words": describe_values(map(count_words, filled)),
    }
