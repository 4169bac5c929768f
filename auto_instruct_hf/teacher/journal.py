"""The journal: every reply of a teacher, on disk before it is used. It is the cache of requests and the ledger of cost.

SQLite in write-ahead mode with `synchronous=FULL`: what was recorded survives the death of the process at any point,
and a power failure as well, as far as the disk keeps what it says it has written. That costs a wait for the disk per
commit; so replies that come in while one commit waits are committed together by the next.

Several processes may use one journal at once: each sees what the others recorded, the first reply to a key stands. What
two of them have in flight at the same moment is paid twice, and counted so: two that ask the same things in step gain
nothing from each other.
"""

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import TeacherError

FORMAT = 2
_TABLES = """
CREATE TABLE replies (
    key TEXT NOT NULL UNIQUE,
    phase TEXT NOT NULL,
    model TEXT NOT NULL,
    is_batch INTEGER NOT NULL,
    request TEXT NOT NULL,
    text TEXT NOT NULL,
    raw TEXT NOT NULL,
    error TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    created REAL NOT NULL
);
-- Kept with the replies in one transaction, and left alone when replies are pruned: what was paid stays paid.
CREATE TABLE sums (
    phase TEXT NOT NULL,
    model TEXT NOT NULL,
    is_batch INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (phase, model, is_batch)
);
"""
# Format 1 had neither sums, nor batch mode, nor replies that were mended.
_FROM_1 = (
    "ALTER TABLE replies RENAME TO replies_1;"
    + _TABLES
    + """
INSERT INTO replies SELECT key, phase, model, 0, request, text, '', error, input_tokens, cached_tokens, output_tokens,
    seconds, created FROM replies_1 ORDER BY created;
INSERT INTO sums SELECT phase, model, 0, COUNT(*), SUM(error != ''), SUM(input_tokens), SUM(cached_tokens),
    SUM(output_tokens), SUM(seconds) FROM replies GROUP BY phase, model ORDER BY MIN(created);
DROP TABLE replies_1;
"""
)
_COLUMNS = 13
_ENTRY = "text, error, input_tokens, cached_tokens, output_tokens, seconds, raw"
_ADD_SUMS = """
INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
    failed = failed + excluded.failed, input_tokens = input_tokens + excluded.input_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens, output_tokens = output_tokens + excluded.output_tokens,
    seconds = seconds + excluded.seconds
"""
# SQLite takes 32,766 variables a statement.
_MOST_AT_ONCE = 2000


@dataclass(frozen=True)
class Entry:
    """One answered request: the JSON of the reply, and why it is not usable ("" where it is).

    `raw` is the reply as it came, where `text` was mended. Tokens are counts; `seconds` is how long the answer took.
    """

    text: str
    error: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    raw: str = ""


@dataclass(frozen=True)
class Record:
    """An entry with its request: what `Journal.record` writes. `request` is the body asked for; it holds no secret."""

    key: str
    entry: Entry
    phase: str
    model: str
    request: dict[str, Any]
    is_batch: bool = False


@dataclass(frozen=True)
class Usage:
    """Sums over the journal for one phase, model and mode. `cached_tokens` are part of `input_tokens`."""

    phase: str
    model: str
    is_batch: bool = False
    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


