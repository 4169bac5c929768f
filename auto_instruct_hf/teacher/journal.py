"""The journal: an SQLite file with each reply of the teacher, written before it is used, and the cost of all requests.

Several processes may use one journal: each sees the replies of the others, and the first reply to a key stands. A
request that two of them have in flight at the same time is paid and counted twice.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from ..core import open_database, transaction
from ..errors import TeacherError

_FORMAT = 3
_TABLES = """
CREATE TABLE replies (
    key TEXT NOT NULL UNIQUE, phase TEXT NOT NULL, model TEXT NOT NULL, is_batch INTEGER NOT NULL,
    request TEXT NOT NULL, text TEXT NOT NULL, raw TEXT NOT NULL, error TEXT NOT NULL, input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, seconds REAL NOT NULL, created REAL NOT NULL,
    is_estimated INTEGER NOT NULL DEFAULT 0
);
-- Updated in the transaction that inserts the replies, and unchanged when replies are pruned: they were paid.
CREATE TABLE sums (
    phase TEXT NOT NULL, model TEXT NOT NULL, is_batch INTEGER NOT NULL, requests INTEGER NOT NULL,
    failed INTEGER NOT NULL, input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, seconds REAL NOT NULL, estimated INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (phase, model, is_batch)
);
"""
# Format 1 had no sums, no batch mode and no repaired replies.
_FROM_1 = f"""
ALTER TABLE replies RENAME TO replies_1;{_TABLES}
INSERT INTO replies SELECT key, phase, model, 0, request, text, '', error, input_tokens, cached_tokens, output_tokens,
    seconds, created, 0 FROM replies_1 ORDER BY created;
INSERT INTO sums SELECT phase, model, 0, COUNT(*), SUM(error != ''), SUM(input_tokens), SUM(cached_tokens),
    SUM(output_tokens), SUM(seconds), 0 FROM replies GROUP BY phase, model ORDER BY MIN(created);
