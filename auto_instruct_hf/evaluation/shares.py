"""Shares of yes with their intervals."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

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