class Journal:
    """Replies by the key of their request. Safe to use from several threads.

    Args:
        path: The file; made if there is none, brought to the present format if it has an earlier one.

    Raises:
        TeacherError: If it cannot be opened, is no journal, or has a later format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing, self._reading = threading.Lock(), threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=FULL")
            self._bring_up_to_date()
            # A connection of its own: a reader does not wait for a commit.
            self._reader = self._connect()
        except (sqlite3.DatabaseError, OSError) as error:
            raise TeacherError(f"cannot open the journal {path}: {error}") from None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. The journal cannot be used afterwards."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def get(self, key: str) -> Entry | None:
        """Return the recorded reply, or None."""
        row = self.query(f"SELECT {_ENTRY} FROM replies WHERE key = ?", key)
        return Entry(*row[0]) if row else None

    def usage(self) -> list[Usage]:
        """Return the sums by phase, model and mode, in the order of their first requests."""
        rows = self.query("SELECT * FROM sums ORDER BY rowid")
        return [Usage(row[0], row[1], bool(row[2]), *row[3:]) for row in rows]

    def query(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a SELECT over the tables `replies` and `sums`."""
        with self._reading:
            return self._reader.execute(statement, values).fetchall()

    def record(self, records: Sequence[Record]) -> list[Entry]:
        """Write replies; all of them are committed, or none, when this returns. The first reply to a key stands.

        Args:
            records: The replies.

        Returns:
            For each the reply that stands.

        Raises:
            TeacherError: If the disk refuses them (full, read-only).
        """
        new: dict[str, Record] = {}
        for record in records:
            new.setdefault(record.key, record)
        with self._transaction():
            known: dict[str, Entry] = {}
            for slice_ in _slices(list(new)):
                marks = ", ".join("?" * len(slice_))
                found = self._writer.execute(
                    f"SELECT key, {_ENTRY} FROM replies WHERE key IN ({marks})",
                    slice_,
                )
                known.update((row[0], Entry(*row[1:])) for row in found)
            fresh = [record for key, record in new.items() if key not in known]
            for chosen in _slices(fresh):
                # One statement for all: after each the interpreter's lock would have to be waited for.
                row = f"({', '.join('?' * _COLUMNS)})"
                self._writer.execute(
                    f"INSERT INTO replies VALUES {', '.join([row] * len(chosen))}",
                    [value for record in chosen for value in _values(record)],
                )
            # Another process was quicker with the others: paid all the same. A batch, though, is collected again after
            # a kill, and paid once.
            late = [record for record in new.values() if record.key in known and not record.is_batch]
            for sums in _add_up(fresh + late):
                self._writer.execute(_ADD_SUMS, sums)
        return [known.get(record.key) or new[record.key].entry for record in records]

    def prune_failed(self) -> int:
        """Delete replies of no use that no later attempt made up for. Return how many."""
        messages = "json_extract(request, '$.messages')"
        failed = f"SELECT {messages} FROM replies WHERE error != ''"
        cured = f"SELECT {messages} FROM replies WHERE error = '' AND {messages} IN ({failed})"
        return self.prune(f"error != '' AND {messages} NOT IN ({cured})")

    def prune(self, condition: str, *values: Any) -> int:
        """Delete replies, so that they are asked for again. What they cost stays in the sums.

        Args:
            condition: What follows WHERE in SQL, over the columns of `replies`.
            *values: For its question marks.

        Returns:
            How many were deleted.
        """
        with self._transaction():
            count = self._writer.execute(f"DELETE FROM replies WHERE {condition}", values).rowcount
        with self._writing:
            self._writer.execute("VACUUM")
        return int(count)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)

    def _bring_up_to_date(self) -> None:
        with self._transaction():  # of two processes that open a new journal at once, one makes it
            version = self._writer.execute("PRAGMA user_version").fetchone()[0]
            if version > FORMAT or version < 0:
                raise TeacherError(
                    f"{self.path} has journal format {version}, this version reads {FORMAT}: use another --out"
                )
            for statement in {0: _TABLES, 1: _FROM_1}.get(version, "").split(";"):
                self._writer.execute(statement)
            self._writer.execute(f"PRAGMA user_version={FORMAT}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError):
                    raise TeacherError(
                        f"cannot write to the journal {self.path}: {error}. What it holds is safe; "
                        "make room or mend its folder, then run the same command again"
                    ) from None
                raise


def _slices(items: list[Any]) -> Iterable[list[Any]]:
    return (items[start : start + _MOST_AT_ONCE] for start in range(0, len(items), _MOST_AT_ONCE))


def _values(record: Record) -> tuple[Any, ...]:
    entry = record.entry
    return (
        record.key, record.phase, record.model, record.is_batch, json.dumps(record.request, ensure_ascii=False),
        entry.text, entry.raw, entry.error, entry.input_tokens, entry.cached_tokens, entry.output_tokens, entry.seconds,
        time.time(),
    )  # fmt: skip


def _add_up(records: Iterable[Record]) -> list[tuple[Any, ...]]:
    names = [field.name for field in fields(Usage)][3:]
    totals: dict[tuple[str, str, bool], Counter[str]] = {}
    for record in records:
        total = totals.setdefault((record.phase, record.model, record.is_batch), Counter())
        total["requests"] += 1
        total["failed"] += bool(record.entry.error)
        for name in names[2:]:
            total[name] += getattr(record.entry, name)
    return [(*group, *(total[name] for name in names)) for group, total in totals.items()]
