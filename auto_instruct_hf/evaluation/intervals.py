"""Shares of yes, their differences, and means of paired differences, with 95 % confidence intervals."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..core import FloatArray

_NUM_DRAWS = 10_000


@dataclass(frozen=True)
class ShareOfYes:
    """The share of yes among answers, and the bounds of its 95 % interval.

    The interval is that of Wilson 1927, "Probable inference, the law of succession, and statistical inference". Without
    answers `share` is None and the bounds are 0 and 1.
    """

    yes: int
    asked: int
    low: float
    high: float
    share: float | None


@dataclass(frozen=True)
class Difference:
    """The difference of two shares over `pairs`, with the bounds of its 95 % interval; None without pairs."""

    pairs: int
    value: float | None
    low: float | None
    high: float | None


def measure_share(answers: Iterable[bool | None]) -> ShareOfYes:
    """Count answers, skipping those that are None."""
    from scipy.stats import binomtest

    given = [answer for answer in answers if answer is not None]
    yes, asked = sum(given), len(given)
    if not asked:
        return ShareOfYes(0, 0, 0.0, 1.0, None)
    interval = binomtest(yes, asked).proportion_ci(0.95, method="wilson")
    return ShareOfYes(yes, asked, float(interval.low), float(interval.high), yes / asked)


def measure_paired_difference(pairs: Iterable[tuple[bool | None, bool | None]]) -> Difference:
    """Measure the first share of yes minus the second over the same cases; pairs with a None are skipped.

    The interval is that of Newcombe 1998, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17, 2635-2650, method 10.
    """
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    size = len(known)
    if not size:
        return Difference(0, None, None, None)
    first, second = (measure_share(pair[side] for pair in known) for side in (0, 1))
    own, other = first.yes / size, second.yes / size
    both = sum(one and other for one, other in known)
    spread = first.yes * (size - first.yes) * second.yes * (size - second.yes)
    excess = size * both - first.yes * second.yes
    # Newcombe's phi, with his continuity correction if it is positive.
    phi = (max(excess - size / 2, 0.0) if excess > 0 else excess) / math.sqrt(spread) if spread else 0.0

    def distance(one: float, two: float) -> float:
        return math.sqrt(max(one**2 - 2 * phi * one * two + two**2, 0.0))

    low = own - other - distance(own - first.low, second.high - other)
    high = own - other + distance(first.high - own, other - second.low)
    return Difference(size, own - other, low, high)


@dataclass(frozen=True)
class MeanDifference:
    """The mean of paired differences over `tasks` and `runs`, with the bounds of its 95 % interval."""

    tasks: int
    runs: int
    value: float
    low: float
    high: float


def bootstrap_mean(differences: FloatArray, weights: FloatArray | None = None, seed: int = 0) -> MeanDifference:
    """Measure the mean of paired differences, shape (runs, tasks), at least one of each.

    Tasks have the given weights, by default the same.

    The interval is the percentile interval of the bootstrap (Efron and Tibshirani 1993, "An introduction to the
    bootstrap", chapter 13) with 10,000 draws. Runs and tasks are resampled independently of each other (the pigeonhole
    bootstrap, Owen 2007), since a task is easy or hard in all runs; one run is not resampled.
    """
    draw = np.random.default_rng(seed)
    num_runs, num_tasks = differences.shape
    of_runs, of_tasks = (
        draw.multinomial(size, np.full(size, 1 / size), size=_NUM_DRAWS) / size for size in (num_runs, num_tasks)
    )
    if weights is not None:
        of_tasks = of_tasks * weights
        of_tasks /= of_tasks.sum(axis=1, keepdims=True)
    means = ((of_runs @ differences) * of_tasks).sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    value = np.average(differences.mean(axis=0), weights=weights)
    return MeanDifference(num_tasks, num_runs, float(value), float(low), float(high))