DROP TABLE replies_1;
"""
# Format 2 did not say which tokens were estimated.
_FROM_2 = """
ALTER TABLE replies ADD COLUMN is_estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sums ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0
"""
_ENTRY = "text, error, input_tokens, cached_tokens, output_tokens, seconds, raw, is_estimated"
_FIND = f"SELECT key, {_ENTRY} FROM replies WHERE key IN (SELECT value FROM json_each(?))"
_REPLIES = f"replies (key, phase, model, is_batch, request, created, {_ENTRY})"
_SUMS = ("requests", "failed", "input_tokens", "cached_tokens", "output_tokens", "seconds", "estimated")
_ADD = "ON CONFLICT DO UPDATE SET " + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
_CHUNK = 2000  # rows per statement: SQLite allows 32,766 variables
_COLUMNS = "key, phase, model, is_batch, request, text, raw, error, input_tokens, cached_tokens, output_tokens, seconds"
PERCENTILES = (50, 90, 99)
JournalRow = dict[str, Any]
"""A row of the table `replies` by column, its request as parsed JSON."""


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
    not a journal, or has a later format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing, self._reading = threading.Lock(), threading.Lock()
        # Two connections: a reader does not wait for a commit.
        self._writer, self._reader = (
            open_database(
                path, _TABLES, version=_FORMAT, error=TeacherError, upgrades={1: _FROM_1, 2: _FROM_2}, name="journal"
            )
            for _ in range(2)
        )

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
        return _read_entry(*row[0]) if row else None

    def last_answered(self, model: str) -> dict[str, Any] | None:
        """Return the request of the last usable reply of a model, or None."""
        condition = "model = ? AND error = '' ORDER BY rowid DESC LIMIT 1"
        row = self.query(f"SELECT request FROM replies WHERE {condition}", model)
        return dict(json.loads(row[0][0])) if row else None

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
            known = {key: _read_entry(*entry) for key, *entry in found}
            fresh = [record for key, record in new.items() if key not in known]
            self._insert(_REPLIES, [_reply_values(record) for record in fresh])
            # Another process recorded these first, but they are paid too. A batch may be collected twice (after a kill)
            # and is paid once.
            late = [record for record in new.values() if record.key in known and not record.is_batch]
            self._insert("sums", [_sum_values(record) for record in fresh + late], _ADD)
        return [known.get(record.key) or new[record.key].entry for record in records]

    def charge(self, record: Record) -> None:
        """Add the cost of a reply that is not kept to the sums."""
        with self._writing, transaction(self._writer, self.path, TeacherError):
            self._insert("sums", [_sum_values(record)], _ADD)

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

    def _insert(self, table: str, rows: Sequence[tuple[object, ...]], on_conflict: str = "") -> None:
        """Insert rows in few statements: each one waits for the interpreter lock."""
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            places = ", ".join([f"({', '.join('?' * len(chosen[0]))})"] * len(chosen))
            values = [value for row in chosen for value in row]
            self._writer.execute(f"INSERT INTO {table} VALUES {places} {on_conflict}", values)


def _read_entry(*values: Any) -> Entry:
    return replace(Entry(*values), is_estimated=bool(values[-1]))


def _reply_values(record: Record) -> tuple[object, ...]:
    request = json.dumps(record.request, ensure_ascii=False)
    return record.key, record.phase, record.model, record.is_batch, request, time.time(), *astuple(record.entry)


def _sum_values(record: Record) -> tuple[object, ...]:
    _, error, *sums, _, is_estimated = astuple(record.entry)
    return record.phase, record.model, record.is_batch, 1, bool(error), *sums, is_estimated


@dataclass(frozen=True)
class PhaseSummary:
    """A phase: its sums, failures by kind, and latency in seconds at PERCENTILES (empty for batches)."""

    usage: Usage
    failures: dict[str, int]
    latency: tuple[float, ...]


def open_journal(path: Path) -> Journal:
    """Open the journal of a build; `path` is the build folder or the file. Raise TeacherError if it is missing."""
    file = path / "journal.sqlite" if path.is_dir() else path
    if not file.is_file():
        raise TeacherError(f"no journal at {file}: name the folder of a build, or its journal.sqlite")
    return Journal(file)


def summarise_journal(journal: Journal) -> list[PhaseSummary]:
    """Return a summary for each phase, model and mode of a journal, ordered by their first requests."""
    import numpy as np

    summaries = []
    for usage in journal.usage():
        group = (usage.phase, usage.model, usage.is_batch)
        found = journal.query(
            "SELECT error, seconds FROM replies WHERE phase = ? AND model = ? AND is_batch = ?", *group
        )
        kinds = Counter(error.partition(":")[0] for error, _ in found if error)
        waits = [seconds for _, seconds in found if seconds and not usage.is_batch]
        latency = tuple(float(value) for value in np.percentile(waits, PERCENTILES)) if waits else ()
        summaries.append(PhaseSummary(usage, dict(kinds.most_common()), latency))
    return summaries


def find_request(journal: Journal, key: str) -> JournalRow:
    """Return the request whose key starts with `key`; raise TeacherError if there is none, or more than one."""
    matches = list(_rows(journal, "substr(key, 1, ?) = ? LIMIT 2", len(key), key))
    if len(matches) != 1:
        raise TeacherError(f"{'more than one request' if matches else 'no request'} begins with the key {key!r}")
    return matches[0]


def search_journal(journal: Journal, text: str, limit: int) -> list[JournalRow]:
    """Return the first `limit` requests that contain a text, in themselves or their replies, ignoring case."""
    condition = "instr(lower(request), ?) OR instr(lower(text), ?) LIMIT ?"
    return list(_rows(journal, condition, text.lower(), text.lower(), limit))


def failed_requests(journal: Journal) -> Iterator[JournalRow]:
    """Yield the requests whose reply is not usable."""
    return _rows(journal, "error != ''")


def _rows(journal: Journal, condition: str, *values: object) -> Iterator[JournalRow]:
    for row in journal.query(f"SELECT {_COLUMNS} FROM replies WHERE {condition}", *values):
        named = dict(zip(_COLUMNS.split(", "), row, strict=True))
        yield {**named, "is_batch": bool(named["is_batch"]), "request": json.loads(named["request"])}
