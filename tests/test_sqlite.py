"""SQLite files are opened in the right format, and a failed write leaves them as they were."""

import sqlite3
from pathlib import Path

import pytest

from auto_instruct_hf.core import open_database, transaction
from auto_instruct_hf.errors import TeacherError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "file"


def connect(path: Path, version: int = 2) -> sqlite3.Connection:
    return open_database(path, "CREATE TABLE rows (n INTEGER UNIQUE)", version=version, error=TeacherError)


def test_a_file_of_another_format_is_an_error(path: Path) -> None:
    connect(path, version=3)
    with pytest.raises(TeacherError, match="file has database format 3, this version reads 2: use a newer version or"):
        connect(path)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no database at all" * 99)
    with pytest.raises(TeacherError, match=r"cannot open the database .*: it is damaged \(file is not a database\)"):
        connect(tmp_path / "file")


def test_a_failed_transaction_changes_nothing(path: Path) -> None:
    connection = connect(path)
    with (
        pytest.raises(TeacherError, match=r"cannot write to .*: UNIQUE .* What it holds is safe; free disk space"),
        transaction(connection, path, TeacherError),
    ):
        connection.executemany("INSERT INTO rows VALUES (?)", [(1,), (1,)])
    assert connect(path).execute("SELECT n FROM rows").fetchall() == []


def test_a_locked_file_is_an_error(path: Path) -> None:
    first, second = connect(path), connect(path)
    second.execute("PRAGMA busy_timeout=1")
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(TeacherError, match=r"cannot write to .*: database is locked"):
        transaction(second, path, TeacherError).__enter__()
