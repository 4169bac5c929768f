"""The journal: every reply of a teacher, on disk before it is used. It is the cache of requests and the ledger of cost.

SQLite in write-ahead mode with `synchronous=NORMAL`: a reply that was recorded survives the death of the process at any
point; after a power failure the newest ones may be missing (they are asked again), and the journal is sound.
"""

import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import TeacherError

_FORMAT = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY,
    phase TEXT NOT NULL,
    model TEXT NOT NULL,
    request TEXT NOT NULL,
    text TEXT NOT NULL,
    error TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    created REAL NOT NULL
) WITHOUT ROWID
"""

_SUMS = """
SELECT phase, model, COUNT(*), SUM(error != ''), SUM(input_tokens), SUM(cached_tokens), SUM(output_tokens)
FROM replies GROUP BY phase, model ORDER BY MIN(created)
"""
_INSERT = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Entry:
    """One answered request: the text of the reply as it came, and why it is not usable ("" where it is)."""

    text: str
    error: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Usage:
    """Sums over the journal for one phase and model. Tokens are counts; `cached_tokens` are part of `input_tokens`."""

    phase: str
    model: str
    requests: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def plus(self, entry: Entry) -> "Usage":
        """Return the sums with one more reply."""
        return Usage(
            self.phase,
            self.model,
            self.requests + 1,
            self.failed + bool(entry.error),
            self.input_tokens + entry.input_tokens,
            self.cached_tokens + entry.cached_tokens,
            self.output_tokens + entry.output_tokens,
        )


class Journal:
    """Replies by the key of their request. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _FORMAT):
                raise TeacherError(
                    f"{path} has journal format {version}, this version reads {_FORMAT}: use another --out"
                )
            self._connection.execute(_TABLE)
            self._connection.execute(f"PRAGMA user_version={_FORMAT}")
            self._usage = {(row[0], row[1]): Usage(*row) for row in self._connection.execute(_SUMS)}
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
        with self._lock:
            self._connection.close()

    def get(self, key: str) -> Entry | None:
        """Return the recorded reply, or None."""
        query = "SELECT text, error, input_tokens, cached_tokens, output_tokens, seconds FROM replies WHERE key = ?"
        with self._lock:
            row = self._connection.execute(query, (key,)).fetchone()
        return Entry(*row) if row else None

    def record(self, key: str, entry: Entry, *, phase: str, model: str, request: dict[str, Any]) -> Entry:
        """Write a reply; it is committed when this returns. The first reply to a key stands.

        Args:
            key: Hash of the request.
            entry: The reply.
            phase: Under which its cost is counted.
            model: Whose reply it is.
            request: The body sent, for reading later; it holds no secret.

        Returns:
            The reply that stands.

        Raises:
            TeacherError: If the disk refuses it (full, read-only).
        """
        values = (
            key, phase, model, json.dumps(request, ensure_ascii=False), entry.text, entry.error, entry.input_tokens,
            entry.cached_tokens, entry.output_tokens, entry.seconds, time.time(),
        )  # fmt: skip
        try:
            with self._lock:
                if self._connection.execute(_INSERT, values).rowcount:
                    before = self._usage.get((phase, model), Usage(phase, model))
                    self._usage[phase, model] = before.plus(entry)
                    return entry
        except sqlite3.DatabaseError as error:
            raise TeacherError(
                f"cannot write to the journal {self.path}: {error}. What it holds is safe; "
                "make room or mend its folder, then run the same command again"
            ) from None
        return self.get(key) or entry

    def usage(self) -> list[Usage]:
        """Return the sums by phase and model, in the order of their first requests."""
        with self._lock:
            return list(self._usage.values())
