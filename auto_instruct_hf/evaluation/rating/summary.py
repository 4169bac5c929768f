"""Summarize ratings: shares of yes, majorities, and agreement between raters."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from datasets import Dataset

from ...errors import RatingError
from ..intervals import ShareOfYes, measure_share
from ..questions import NAMES, QUESTIONS
from .app import rating_features

RATINGS = rating_features(NAMES)
"""The columns of JUDGEMENTS and the rated instance; `reason` is the note of the rater."""

RatingSummary = dict[str, Any]
"""As `summarise_ratings` returns it, ready for JSON."""


def majority(answers: Iterable[bool | None]) -> bool | None:
    """Return the majority answer, without those who could not tell; None at a tie or without answers."""
    counts = Counter(answer for answer in answers if answer is not None)
    return None if counts[True] == counts[False] else counts[True] > counts[False]


def measure_alpha(units: Iterable[Sequence[bool]]) -> float | None:
    """Return Krippendorff's alpha of yes and no, a nominal measure (Content Analysis, 4th ed., chapter 12).

    Args:
        units: The answers of each instance, by any raters; those with fewer than two play no part.

    Returns:
        1 for full agreement, 0 for what chance gives, below 0 for less. None where it is not defined: no instance has
        two answers, or all answers are the same.

    Raises:
        RatingError: If the package krippendorff is not installed.
    """
    try:
        import krippendorff
    except ImportError:
        raise RatingError("agreement needs the package krippendorff: pip install 'auto-instruct-hf[rating]'") from None
    counts = [[sum(unit), len(unit) - sum(unit)] for unit in units if len(unit) > 1]
    if not all(map(sum, zip(*counts, strict=True))) or not counts:
        return None
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def summarise_ratings(ratings: Dataset) -> RatingSummary:
    """Say what the ratings come to, question by question.

    Args:
        ratings: Columns as `questions.JUDGEMENTS`, each instance by each rater at most once.

    Returns:
        What JSON can hold: `ratings`, `instances` and `raters` (counts), and `questions`, by name:

        - `answers`: the share of yes in all answers (`share`, `yes`, `asked`, `low`, `high` as `ShareOfYes`). Answers
          of several raters about one instance are not independent: its interval is too narrow then.
        - `majority`: the share of instances to which more than half of the answers are yes, one vote an instance, so
          that its interval holds. A tie is no majority for yes: it counts as no, and in `ties`.
        - `agreement`: `alpha` (as `measure_alpha`), `raw` (the share of pairs of answers about the same instance that
          are the same), `pairs`, and `instances` that have one. None where there is no pair.
        - `published`: shares to set beside.
    """
    units: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in NAMES}
    for row in ratings.select_columns(["instance_id", *NAMES]):
        for name in NAMES:
            if row[name] is not None:
                units[name][row["instance_id"]].append(row[name])
    return {
        "ratings": len(ratings),
        "instances": len(ratings.unique("instance_id")),
        "raters": len(ratings.unique("rater")),
        "questions": {
            question.name: {**_summarise(list(units[question.name].values())), "published": dict(question.published)}
            for question in QUESTIONS
        },
    }


def _summarise(units: Sequence[Sequence[bool]]) -> RatingSummary:
    votes = [majority(unit) for unit in units]
    pairs = [one == other for unit in units for one, other in itertools.combinations(unit, 2)]
    return {
        "answers": _to_json(measure_share(itertools.chain.from_iterable(units))),
        "majority": {**_to_json(measure_share(vote is True for vote in votes)), "ties": votes.count(None)},
        "agreement": {
            "alpha": measure_alpha(units),
            "raw": sum(pairs) / len(pairs) if pairs else None,
            "pairs": len(pairs),
            "instances": sum(len(unit) > 1 for unit in units),
        },
    }


def _to_json(share: ShareOfYes) -> RatingSummary:
    return asdict(share)
