"""The tables of the ratings, which item comes next, in SQL, and what a rater is shown."""

from dataclasses import dataclass
from typing import Any

from ..questions import NAMES

FORMAT = 1
TABLES = f"""
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (position INTEGER PRIMARY KEY, instance_id TEXT NOT NULL UNIQUE, instance TEXT NOT NULL);
CREATE TABLE raters (rater INTEGER PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE);
CREATE TABLE ratings (
    number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL REFERENCES items, rater INTEGER NOT NULL
    REFERENCES raters, {", ".join(f"{name} INTEGER CHECK ({name} IN (0, 1))" for name in NAMES)}, note TEXT NOT NULL,
    created REAL NOT NULL, changed REAL NOT NULL, UNIQUE (position, rater));
CREATE TABLE skips (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL REFERENCES items, rater INTEGER
    NOT NULL REFERENCES raters, UNIQUE (position, rater));
CREATE TABLE offers (rater INTEGER PRIMARY KEY REFERENCES raters, position INTEGER NOT NULL REFERENCES items,
    since REAL NOT NULL);
"""
# An item is open to a rater who has not rated it while it lacks ratings; it is free while those who have it before them
# leave one to give. What the rater was shown last comes first, so that a reload changes nothing.
_OPEN = """
NOT EXISTS (SELECT 1 FROM ratings WHERE position = items.position AND rater = :rater)
AND (SELECT COUNT(*) FROM ratings WHERE position = items.position) < :wanted
"""
_FREE = """
(SELECT COUNT(*) FROM ratings WHERE position = items.position)
+ (SELECT COUNT(*) FROM offers WHERE position = items.position AND rater != :rater AND since > :held
   AND NOT EXISTS (SELECT 1 FROM ratings WHERE position = offers.position AND rater = offers.rater)) < :wanted
"""
NEXT = f"""
SELECT position FROM items WHERE {_OPEN} AND {_FREE} ORDER BY
    position IN (SELECT position FROM offers WHERE rater = :rater) DESC,
    (SELECT number FROM skips WHERE position = items.position AND rater = :rater) NULLS FIRST, position LIMIT 1
"""
COUNTS = f"""
SELECT (SELECT COUNT(*) FROM ratings WHERE rater = :rater), COUNT(*), COALESCE(SUM({_OPEN}), 0),
    COALESCE(SUM((SELECT COUNT(*) FROM ratings WHERE position = items.position) >= :wanted), 0) FROM items
"""


@dataclass(frozen=True)
class Item:
    """An instance before a rater: its place in the order, its columns, and what the rater said of it, if anything.

    `answers` holds the questions that apply, None where the rater cannot tell; it is None before a rating.
    """

    position: int
    instance: dict[str, Any]
    answers: dict[str, bool | None] | None = None
    note: str = ""


@dataclass(frozen=True)
class Progress:
    """Items rated by this rater, items in all, items still open to this rater, items with as many ratings as asked."""

    rated: int
    items: int
    open: int
    complete: int
