"""Shares of yes with their intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .questions import NAMES

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """How many of those asked said yes.

    `low` and `high` bound the share with 95 % confidence (Wilson 1927, "Probable inference, the law of succession, and
    statistical inference"); nobody asked: 0 and 1.
    """

    yes: int
    asked: int
    low: float
    high: float

    @property
    def share(self) -> float | None:
        """The share of yes, in [0, 1]; None where nobody was asked."""
        return self.yes / self.asked if self.asked else None


def measure_share(answers: Iterable[bool | None]) -> Share:
    """Count answers, leaving out those that are None."""
    from scipy.stats import binomtest

    given = [answer for answer in answers if answer is not None]
    yes, asked = sum(given), len(given)
    if not asked:
        return Share(0, 0, 0.0, 1.0)
    interval = binomtest(yes, asked).proportion_ci(CONFIDENCE, method="wilson")
    return Share(yes, asked, float(interval.low), float(interval.high))


def describe_share(share: Share) -> dict[str, float | None]:
    """Return a share as plain figures, ready for JSON: its fields and `share`."""
    return {**asdict(share), "share": share.share}


def measure_questions(answers: Iterable[Mapping[str, bool | None]]) -> dict[str, Share]:
    """Return the share of each question.

    Args:
        answers: A mapping an instance: question -> answer, None where it was not asked.

    Returns:
        Question -> its share, in the order of QUESTIONS.
    """
    rows = list(answers)
    return {name: measure_share(row[name] for row in rows) for name in NAMES}


def measure_paired_difference(pairs: Iterable[tuple[bool | None, bool | None]]) -> dict[str, Any]:
    """Measure the difference of two shares of yes among the same cases.

    Args:
        pairs: The two answers in each case; a case with a None is left out.

    Returns:
        `pairs` (how many counted), `value`: the first share less the second, `low` and `high` with 95 % confidence
        (Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on paired
        data", Statistics in Medicine 17, 2635-2650, method 10). Without pairs the last three are None.
    """
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    size = len(known)
    if not size:
        return {"pairs": 0, "value": None, "low": None, "high": None}
    first, second = (measure_share(pair[side] for pair in known) for side in (0, 1))
    own, other = first.yes / size, second.yes / size
    correlation = _correlate(known, first.yes, second.yes)

    def reach(one: float, two: float) -> float:
        return math.sqrt(max(one**2 - 2 * correlation * one * two + two**2, 0.0))

    low = own - other - reach(own - first.low, second.high - other)
    high = own - other + reach(first.high - own, other - second.low)
    return {"pairs": size, "value": own - other, "low": low, "high": high}


def _correlate(pairs: Sequence[tuple[bool, bool]], first: int, second: int) -> float:
    """Return Newcombe's phi, with his correction for continuity where it is positive."""
    size, both = len(pairs), sum(one and other for one, other in pairs)
    spread = first * (size - first) * second * (size - second)
    if not spread:
        return 0.0
    excess = both * (size - first - second + both) - (first - both) * (second - both)
    return (max(excess - size / 2, 0.0) if excess > 0 else excess) / math.sqrt(spread)
