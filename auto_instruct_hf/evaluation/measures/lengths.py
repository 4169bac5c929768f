"""How values are distributed, as figures ready for JSON, and the lengths of texts."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import count_words


def describe(values: Iterable[float] | npt.NDArray[Any]) -> dict[str, Any]:
    """Describe a distribution.

    Args:
        values: Any finite numbers.

    Returns:
        `count`, `mean`, `min`, `max`, `median`, `quartiles` (three) and `deciles` (nine), the quantiles interpolated
        linearly. Without values `count` is 0 and the others are None.
    """
    # Sorted, so that their order does not decide the last digit of the mean.
    found = np.sort(np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64))
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


def count_lengths(texts: Iterable[str], most: int = 30) -> dict[str, Any]:
    """Count texts by their length in words.

    Args:
        texts: Any texts; those without a word are left out.
        most: Bars at most.

    Returns:
        `width`: of a bar, in words; `counts`: how many texts have 1 to `width` words, then up to twice as many, and so
            on; `beyond`: the longest hundredth, where it would stretch the bars.
    """
    words = np.array([count for count in map(count_words, texts) if count], dtype=np.int64)
    if not len(words):
        return {"width": 1, "counts": [], "beyond": 0}
    limit, longest = float(np.quantile(words, 0.99)), int(words.max())
    width = max(1, -(-int(longest if longest <= 1.5 * limit else limit) // most))
    bins = (words - 1) // width
    return {
        "width": width,
        "counts": np.bincount(bins[bins < most], minlength=min(most, int(bins.max()) + 1)).tolist(),
        "beyond": int((bins >= most).sum()),
    }


def measure_lengths(texts: Sequence[str]) -> dict[str, Any]:
    """Measure how long texts are.

    Args:
        texts: Any texts.

    Returns:
        `num_texts`; `share_empty`, of all texts those without anything but white space (None without texts); `words`,
        the words of the others as `describe` has it, counted by `texts.count_words`.
    """
    filled = [text for text in texts if text.strip()]
    return {
        "num_texts": len(texts),
        "share_empty": (len(texts) - len(filled)) / len(texts) if texts else None,
        "words": describe(map(count_words, filled)),
    }
