"""Allocate the rows of a stratified sample: to strata by weight, evenly to instructions, evenly to their instances.

The published scheme draws a cluster by its share of the instructions, an instruction of it, and an instance of that.
Largest remainders at each step have the same expectation, but give exact totals, and equals differ by at most one.
"""

import numpy as np
import numpy.typing as npt

from ..core import IntArray

_EXPONENTS = {"proportional": 1.0, "sqrt": 0.5, "equal": 0.0}


def apportion(total: int, weights: npt.NDArray[np.float64], generator: np.random.Generator) -> IntArray:
    """Allocate a whole number by weights, the remainders to the largest fractions (Hamilton's method).

    The counts (int64) add up to `total`, or are all 0 if the weights are. Equal fractions are ordered at random.
    """
    if not weights.sum():
        return np.zeros(len(weights), dtype=np.int64)
    exact = total * weights / weights.sum()
    counts: IntArray = np.floor(exact + 1e-9).astype(np.int64)
    ranking = np.lexsort((generator.random(len(weights)), -np.round(exact - counts, 9)))
    counts[ranking[: total - counts.sum()]] += 1
    return counts


def spread(counts: IntArray, group_of: IntArray) -> IntArray:
    """Distribute the count of each group evenly over its members; the first members get the remainder."""
    sizes = np.bincount(group_of, minlength=len(counts))
    by_group = np.argsort(group_of, kind="stable")
    rank = np.empty(len(group_of), dtype=np.int64)
    rank[by_group] = np.arange(len(group_of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each: IntArray = counts[group_of] // sizes[group_of]
    return each + (rank < counts[group_of] % sizes[group_of])


def allocate_by_kind(
    total: int,
    num_clf: int,
    is_clf: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.generic],
    instructions: npt.NDArray[np.generic],
    generator: np.random.Generator,
    *,
    balance: str,
    shuffle: bool,
) -> IntArray:
    """Return the number of samples of each row (int64), with an exact number of classification rows.

    `is_clf`, `clusters` and `instructions` have one value per row. `num_clf` of the `total` samples are classification;
    it is ignored if all rows are of one kind. `balance` is a value of `SamplingSettings.balance`: the weight of a
    cluster by its number of instructions. Remainders go to random instructions and rows with `shuffle`, else to the
    instructions that sort first, and to their first rows.
    """
    if is_clf.all() or not is_clf.any():
        num_clf = total if is_clf.all() else 0
    samples = np.zeros(len(is_clf), dtype=np.int64)
    for kind, count in ((False, total - num_clf), (True, num_clf)):
        rows = np.flatnonzero(is_clf == kind)
        if not len(rows):
            continue
        numbers = [np.unique(column[rows], return_inverse=True)[1].reshape(-1) for column in (clusters, instructions)]
        units, unit_of_row = np.unique(np.column_stack(numbers), axis=0, return_inverse=True)
        counts = apportion(count, np.bincount(units[:, 0]).astype(float) ** _EXPONENTS[balance], generator)
        for group_of in (units[:, 0], unit_of_row.reshape(-1)):
            order = np.argsort(generator.random(len(group_of))) if shuffle else np.arange(len(group_of))
            by_member = np.empty(len(group_of), dtype=np.int64)
            by_member[order] = spread(counts, group_of[order])
            counts = by_member
        samples[rows] = counts
    return samples
