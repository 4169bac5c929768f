"""Split a total into whole counts by weight."""

import numpy as np
import numpy.typing as npt

from ..core import IntArray


def apportion(total: int, weights: npt.NDArray[np.float64], generator: np.random.Generator) -> IntArray:
    """Allocate a whole number by weights, the remainders to the largest fractions (Hamilton's method).

    Args:
        total: The number to allocate.
        weights: Not negative; if all are 0, all counts are 0.
        generator: Decides between equal fractions.

    Returns:
        int64, as many as weights, adding up to `total`.
    """
    if not weights.sum():
        return np.zeros(len(weights), dtype=np.int64)
    exact = total * weights / weights.sum()
    counts: IntArray = np.floor(exact + 1e-9).astype(np.int64)
    ranking = np.lexsort((generator.random(len(weights)), -np.round(exact - counts, 9)))
    counts[ranking[: total - counts.sum()]] += 1
    return counts
