"""The table of batches in a journal's file: each step of a batch is on disk before the next one is taken."""

import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core import open_database, transaction
from ...errors import TeacherError

# States before the API knows the batch.
PLANNED = "planned"
UPLOADED = "uploaded"
_TABLE = """
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, keys TEXT NOT NULL, file TEXT NOT NULL, batch TEXT NOT NULL, status TEXT NOT NULL,
    collected INTEGER NOT NULL, created REAL NOT NULL
)
"""
_UPDATE = "UPDATE batches SET status = ?, file = ?, batch = ?, collected = ? WHERE name = ?"
_OPEN = "SELECT name, keys, file, batch, status FROM batches WHERE NOT collected ORDER BY rowid"


@dataclass(frozen=True)
class BatchRow:
    """A batch: a random name, the keys of its requests, the API's ids ("" until known), and its status."""

    name: str
    keys: tuple[str, ...]
    file: str = ""
    batch: str = ""
    status: str = PLANNED


class BatchLog:
    """The batches recorded in an SQLite file. Each method commits, or raises TeacherError if it cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = open_database(path, _TABLE, format=None, error=TeacherError, name="journal")

    def plan(self, keys: Sequence[str]) -> BatchRow:
        """Record a batch under a new unique name, before its upload."""
        row = BatchRow(secrets.token_hex(16), tuple(keys))
        values = (row.name, json.dumps(keys), row.status, time.time())
        self._run("INSERT INTO batches VALUES (?, ?, '', '', ?, 0, ?)", *values)
        return row

    def update(
        self, row: BatchRow, *, status: str, file: str = "", batch: str = "", is_collected: bool = False
    ) -> BatchRow:
        """Record the status of a batch, the ids that are given, and whether all its answers have been collected."""
        row = replace(row, status=status, file=file or row.file, batch=batch or row.batch)
        self._run(_UPDATE, row.status, row.file, row.batch, is_collected, row.name)
        return row

    def drop(self, row: BatchRow) -> None:
        """Delete the record of a batch that was never submitted."""
        self._run("DELETE FROM batches WHERE name = ?", row.name)

    def pending(self) -> list[BatchRow]:
        """Return the batches that are not collected yet, oldest first."""
        return [BatchRow(name, tuple(json.loads(keys)), *rest) for name, keys, *rest in self._run(_OPEN)]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _run(self, statement: str, *values: object) -> list[Any]:
        with self._lock, transaction(self._connection, self._path, TeacherError):
            return self._connection.execute(statement, values).fetchall()
