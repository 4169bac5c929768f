"""The journal: an SQLite file with each reply of the teacher, written before it is used, and the cost of all requests.

Several processes may use one journal: each sees the replies of the others, and the first reply to a key stands. A
request that two of them have in flight at the same time is paid and counted twice.
"""

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import open_database, transaction
from ..errors import TeacherError

JOURNAL_FORMAT = 2
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
-- Updated in the transaction that inserts the replies, and unchanged when replies are pruned: they were paid.
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
# Format 1 had no sums, no batch mode and no repaired replies.
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
_FIND = f"SELECT key, {_ENTRY} FROM replies WHERE key IN (SELECT value FROM json_each(?))"
_SUMS = ("requests", "failed", "input_tokens", "cached_tokens", "output_tokens", "seconds")
_ADD_SUMS = "INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET " + ", ".join(
    f"{name} = {name} + excluded.{name}" for name in _SUMS
)
# SQLite allows 32,766 variables per statement.
_CHUNK = 2000


@dataclass(frozen=True)
class Entry:
    """The reply to a request: its JSON, and why it is not usable ("" if it is).

    `raw` is the original reply if `text` was repaired. Tokens are counts; `seconds` is the time to the reply.
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
    """An entry with its request, as `Journal.record` writes it. `request` is the body; it holds no secret."""

    key: str
    entry: Entry
    phase: str
    model: str
    request: Mapping[str, object]
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
        path: The file; created if missing, upgraded if it has an earlier format.

    Raises:
        TeacherError: If it cannot be opened, is not a journal, or has a later format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing, self._reading = threading.Lock(), threading.Lock()
        # Two connections: a reader does not wait for a commit.
        self._writer, self._reader = self._open(), self._open()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file for good."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def get(self, key: str) -> Entry | None:
        """Return the recorded reply, or None."""
        row = self.query(f"SELECT {_ENTRY} FROM replies WHERE key = ?", key)
        return Entry(*row[0]) if row else None

    def usage(self) -> list[Usage]:
        """Return the sums by phase, model and mode, ordered by their first requests."""
        rows = self.query("SELECT * FROM sums ORDER BY rowid")
        return [Usage(phase, model, bool(is_batch), *sums) for phase, model, is_batch, *sums in rows]

    def query(self, statement: str, *values: object) -> list[Any]:
        """Return the rows of a SELECT over the tables `replies` and `sums`."""
        with self._reading:
            return self._reader.execute(statement, values).fetchall()

    def record(self, records: Sequence[Record]) -> list[Entry]:
        """Commit replies, all or none; return for each the entry that stands for its key: the first one.

        Raise TeacherError if they cannot be written (full or read-only disk).
        """
        new: dict[str, Record] = {}
        for record in records:
            new.setdefault(record.key, record)
        with self._writing, transaction(self._writer, self.path, TeacherError):
            found = self._writer.execute(_FIND, (json.dumps(list(new)),))
            known = {key: Entry(*entry) for key, *entry in found}
            fresh = [record for key, record in new.items() if key not in known]
            for start in range(0, len(fresh), _CHUNK):
                chosen = fresh[start : start + _CHUNK]
                row = f"({', '.join('?' * _COLUMNS)})"
                values = [value for record in chosen for value in _values(record)]
                # One statement for all: each one waits for the interpreter lock.
                self._writer.execute(f"INSERT INTO replies VALUES {', '.join([row] * len(chosen))}", values)
            # Another process recorded these first, but they are paid too. A batch may be collected twice (after a kill)
            # and is paid once.
            late = [record for record in new.values() if record.key in known and not record.is_batch]
            for sums in _add_up(fresh + late):
                self._writer.execute(_ADD_SUMS, sums)
        return [known.get(record.key) or new[record.key].entry for record in records]

    def prune_failed(self) -> int:
        """Delete unusable replies without a usable later attempt; return how many."""
        messages = "json_extract(request, '$.messages')"
        failed = f"SELECT {messages} FROM replies WHERE error != ''"
        cured = f"SELECT {messages} FROM replies WHERE error = '' AND {messages} IN ({failed})"
        return self.prune(f"error != '' AND {messages} NOT IN ({cured})")

    def prune(self, condition: str, *values: object) -> int:
        """Delete the replies that meet an SQL condition, so that they are requested again; return how many.

        Their cost stays in the sums.
        """
        with self._writing, transaction(self._writer, self.path, TeacherError):
            count = self._writer.execute(f"DELETE FROM replies WHERE {condition}", values).rowcount
        with self._writing:
            self._writer.execute("VACUUM")
        return int(count)

    def _open(self) -> sqlite3.Connection:
        return open_database(
            self.path, _TABLES, format=JOURNAL_FORMAT, error=TeacherError, upgrades={1: _FROM_1}, name="journal"
        )


def _values(record: Record) -> tuple[object, ...]:
    entry = record.entry
    return (
        record.key, record.phase, record.model, record.is_batch, json.dumps(record.request, ensure_ascii=False),
        entry.text, entry.raw, entry.error, entry.input_tokens, entry.cached_tokens, entry.output_tokens, entry.seconds,
        time.time(),
    )  # fmt: skip


def _add_up(records: Iterable[Record]) -> list[tuple[object, ...]]:
    totals: dict[tuple[str, str, bool], Counter[str]] = {}
    for record in records:
        total = totals.setdefault((record.phase, record.model, record.is_batch), Counter())
        total["requests"] += 1
        total["failed"] += bool(record.entry.error)
        for name in _SUMS[2:]:
            total[name] += getattr(record.entry, name)
    return [(*group, *(total[name] for name in _SUMS)) for group, total in totals.items()]
