"""The journal: an SQLite file with each reply of the teacher, written before it is used, and the cost of all requests.

Several processes may use one journal: each sees the replies of the others, and the first reply to a key stands. A
request that two of them have in flight at the same time is paid and counted twice.
"""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..core import (
    SQLITE_FAILURES,
    explain_failure,
    is_intact_row,
    open_database,
    row_checksum,
    transaction,
)
from ..errors import TeacherError

_LOG = logging.getLogger(__name__)
JOURNAL_FORMAT = 3
_TABLES = """
CREATE TABLE replies (
    key TEXT NOT NULL UNIQUE, phase TEXT NOT NULL, model TEXT NOT NULL, is_batch INTEGER NOT NULL,
    request TEXT NOT NULL, text TEXT NOT NULL, raw TEXT NOT NULL, error TEXT NOT NULL, input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, seconds REAL NOT NULL, created REAL NOT NULL,
    is_estimated INTEGER NOT NULL DEFAULT 0, checksum INTEGER
);
-- Updated in the transaction that inserts the replies, and unchanged when replies are pruned: they were paid.
CREATE TABLE sums (
    phase TEXT NOT NULL, model TEXT NOT NULL, is_batch INTEGER NOT NULL, requests INTEGER NOT NULL,
    failed INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, seconds REAL NOT NULL, estimated INTEGER NOT NULL DEFAULT 0, checksum INTEGER,
    PRIMARY KEY (phase, model, is_batch)
);
"""
# Format 1 had no sums, no batch mode and no repaired replies.
_FROM_1 = f"""
ALTER TABLE replies RENAME TO replies_1;{_TABLES}
INSERT INTO replies SELECT key, phase, model, 0, request, text, '', error, input_tokens, cached_tokens, output_tokens,
    seconds, created, 0, NULL FROM replies_1 ORDER BY created;
INSERT INTO sums SELECT phase, model, 0, COUNT(*), SUM(error != ''), SUM(input_tokens), SUM(cached_tokens),
    SUM(output_tokens), SUM(seconds), 0, NULL FROM replies GROUP BY phase, model ORDER BY MIN(created);
DROP TABLE replies_1;
"""
# Format 2 did not say which tokens were estimated, and had no checksums; rows of then have none.
_FROM_2 = """
ALTER TABLE replies ADD COLUMN is_estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE replies ADD COLUMN checksum INTEGER;
ALTER TABLE sums ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sums ADD COLUMN checksum INTEGER
"""
_REMEDY = (
    "`auto-instruct journal FILE --recover` keeps the replies that can be read, and the next build requests the others "
    "again"
)
COLUMNS = (
    "key", "phase", "model", "is_batch", "request", "text", "raw", "error", "input_tokens", "cached_tokens",
    "output_tokens", "seconds", "created", "is_estimated", "checksum",
)  # fmt: skip
_SUMS = ("requests", "failed", "input_tokens", "cached_tokens", "output_tokens", "seconds", "estimated")
_SET = "ON CONFLICT DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in (*_SUMS, "checksum"))
_FIND = "SELECT * FROM replies WHERE key IN (SELECT value FROM json_each(?))"
_COUNT = """
SELECT COUNT(*), TOTAL(error != ''), TOTAL(input_tokens), TOTAL(cached_tokens), TOTAL(output_tokens),
    TOTAL(is_estimated), TOTAL(seconds)
FROM replies WHERE phase = ? AND model = ? AND is_batch = ?
"""
_CHUNK = 2000  # rows per statement: SQLite allows 32,766 variables
DAMAGED = "damaged on the disk"


@dataclass(frozen=True)
class Entry:
    """The reply to a request, why it is not usable ("" if it is), and the original in `raw` if `text` was repaired.

    `is_estimated`: the endpoint did not report all of its tokens.
    """

    text: str
    error: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    raw: str = ""
    is_estimated: bool = False


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
    """Sums over the journal for one phase, model and mode.

    `cached_tokens` are part of `input_tokens`; `estimated` is the number of requests with estimated tokens.
    """

    phase: str
    model: str
    is_batch: bool = False
    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    estimated: int = 0


