"""Where people's ratings are kept: one SQLite file with the items, fixed when they are picked, and every answer."""

import json
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import RatingError
from ..questions import NAMES, QUESTIONS, applies
from .tables import COUNTS, FORMAT, NEXT, TABLES, Item, Progress

MOST_LETTERS = 60
# How long an item that stands before a rater counts as one that will be rated. Not measured: longer than anybody reads
# one, short enough that one who has left does not keep the others from the end.
HELD_SECONDS = 1800
_ANSWERS = ", ".join(NAMES)


class RatingStore:
    """The ratings of a build. What a method wrote is on the disk when it returns; safe for threads and processes.

    Args:
        path: The file; made if there is none.

    Raises:
        RatingError: If it cannot be opened, is no file of ratings, or has a later format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=FULL")
            with self._transaction():  # of two processes that open a new file at once, one makes it
                version = self._file.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in TABLES.split(";"):
                        self._file.execute(statement)
                    self._file.execute(f"PRAGMA user_version={FORMAT}")
        except (sqlite3.DatabaseError, OSError) as error:
            raise RatingError(f"cannot open the ratings {path}: {error}") from None
        if version not in (0, FORMAT):
            raise RatingError(f"{path} has format {version}, this version reads {FORMAT}: use the later version")

    def __enter__(self) -> "RatingStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def items(self) -> list[dict[str, Any]]:
        """Return the instances that were picked, in the order of rating."""
        return [json.loads(row[0]) for row in self._read("SELECT instance FROM items ORDER BY position")]

    def seed(self) -> int | None:
        """Return the seed of the picks; None before the first."""
        rows = self._read("SELECT value FROM settings WHERE name = 'seed'")
        return int(rows[0][0]) if rows else None

    def add_items(self, instances: Sequence[Mapping[str, Any]], seed: int) -> None:
        """Append items; those that are there stay where they stand. One that is there already is left out.

        Args:
            instances: Rows with the columns of `schema.INSTANCES`, and any more that JSON can hold.
            seed: What they were picked with.
        """
        rows = [(row["instance_id"], json.dumps(row, ensure_ascii=False)) for row in instances]
        with self._transaction():
            self._file.execute("INSERT OR IGNORE INTO settings VALUES ('seed', ?)", (str(seed),))
            self._file.executemany("INSERT OR IGNORE INTO items (instance_id, instance) VALUES (?, ?)", rows)

    def enter(self, name: str) -> int:
        """Return the number of a rater, a new one for a new name. Case and runs of spaces make no other name.

        Args:
            name: As it was typed.

        Returns:
            The number.

        Raises:
            RatingError: If the name is empty or too long.
        """
        name = " ".join(unicodedata.normalize("NFC", name).split())
        if not 0 < len(name) <= MOST_LETTERS:
            raise RatingError(f"a name has 1 to {MOST_LETTERS} letters; this one has {len(name)}")
        with self._transaction():
            self._file.execute("INSERT OR IGNORE INTO raters (name, folded) VALUES (?, ?)", (name, name.casefold()))
            found = self._file.execute("SELECT rater FROM raters WHERE folded = ?", (name.casefold(),))
            return int(found.fetchone()[0])

    def next_item(self, rater: int, wanted: int) -> Item | None:
        """Return the item that a rater is to see, and hold it for them.

        Args:
            rater: As `enter` gave it.
            wanted: How many ratings an item is to have, by as many raters.

        Returns:
            The one they saw last, if it is still open; else the first in order that they have not skipped; else the one
            they skipped first. None where nothing is left for them, or all that is left stands before others.
        """
        now = time.time()
        with self._transaction():
            values = {"rater": rater, "wanted": wanted, "held": now - HELD_SECONDS}
            found = self._file.execute(NEXT, values).fetchone()
            if found is None:
                self._file.execute("DELETE FROM offers WHERE rater = ?", (rater,))
                return None
            self._file.execute(
                "INSERT INTO offers VALUES (?, ?, ?) ON CONFLICT (rater) DO UPDATE SET position = excluded.position, "
                "since = excluded.since",
                (rater, found[0], now),
            )
        return self.item(rater, found[0])

    def previous_item(self, rater: int, position: int | None) -> Item | None:
        """Go back to what a rater rated before.

        Args:
            rater: As `enter` gave it.
            position: Of the item that stands before them; None: of none.

        Returns:
            The item that they rated before it, or last of all where they have not rated it; None where there is none.
        """
        rows = self._read(
            "SELECT position FROM ratings WHERE rater = ? AND number < COALESCE((SELECT number FROM ratings "
            "WHERE rater = ? AND position = ?), 9223372036854775807) ORDER BY number DESC LIMIT 1",
            *(rater, rater, position),
        )
        return self.item(rater, rows[0][0]) if rows else None

    def item(self, rater: int, position: int) -> Item:
        """Return an item with what a rater said of it."""
        rows = self._read(
            f"SELECT instance, note, {_ANSWERS} FROM items LEFT JOIN ratings ON ratings.position = items.position "
            "AND rater = ? WHERE items.position = ?",
            *(rater, position),
        )
        if not rows:
            raise RatingError(f"there is no item {position} in {self.path}")
        instance, note, *said = rows[0]
        row = json.loads(instance)
        answers = {
            question.name: None if answer is None else bool(answer)
            for question, answer in zip(QUESTIONS, said, strict=True)
            if applies(question, row)
        }
        return Item(position, row, None if note is None else answers, note or "")

    def save(self, rater: int, position: int, answers: Mapping[str, bool | None], note: str = "") -> None:
        """Keep a rating, in the place of this rater's earlier one of the same item.

        Args:
            rater: As `enter` gave it.
            position: Of the item.
            answers: An answer to each question that applies to it; None: cannot tell.
            note: A remark, or "".

        Raises:
            RatingError: If an answer is missing or one too many, or the disk refuses.
        """
        item = self.item(rater, position)
        asked = [question.name for question in QUESTIONS if applies(question, item.instance)]
        if sorted(answers) != sorted(asked):
            raise RatingError(f"item {position} is asked about {', '.join(asked)}; got {', '.join(answers)}")
        now = time.time()
        with self._transaction():
            self._file.execute(
                f"INSERT INTO ratings (position, rater, {_ANSWERS}, note, created, changed) "
                f"VALUES (?, ?, {', '.join('?' * len(NAMES))}, ?, ?, ?) ON CONFLICT (position, rater) DO UPDATE SET "
                f"{', '.join(f'{name} = excluded.{name}' for name in (*NAMES, 'note', 'changed'))}",
                (position, rater, *(answers.get(name) for name in NAMES), note.strip(), now, now),
            )
            self._file.execute("DELETE FROM skips WHERE position = ? AND rater = ?", (position, rater))

    def skip(self, rater: int, position: int) -> None:
        """Put an item behind all others of this rater."""
        with self._transaction():
            self._file.execute("REPLACE INTO skips (position, rater) VALUES (?, ?)", (position, rater))
            self._file.execute("DELETE FROM offers WHERE rater = ?", (rater,))

    def progress(self, rater: int, wanted: int) -> Progress:
        """Count items for a rater, where `wanted` ratings are asked of each."""
        with self._lock:
            return Progress(*self._file.execute(COUNTS, {"rater": rater, "wanted": wanted}).fetchone())

    def ratings(self) -> list[dict[str, Any]]:
        """Return all ratings by item and rater: `rater` (number), `name`, the answers, `note`, and the `instance`."""
        rows = self._read(
            f"SELECT rater, name, note, instance, {_ANSWERS} FROM ratings JOIN raters USING (rater) "
            "JOIN items USING (position) ORDER BY position, rater"
        )
        return [
            {
                "rater": rater,
                "name": name,
                **dict(zip(NAMES, (None if answer is None else bool(answer) for answer in said), strict=True)),
                "note": note,
                "instance": json.loads(instance),
            }
            for rater, name, note, instance, *said in rows
        ]

    def copy_to(self, path: Path, *, named: bool) -> None:
        """Write a copy of the file as it stands, over an earlier one; not `named`: with numbers in place of names."""
        path.unlink(missing_ok=True)
        copy = sqlite3.connect(path)
        with self._lock:
            self._file.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        if not named:
            copy.execute("UPDATE raters SET name = 'rater-' || rater, folded = 'rater-' || rater")
            copy.commit()
            copy.execute("VACUUM")  # what was overwritten would still stand in the file
        copy.close()

    def _read(self, statement: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._file.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                yield
                self._file.execute("COMMIT")
            except BaseException as error:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError):
                    raise RatingError(
                        f"cannot write to {self.path}: {error}. What it holds is safe; make room or mend its folder"
                    ) from None
                raise
