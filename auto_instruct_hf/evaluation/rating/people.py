"""Read the ratings of a dataset, and keep those of rows that have not changed since."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import Dataset, Features

from ...core import TEXT_COLUMNS
from ...errors import RatingError
from ..questions import JUDGEMENTS, NAMES, DatasetRow
from .app import collect_ratings
from .items import open_store
from .summary import RatingSummary, majority, summarise_ratings

_NUMBERED = re.compile(r"rater-\d+")


def read_ratings(out: Path) -> Dataset | None:
    """Read the ratings of a build: the current ones, else exported ones.

    Args:
        out: Its folder, with `ratings.sqlite` or `ratings/*.parquet`.

    Returns:
        Columns as `RATINGS`, with numbers in place of names; None if there are none.

    Raises:
        RatingError: If a file cannot be read, or lacks a column.
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
    missing = [name for name in (*JUDGEMENTS, *TEXT_COLUMNS) if name not in read.column_names]
    if missing:
        raise RatingError(f"{out / 'ratings'} has no column {missing[0]!r}: export it again with scripts/rate.py")
    return _number_raters(read) if len(read) else None


def _number_raters(ratings: Dataset) -> Dataset:
    """Replace names by numbers, unless the export did: names must not leave the file of ratings."""
    names = ratings["rater"][:]
    if all(_NUMBERED.fullmatch(str(name)) for name in names):
        return ratings
    numbers = {name: f"rater-{number}" for number, name in enumerate(dict.fromkeys(names), start=1)}
    rows = [{**row, "rater": numbers[row["rater"]]} for row in ratings.to_list()]
    return Dataset.from_list(rows, features=ratings.features)


def keep_current(ratings: Dataset, instances: Dataset) -> Dataset:
    """Keep the ratings of instances whose texts are unchanged in a dataset."""
    now = {
        key: texts for key, *texts in zip(*(instances[name][:] for name in ("instance_id", *TEXT_COLUMNS)), strict=True)
    }
    rated = zip(*(ratings[name][:] for name in ("instance_id", *TEXT_COLUMNS)), strict=True)
    return ratings.select([row for row, (key, *texts) in enumerate(rated) if now.get(key) == texts])


def summarise_people(ratings: Dataset, instances: Dataset) -> tuple[RatingSummary, Dataset]:
    """Summarize the ratings of instances whose texts are unchanged.

    Args:
        ratings: As `read_ratings` returns them.
        instances: The dataset, columns as `schema.INSTANCES`.

    Returns:
        As `summarise_ratings`, with `outdated`, the number of ratings left out; and the ratings that were kept.
    """
    current = keep_current(ratings, instances)
    return {**summarise_ratings(current), "outdated": len(ratings) - len(current)}, current


def vote(ratings: Dataset) -> list[DatasetRow]:
    """Return a row per instance: `instance_id`, and the majority answer to each question, None at a tie."""
    said: dict[str, list[DatasetRow]] = defaultdict(list)
    for row in ratings.select_columns(["instance_id", *NAMES]):
        said[row["instance_id"]].append(row)
    return [
        {"instance_id": key, **{name: majority(row[name] for row in rows) for name in NAMES}}
        for key, rows in said.items()
    ]


def list_answers(ratings: Dataset) -> dict[str, list[DatasetRow]]:
    """Return the ratings of each instance by its id."""
    columns = Features(JUDGEMENTS)
    found: dict[str, list[DatasetRow]] = defaultdict(list)
    for row in ratings.select_columns(list(columns)):
        found[row["instance_id"]].append(row)
    return found


def rated_only(instances: Dataset, votes: Sequence[DatasetRow], judged: Sequence[str]) -> Dataset:
    """Return the instances that people rated and no judge judged."""
    wanted = {row["instance_id"] for row in votes} - set(judged)
    return instances.select([row for row, key in enumerate(instances["instance_id"][:]) if key in wanted])