class Journal:
    """Replies by the key of their request. Safe to use from several threads.

    The file is created if missing, upgraded if it has an earlier format. Raise TeacherError if it cannot be opened, is
    not a journal, has a later format, or is damaged so that rows cannot be found; each row has a checksum.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._has_damage = False
        self._writing, self._reading = threading.Lock(), threading.Lock()
        # Two connections: a reader does not wait for a commit.
        self._writer, self._reader = (
            open_database(
                path,
                _TABLES,
                version=JOURNAL_FORMAT,
                error=TeacherError,
                upgrades={1: _FROM_1, 2: _FROM_2},
                name="journal",
                remedy=_REMEDY,
                is_verified=is_verified,
            )
            for is_verified in (False, True)
        )
        self._mend_sums()

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
        """Return the recorded reply; None if there is none, or it is damaged."""
        rows = self.query("SELECT * FROM replies WHERE key = ?", key)
        return self._read_entry(rows[0]) if rows else None

    def last_answered(self, model: str) -> dict[str, Any] | None:
        """Return the request of the last usable reply of a model, or None."""
        rows = self.query("SELECT * FROM replies WHERE model = ? AND error = '' ORDER BY rowid DESC LIMIT 1", model)
        return dict(json.loads(rows[0][COLUMNS.index("request")])) if rows and is_intact_row(rows[0]) else None

    def usage(self) -> list[Usage]:
        """Return the sums by phase, model and mode, ordered by their first requests."""
        rows = self.query("SELECT * FROM sums ORDER BY rowid")
        return [Usage(phase, model, bool(is_batch), *sums) for phase, model, is_batch, *sums, _ in rows]

    def query(self, statement: str, *values: object) -> list[Any]:
        """Return the rows of a SELECT over the tables `replies` and `sums`; raise TeacherError if that fails."""
        with self._reading:
            try:
                return self._reader.execute(statement, values).fetchall()
            except SQLITE_FAILURES as reason:
                raise TeacherError(f"cannot read {self.path}: {explain_failure(reason, _REMEDY)}") from None

    def record(self, records: Sequence[Record]) -> list[Entry]:
        """Commit replies, all or none; return for each the entry that stands for its key: the first one.

        Raise TeacherError if they cannot be written (full or read-only disk).
        """
        new: dict[str, Record] = {}
        for record in records:
            new.setdefault(record.key, record)
        with self._transaction():
            found = self._writer.execute(_FIND, (json.dumps(list(new)),)).fetchall()
            known = {row[0]: entry for row in found if (entry := self._read_entry(row))}
            fresh = [record for key, record in new.items() if key not in known]
            self._insert("REPLACE INTO replies", [_reply_values(record) for record in fresh])  # replaces damaged ones
            # Another process recorded these first, but they are paid too. A batch may be collected twice (after a kill)
            # and is paid once.
            late = [record for record in new.values() if record.key in known and not record.is_batch]
            self._add_to_sums(fresh + late)
        return [known.get(record.key) or new[record.key].entry for record in records]

    def charge(self, record: Record) -> None:
        """Add the cost of a reply that is not kept to the sums."""
        with self._transaction():
            self._add_to_sums([record])

    def prune_failed(self) -> int:
        """Delete unusable replies without a usable later attempt; return how many."""
        messages = "iif(json_valid(request), json_extract(request, '$.messages'), key)"  # the key: it is damaged
        failed = f"SELECT {messages} FROM replies WHERE error != ''"
        cured = f"SELECT {messages} FROM replies WHERE error = '' AND {messages} IN ({failed})"
        return self.prune(f"error != '' AND {messages} NOT IN ({cured})")

    def prune(self, condition: str, *values: object) -> int:
        """Delete the replies that meet an SQL condition, so that they are requested again; return how many.

        Their cost stays in the sums.
        """
        with self._transaction():
            count = self._writer.execute(f"DELETE FROM replies WHERE {condition}", values).rowcount
        with self._writing, suppress(sqlite3.OperationalError):  # no space for the smaller copy: the file stays large
            self._writer.execute("VACUUM")
        return int(count)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing, transaction(self._writer, self.path, TeacherError, _REMEDY):
            yield

    def _read_entry(self, row: Sequence[Any]) -> Entry | None:
        """Return the entry of a row of `replies`, None if it is damaged."""
        if is_intact_row(row):
            named = dict(zip(COLUMNS, row, strict=True))
            entry = Entry(**{one.name: named[one.name] for one in fields(Entry)})
            return replace(entry, is_estimated=bool(entry.is_estimated))
        if not self._has_damage:
            _LOG.warning("%s holds replies that are %s: they are requested again", self.path, DAMAGED)
        self._has_damage = True
        return None

    def _insert(self, verb: str, rows: Sequence[tuple[object, ...]], on_conflict: str = "") -> None:
        """Insert rows in few statements: each one waits for the interpreter lock."""
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            places = ", ".join([f"({', '.join('?' * (len(chosen[0]) + 1))})"] * len(chosen))
            values = [value for row in chosen for value in (*row, row_checksum(row))]
            self._writer.execute(f"{verb} VALUES {places} {on_conflict}", values)

    def _add_to_sums(self, records: Sequence[Record]) -> None:
        sums = {row[:3]: list(row[3:-1]) for row in self._writer.execute("SELECT * FROM sums").fetchall()}
        changed: dict[tuple[str, str, int], list[float]] = {}
        for record in records:
            group = (record.phase, record.model, int(record.is_batch))
            before = changed.get(group) or sums.get(group) or [0] * len(_SUMS)
            _, error, *tokens, seconds, _, is_estimated = astuple(record.entry)
            added = (1, int(bool(error)), *tokens, float(seconds), int(is_estimated))
            changed[group] = [a + b for a, b in zip(before, added, strict=True)]
        self._insert("INSERT INTO sums", [(*group, *values) for group, values in changed.items()], _SET)

    def _mend_sums(self) -> None:
        """Compute damaged sums again from the replies."""
        with self._transaction():
            for row in self._writer.execute("SELECT * FROM sums").fetchall():
                if not is_intact_row(row):
                    _LOG.warning(
                        "%s: the sums of %s are %s, and counted again from its replies; what deleted ones cost is lost",
                        self.path, row[0], DAMAGED,
                    )  # fmt: skip
                    *counts, estimated, seconds = self._writer.execute(_COUNT, row[:3]).fetchone()
                    self._insert("INSERT INTO sums", [(*row[:3], *map(int, counts), seconds, int(estimated))], _SET)


def _reply_values(record: Record) -> tuple[object, ...]:
    text, error, *tokens, seconds, raw, is_estimated = astuple(record.entry)
    request = json.dumps(record.request, ensure_ascii=False)
    group = (record.phase, record.model, int(record.is_batch))
    return record.key, *group, request, text, raw, error, *tokens, float(seconds), time.time(), int(is_estimated)
