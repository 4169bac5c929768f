"""The table of batches in a journal's file: each step of a batch is on disk before the next one is taken.

`synchronous=FULL`: a batch costs money from the moment it is accepted, so its record outlives a power failure too.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import TeacherError

# Until the API has a status of its own for it.
PLANNED = "planned"
UPLOADED = "uploaded"
_TABLE = """
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY,
    keys TEXT NOT NULL,
    file TEXT NOT NULL,
    batch TEXT NOT NULL,
    status TEXT NOT NULL,
    collected INTEGER NOT NULL,
    created REAL NOT NULL
)
"""
_OPEN = "SELECT name, keys, file, batch, status FROM batches WHERE NOT collected ORDER BY rowid"


@dataclass(frozen=True)
class Row:
    """One batch: a random name, the keys of its requests, the API's ids ("" until known), and how far it is."""

    name: str
    keys: tuple[str, ...]
    file: str = ""
    batch: str = ""
    status: str = PLANNED


class BatchLog:
    """Batches that are under way. Every method is committed when it returns.

    Args:
        path: The SQLite file; the table `batches` in it is made where there is none.

    Raises:
        TeacherError: If the file cannot be opened, here, or not be written, in the methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        except (sqlite3.DatabaseError, OSError) as error:
            raise TeacherError(f"cannot open the journal {path}: {error}") from None
        self._run("PRAGMA journal_mode=WAL")
        self._run("PRAGMA synchronous=FULL")
        self._run(_TABLE)

    def plan(self, keys: Sequence[str]) -> Row:
        """Record a batch that is about to be uploaded, under a name that no other has."""
        row = Row(secrets.token_hex(16), tuple(keys))
        values = (row.name, json.dumps(keys), row.file, row.batch, row.status, time.time())
        self._run("INSERT INTO batches VALUES (?, ?, ?, ?, ?, 0, ?)", values)
        return row

    def update(self, row: Row, *, status: str, file: str = "", batch: str = "") -> Row:
        """Record a step of a batch; ids that are not given stay."""
        row = replace(row, status=status, file=file or row.file, batch=batch or row.batch)
        values = (row.status, row.file, row.batch, row.name)
        self._run("UPDATE batches SET status = ?, file = ?, batch = ? WHERE name = ?", values)
        return row

    def finish(self, row: Row, status: str) -> None:
        """Record that nothing more is to come of a batch."""
        self._run("UPDATE batches SET status = ?, collected = 1 WHERE name = ?", (status, row.name))

    def drop(self, row: Row) -> None:
        """Forget a batch that was never submitted."""
        self._run("DELETE FROM batches WHERE name = ?", (row.name,))

    def pending(self) -> list[Row]:
        """Return the batches of which something may still come, oldest first."""
        rows = self._run(_OPEN)
        return [Row(name, tuple(json.loads(keys)), file, batch, status) for name, keys, file, batch, status in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise TeacherError(
                f"cannot use the table of batches in {self._path}: {error}. What it holds is safe; "
                "make room or mend its folder, then run the same command again"
            ) from None
