"""SQLite files: opened in write-ahead mode, with a format check and transactions."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import AutoInstructError


def open_database(
    path: Path,
    schema: str,
    *,
    version: int | None,
    error: type[AutoInstructError],
    upgrades: Mapping[int, str] | None = None,
    name: str = "database",
) -> sqlite3.Connection:
    """Open or create an SQLite file, create its tables by `schema` or upgrade them, and check its format.

    The connection may be used from several threads, under a lock of the caller, and commits each statement unless
    `transaction` is used. `synchronous=FULL`: a committed row survives a power failure.

    `version` of the format, at least 1, is kept as `user_version`; None: it is not checked, and `schema` always runs
    (`CREATE TABLE IF NOT EXISTS` in a file of another schema). `upgrades` convert older formats, by their numbers, to
    this one. Scripts are SQL statements separated by semicolons. Raise `error`, with `name` for what the file is, if
    the file cannot be opened, is not an SQLite file, or has another format.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        if (damage := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(damage)
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
        connection.execute("COMMIT")
    except sqlite3.OperationalError as reason:
        raise error(f"cannot open the {name} {path}: {reason}") from None
    except sqlite3.DatabaseError as reason:
        raise error(
            f"cannot open the {name} {path}: it is damaged ({' '.join(str(reason).split())}). Move it away to begin a "
            "new one; `sqlite3 FILE .recover` can save a part of it"
        ) from None
    except OSError as reason:
        raise error(f"cannot open the {name} {path}: {reason}") from None
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path, error: type[AutoInstructError]) -> Iterator[None]:
    """Commit all statements inside, or none if one of them fails; raise `error` if SQLite cannot write.

    The connection is one of `open_database`, and the caller holds its lock; the path is for the message.
    """
    try:
        with connection:  # commits, or rolls back on an error
            connection.execute("BEGIN IMMEDIATE")
            yield
    except sqlite3.DatabaseError as reason:
        raise error(
            f"cannot write to {path}: {reason}. What it holds is safe; free disk space or fix the permissions, "
            "then run the same command again"
        ) from None
