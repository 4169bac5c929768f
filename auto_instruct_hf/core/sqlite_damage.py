"""Damaged SQLite files: what SQLite does not notice itself, how it is told, and what can be recovered."""

import shutil
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

SQLITE_FAILURES = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite raises for a file that it cannot use; the latter where its own message quotes damaged bytes."""
_MAX_UNREADABLE = 100_000  # consecutive row numbers: more than the rows below any one damaged page
_LOG_HEADER, _ID = 32, slice(68, 72)  # bytes


class _LoggedPage(NamedTuple):
    """A page of a write-ahead log: its place there and in the file, whether it ends a commit, and its first bytes."""

    place: int
    number: int
    is_commit: bool
    start: bytes


def count_logged_pages(path: Path) -> int:
    """Return how many pages the write-ahead log of an SQLite file holds up to its last commit, damaged ones included.

    1 if the header of the log is damaged: then it cannot be told.
    """
    log = Path(f"{path}-wal")
    if not log.exists() or log.stat().st_size <= _LOG_HEADER:
        return 0
    pages = list(_read_log(log))
    return max((page.place for page in pages if page.is_commit), default=int(not pages))


def has_foreign_log(path: Path) -> bool:
    """Return whether the write-ahead log beside an SQLite file is that of another one, by their application ids.

    Raise sqlite3.DatabaseError if the file is not one of SQLite.
    """
    log = Path(f"{path}-wal")
    if not log.exists() or not path.exists():
        return False
    # By SQLite, without its log: whoever else opens and closes the file removes the locks of this process on it
    # (sqlite.org/howtocorrupt.html, section 2.2).
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as file:
        own = file.execute("PRAGMA application_id").fetchone()[0].to_bytes(4, "big", signed=True)
    ids = {own, *(page.start[_ID] for page in _read_log(log) if page.number == 1)}
    return len(ids - {b"", bytes(4)}) > 1


def _read_log(log: Path) -> Iterator[_LoggedPage]:
    """Yield the pages of a write-ahead log since its last restart (those before have other salts), zeroed ones too."""
    with log.open("rb") as file:  # the format is documented at sqlite.org/fileformat2.html
        header = file.read(_LOG_HEADER)
        page_size = int.from_bytes(header[8:12], "big")
        for place in count(1):
            page, content = file.read(24), file.read(page_size)
            if not content:
                return
            if page[8:16] == header[16:24] or not any(page):
                is_commit = any(page[4:8]) or not any(page)
                yield _LoggedPage(place, int.from_bytes(page[:4], "big"), is_commit, content[:100])


def is_damage(reason: Exception) -> bool:
    """Return whether SQLite means a damaged file, not one that it cannot open, lock or write."""
    # SQLITE_ERROR: a format or a table that it does not know, as our statements are right.
    code = getattr(reason, "sqlite_errorcode", None)
    return type(reason) in SQLITE_FAILURES or code == sqlite3.SQLITE_ERROR


def explain_failure(reason: Exception, remedy: str) -> str:
    """Return why a file cannot be used, on one line; with a remedy if it is damaged."""
    text = " ".join(str(reason).split())
    return f"it is damaged ({text}){remedy and f'. {remedy}'}" if is_damage(reason) else text


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
        source.text_factory = decode
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


def decode(content: bytes) -> str:
    """Return the text of bytes in a database, with a replacement for what is not UTF-8."""
    return content.decode("utf-8", "replace")
