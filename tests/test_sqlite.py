"""SQLite files are opened in the right format, and a failed write leaves them as they were."""

import sqlite3
import subprocess
import sys
from contextlib import closing
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


_ADD_A_ROW = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("INSERT INTO rows VALUES (?)", (int(sys.argv[2]),))
connection.commit()
connection.close()
"""


def test_a_file_that_one_process_opens_twice_stays_whole_when_another_closes_it(path: Path) -> None:
    """A log that the other one removed, as the last to have the file open, would lose what is written after."""
    first = connect(path)
    for number in range(3):
        second = connect(path)
        second.execute("INSERT INTO rows VALUES (?)", (number,))
        subprocess.run([sys.executable, "-c", _ADD_A_ROW, path, str(10 + number)], check=True)
        assert len(first.execute("SELECT n FROM rows").fetchall()) == 2 * number + 2
    first.execute("INSERT INTO rows VALUES (99)")
    with closing(connect(path)) as last:
        found = [number for (number,) in last.execute("SELECT n FROM rows ORDER BY n")]
    assert found == [0, 1, 2, 10, 11, 12, 99]
