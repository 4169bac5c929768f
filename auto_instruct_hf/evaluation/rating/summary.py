"""Read the ratings of a build, and summarize them: shares of yes, majorities, and agreement between raters."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from datasets import Dataset, Features

from ...core import INSTANCES, TEXT_COLUMNS
from ...errors import RatingError
from ..intervals import measure_share
from ..questions import JUDGEMENTS, NAMES, QUESTIONS, DatasetRow
from .app import RatingStore
from .items import open_store

RATINGS = Features({**JUDGEMENTS, **INSTANCES})
"""The columns of JUDGEMENTS and the rated instance; `reason` is the note of the rater."""
RatingSummary = dict[str, Any]
"""As `summarise_ratings` returns it, ready for JSON."""


def collect_ratings(store: RatingStore, *, named: bool = True) -> Dataset:
    """Return `store.ratings` as a dataset, columns as `RATINGS`; raise RatingError if there are none."""
    rows = store.ratings(named=named)
    if not rows:
        raise RatingError(f"{store.path} holds no rating yet: rate first, without --export")
    return Dataset.from_list(rows, features=RATINGS)


def read_ratings(out: Path) -> Dataset | None:
    """Read the ratings of a build, `ratings.sqlite` or else exported ones in `ratings/*.parquet`.

    Returns columns as `RATINGS`, with numbers in place of names, or None if there are none. Raises RatingError if a
    file cannot be read, or lacks a column.
    """
    store, files = out / "ratings.sqlite", sorted((out / "ratings").glob("*.parquet"))
    if store.is_file():
        with open_store(store) as found:
            return collect_ratings(found, named=False) if found.ratings() else None
    if not files:
        return None
    try:
        read = Dataset(pyarrow.concat_tables(pyarrow.parquet.read_table(file) for file in files))
    except (OSError, ValueError) as error:
        raise RatingError(f"{out / 'ratings'} cannot be read: {error}") from None
    for name in (name for name in NAMES if name not in read.column_names):  # a question of a later version
        read = read.add_column(name, pyarrow.nulls(len(read), pyarrow.bool_()))
    missing = [name for name in (*JUDGEMENTS, *TEXT_COLUMNS) if name not in read.column_names]
    if missing:
        path = out / "ratings"
        raise RatingError(f"{path} has no column {missing[0]!r}: export it again with `auto-instruct rate --export`")
    return _number_raters(read) if len(read) else None


def _number_raters(ratings: Dataset) -> Dataset:
    """Replace names by numbers, unless the export did: names must not leave the file of ratings."""
    names = ratings["rater"][:]
    if all(re.fullmatch(r"rater-\d+", str(name)) for name in names):
        return ratings
    numbers = {name: f"rater-{number}" for number, name in enumerate(dict.fromkeys(names), start=1)}
    rows = [{**row, "rater": numbers[row["rater"]]} for row in ratings.to_list()]
    return Dataset.from_list(rows, features=ratings.features)


def summarise_people(ratings: Dataset, instances: Dataset) -> tuple[RatingSummary, Dataset]:
    """Summarize the ratings of instances whose texts are unchanged.

    Returns `summarise_ratings` with `outdated`, the number of ratings left out, and the ratings that were kept.
    """
    now = set(zip(*(instances[name][:] for name in ("instance_id", *TEXT_COLUMNS)), strict=True))
    rated = zip(*(ratings[name][:] for name in ("instance_id", *TEXT_COLUMNS)), strict=True)
    current = ratings.select([row for row, texts in enumerate(rated) if texts in now])
    return {**summarise_ratings(current), "outdated": len(ratings) - len(current)}, current


def vote(ratings: Dataset) -> list[DatasetRow]:
    """Return a row per instance: `instance_id`, and the majority answer to each question, None at a tie."""
    return [
        {"instance_id": key, **{name: _majority(row[name] for row in rows) for name in NAMES}}
        for key, rows in list_answers(ratings).items()
    ]


def list_answers(ratings: Dataset) -> dict[str, list[DatasetRow]]:
    """Return the ratings of each instance by its id."""
    found: dict[str, list[DatasetRow]] = defaultdict(list)
    for row in ratings.select_columns(list(JUDGEMENTS)):
        found[row["instance_id"]].append(row)
    return found


def rated_only(instances: Dataset, votes: Sequence[DatasetRow], judged: Sequence[str]) -> Dataset:
    """Return the instances that people rated and no judge judged."""
    wanted = {row["instance_id"] for row in votes} - set(judged)
    return instances.select([row for row, key in enumerate(instances["instance_id"][:]) if key in wanted])


def _majority(answers: Iterable[bool | None]) -> bool | None:
    """Return the majority answer, without those who could not tell; None at a tie or without answers."""
    counts = Counter(answer for answer in answers if answer is not None)
    return None if counts[True] == counts[False] else counts[True] > counts[False]


def measure_alpha(units: Iterable[Sequence[bool]]) -> float | None:
    """Return Krippendorff's alpha of yes and no, a nominal measure (Content Analysis, 4th ed., chapter 12).

    Args:
        units: The answers of each instance, by any raters; those with fewer than two are ignored.

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
    """Compute shares of yes and agreement for each question.

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
        - `published`: shares to compare with.
    """
    by_instance = list_answers(ratings).values()
    questions = {}
    for question in QUESTIONS:
        answers = [[row[question.name] for row in rows if row[question.name] is not None] for rows in by_instance]
        questions[question.name] = {
            **_summarise([unit for unit in answers if unit]),
            "published": dict(question.published),
        }
    raters, instances = len(ratings.unique("rater")), len(by_instance)
    return {"ratings": len(ratings), "instances": instances, "raters": raters, "questions": questions}


def _summarise(units: Sequence[Sequence[bool]]) -> RatingSummary:
    votes = [_majority(unit) for unit in units]
    pairs = [one == other for unit in units for one, other in itertools.combinations(unit, 2)]
    return {
        "answers": asdict(measure_share(itertools.chain.from_iterable(units))),
        "majority": {**asdict(measure_share(vote is True for vote in votes)), "ties": votes.count(None)},
        "agreement": {
            "alpha": measure_alpha(units),
            "raw": sum(pairs) / len(pairs) if pairs else None,
            "pairs": len(pairs),
            "instances": sum(len(unit) > 1 for unit in units),
        },
    }
