"""SQLite files: opened in write-ahead mode, with checks of format and content, and transactions."""

import logging
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import AutoInstructError
from .sqlite_damage import (
    SQLITE_FAILURES,
    count_logged_pages,
    decode,
    explain_failure,
    has_foreign_log,
    is_damage,
)

_LOG = logging.getLogger(__name__)


def open_database(
    path: Path,
    schema: str,
    *,
    version: int | None,
    error: type[AutoInstructError],
    upgrades: Mapping[int, str] | None = None,
    name: str = "database",
    remedy: str = "Move it away to begin a new one",
    is_verified: bool = False,
) -> sqlite3.Connection:
    """Open or create an SQLite file, create its tables by `schema` or upgrade them, and check its format and pages.

    The connection may be used from several threads, under a lock of the caller, and commits each statement unless
    `transaction` is used. `synchronous=FULL`: a committed row survives a power failure. Bytes of a text that are not
    UTF-8 are replaced when read.

    `version` of the format, at least 1, is kept as `user_version`; None: it is not checked, and `schema` always runs
    (`CREATE TABLE IF NOT EXISTS` in a file of another schema). `upgrades` convert older formats, by their numbers, to
    this one. Scripts are SQL statements separated by semicolons. Raise `error`, with `name` for what the file is, if
    the file cannot be opened, is not an SQLite file, has another format, or is damaged; then `remedy` is added. With
    `is_verified` damage is not looked for, which reads the whole file: for another connection to it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_verified and has_foreign_log(path):
            raise error(f"{path}-wal belongs to another file than {path}, and would overwrite it: move it away")
        logged = 0 if is_verified else count_logged_pages(path)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        connection.text_factory = decode
        if not is_verified:
            _verify(connection, path, logged, name)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")  # of two processes that open a new file, one creates the tables
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        scripts = {found: schema} if version is None else {0: schema, version: "", **(upgrades or {})}
        if found not in scripts:
            connection.close()
            raise error(
                f"{path} has {name} format {found}, this version reads {version}: use a newer version or another file"
            )
        for statement in scripts[found].split(";"):
            connection.execute(statement)
        if version is not None:
            connection.execute(f"PRAGMA user_version={version}")
        if connection.execute("PRAGMA application_id").fetchone()[0] == 0:
            connection.execute(f"PRAGMA application_id={secrets.randbits(31)}")  # for has_foreign_log
        connection.execute("COMMIT")
    except (*SQLITE_FAILURES, OSError) as reason:
        raise error(f"cannot open the {name} {path}: {explain_failure(reason, remedy)}") from None
    return connection


def _verify(connection: sqlite3.Connection, path: Path, logged: int, name: str) -> None:
    """Raise sqlite3.DatabaseError if a page is damaged; warn if fewer than the `logged` pages of the log are intact."""
    # Unlike quick_check, it compares the indexes, by which rows are found, with the rows; 1.4 times as slow.
    if (damage := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(damage)
    intact = max(0, connection.execute("PRAGMA wal_checkpoint").fetchone()[1])
    if min(logged, count_logged_pages(path)) > intact:  # another process may write to it meanwhile
        _LOG.warning("%s-wal is damaged: the last rows of the %s may be lost", path, name)


@contextmanager
def transaction(
    connection: sqlite3.Connection, path: Path, error: type[AutoInstructError], remedy: str = ""
) -> Iterator[None]:
    """Commit all statements inside, or none if one of them fails; raise `error` if SQLite cannot write.

    The connection is one of `open_database`, and the caller holds its lock; the path is for the message, and so is
    `remedy`, for a damaged file.
    """
    try:
        with connection:  # commits, or rolls back on an error
            connection.execute("BEGIN IMMEDIATE")
            yield
    except SQLITE_FAILURES as reason:
        why = explain_failure(reason, remedy)
        if not is_damage(reason):
            why += ". What it holds is safe; free disk space or fix the permissions, then run the same command again"
        raise error(f"cannot write to {path}: {why}") from None
