"""SQLite files: opened in write-ahead mode, with checks of format and content, transactions, and recovery."""

import logging
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import AutoInstructError

SQLITE_FAILURES = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite raises for a file that it cannot use; the latter where its own message quotes damaged bytes."""
_LOG = logging.getLogger(__name__)
_MAX_UNREADABLE = 100_000  # consecutive row numbers: more than the rows below any one damaged page


def open_database(
    path: Path,
    schema: str,
    *,
    version: int | None,
    error: type[AutoInstructError],
    upgrades: Mapping[int, str] | None = None,
    name: str = "database",
    remedy: str = "Move it away to begin a new one",
) -> sqlite3.Connection:
    """Open or create an SQLite file, create its tables by `schema` or upgrade them, and check its format and pages.

    The connection may be used from several threads, under a lock of the caller, and commits each statement unless
    `transaction` is used. `synchronous=FULL`: a committed row survives a power failure. Bytes of a text that are not
    UTF-8 are replaced when read.

    `version` of the format, at least 1, is kept as `user_version`; None: it is not checked, and `schema` always runs
    (`CREATE TABLE IF NOT EXISTS` in a file of another schema). `upgrades` convert older formats, by their numbers, to
    this one. Scripts are SQL statements separated by semicolons. Raise `error`, with `name` for what the file is, if
    the file cannot be opened, is not an SQLite file, has another format, or is damaged; then `remedy` is added.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        logged = _count_logged_pages(path)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        connection.text_factory = _decode
        # Unlike quick_check, it compares the indexes, by which rows are found, with the rows; 1.4 times as slow.
        if (damage := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(damage)
        intact = max(0, connection.execute("PRAGMA wal_checkpoint").fetchone()[1])
        if min(logged, _count_logged_pages(path)) > intact:  # another process may write to it meanwhile
            _LOG.warning("%s-wal is damaged: the last rows of the %s may be lost", path, name)
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
    except (*SQLITE_FAILURES, OSError) as reason:
        raise error(f"cannot open the {name} {path}: {explain_failure(reason, remedy)}") from None
    return connection


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


def _count_logged_pages(path: Path) -> int:
    """Return how many pages the write-ahead log of an SQLite file holds up to its last commit, damaged ones included.

    1 if the header of the log is damaged: then it cannot be told.
    """
    log = Path(f"{path}-wal")
    if not log.exists() or log.stat().st_size <= 32:
        return 0
    count = last_commit = 0
    with log.open("rb") as file:
        header = file.read(32)
        # Each page has a header of 24 bytes; pages of an earlier use of the log have other salts.
        while (page := file.read(24))[8:16] == header[16:24]:
            count += 1
            last_commit = count if any(page[4:8]) else last_commit
            file.seek(int.from_bytes(header[8:12], "big"), os.SEEK_CUR)
    return last_commit if count else 1


def is_damage(reason: Exception) -> bool:
    """Return whether SQLite means a damaged file, not one that it cannot open, lock or write."""
    # SQLITE_ERROR: a format or a table that it does not know, as our statements are right.
    code = getattr(reason, "sqlite_errorcode", None)
    return type(reason) in SQLITE_FAILURES or code == sqlite3.SQLITE_ERROR


def explain_failure(reason: Exception, remedy: str) -> str:
    """Return why a file cannot be used, on one line; with a remedy if it is damaged."""
    text = " ".join(str(reason).split())
    return f"it is damaged ({text}). {remedy}" if is_damage(reason) else text


def row_checksum(values: Sequence[object]) -> int:
    """Return a checksum of the values of a row, as they are read: SQLite itself reads a damaged value as any other."""
    return zlib.crc32(repr(tuple(values)).encode("utf-8", "backslashreplace"))


def is_intact_row(row: Sequence[object]) -> bool:
    """Return whether a row has the checksum in its last column; None there: it was written without one."""
    *values, checksum = row
    return checksum is None or checksum == row_checksum(values)


def recover_database(path: Path, version: int, table: str) -> int:
    """Replace a damaged SQLite file by one with its readable rows; the old one is kept as `NAME.damaged`.

    Left out are rows without their checksum (in tables whose last column is `checksum`), and rows that refer to a lost
    one. Return the number of rows of `table`. Raise sqlite3.DatabaseError if that is not among those that can be read.
    """
    with TemporaryDirectory(dir=path.parent) as folder:
        copy, fresh = Path(folder) / "copy", Path(folder) / "fresh"
        for suffix in ("", "-wal"):
            if (file := Path(f"{path}{suffix}")).exists():
                shutil.copyfile(file, f"{copy}{suffix}")
        _set_page_count(copy)
        count = _copy_rows(copy, fresh, version, table)
        for suffix in ("", "-wal", "-shm"):
            if (file := Path(f"{path}{suffix}")).exists():
                file.replace(f"{path}.damaged{suffix}")
        fresh.replace(path)
    return count


def _set_page_count(path: Path) -> None:
    """Write the actual size of an SQLite file into its header: SQLite reads nothing of a truncated file."""
    with path.open("r+b") as file:
        header = file.read(100)
        page_size = int.from_bytes(header[16:18], "big")  # the file format is documented at sqlite.org/fileformat.html
        page_size = 2**16 if page_size == 1 else page_size
        if len(header) == 100 and page_size:
            file.seek(28)
            file.write((path.stat().st_size // page_size).to_bytes(4, "big"))


def _copy_rows(damaged: Path, fresh: Path, version: int, main: str) -> int:
    """Copy the readable rows of all tables to a new file; return their number in the main table."""
    with closing(sqlite3.connect(damaged)) as source, closing(sqlite3.connect(fresh)) as target:
        source.text_factory = _decode
        source.execute("PRAGMA writable_schema=ON")  # reads on where the definition of a table is damaged
        tables = dict(source.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql NOT NULL"))
        tables.pop("sqlite_sequence", None)  # SQLite makes its own
        for table, statement in tables.items():
            target.execute(statement)
            columns = [column[1] for column in target.execute(f"PRAGMA table_info({table})")]
            insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(columns))})"
            rows = _read_rows(source, table)
            target.executemany(insert, (row for row in rows if columns[-1] != "checksum" or is_intact_row(row)))
        for table, number, *_ in target.execute("PRAGMA foreign_key_check").fetchall():
            target.execute(f"DELETE FROM {table} WHERE rowid = ?", (number,))
        target.execute(f"PRAGMA user_version={version}")
        target.commit()
        return int(target.execute(f"SELECT COUNT(*) FROM {main}").fetchone()[0])


def _read_rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a table, without those on damaged pages; some of them twice."""
    start = failures = 0
    while failures < _MAX_UNREADABLE:
        try:
            for number, *row in connection.execute(
                f"SELECT rowid, * FROM {table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid", (start,)
            ):
                yield tuple(row)
                start, failures = max(start, number), 0
            break
        except SQLITE_FAILURES:
            start, failures = start + 1, failures + 1
    # Backwards as well: a damaged row number may have ended the loop early.
    with suppress(*SQLITE_FAILURES):
        yield from connection.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY rowid DESC")


def _decode(content: bytes) -> str:
    return content.decode("utf-8", "replace")
