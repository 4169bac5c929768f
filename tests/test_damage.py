"""A damaged file costs at most what was in it: the rows are right, or one line says what is lost and how to go on."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from datasets import Features, Value
from rating_data import make_rating_build, make_rating_rows
from stub_instances import run_command
from stub_teacher import StubTeacher, contents, make_requests, open_teacher, serve_stub

from auto_instruct_hf.core import apply, from_rows
from auto_instruct_hf.errors import AutoInstructError, RatingError, SourceError, TeacherError
from auto_instruct_hf.evaluation import read_built
from auto_instruct_hf.evaluation.rating import collect_ratings, open_store
from auto_instruct_hf.evaluation.rating.app import RatingAppError, RatingStore
from auto_instruct_hf.teacher.batch.batches import BatchLog
from auto_instruct_hf.teacher.journal import Entry, Journal, Record, Usage

NUMBERS = Features({"n": Value("int64")})
COUNT = 40
FORMAT_1_OF_RATINGS = """
ALTER TABLE items DROP COLUMN checksum;
ALTER TABLE raters DROP COLUMN checksum;
ALTER TABLE ratings DROP COLUMN checksum;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True)
class Kind:
    """A kind of file: its folder as it should be, its name there, and what the product reads from it."""

    folder: Path
    name: str
    read: Callable[[Path], Any]


def double_batch(batch: Any) -> dict[str, list[int]]:
    return {"n": [2 * number for number in batch["n"]]}


def read_cache(folder: Path) -> list[int]:
    rows = from_rows([{"n": number} for number in range(5000)], NUMBERS)
    return apply(rows, double_batch, phase="double", features=NUMBERS, cache_dir=folder)["n"][:]


def read_ratings(folder: Path) -> list[dict[str, Any]]:
    with open_store(folder / "ratings.sqlite") as store:
        return collect_ratings(store).to_list()


def rate(store: RatingStore, name: str, *positions: int) -> None:
    rater = store.enter(name)
    for position in positions:
        answers = dict.fromkeys(store.item(rater, position).answers, position % 3 == 0)
        store.save(rater, position, answers, f"a note on item {position}")


@pytest.fixture(scope="module")
def teacher_stub() -> Iterator[StubTeacher]:
    with serve_stub() as stub:
        yield stub


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory, teacher_stub: StubTeacher) -> dict[str, Kind]:
    def read_journal(folder: Path) -> list[Any]:
        with open_teacher(teacher_stub, folder) as teacher:
            return contents(teacher.ask(make_requests(COUNT)))

    folder = tmp_path_factory.mktemp("whole")
    for name in ("journal", "log", "cache"):
        (folder / name).mkdir()
    read_journal(folder / "journal")
    with open_teacher(teacher_stub, folder) as teacher:
        teacher.ask(make_requests(COUNT))
        for name in ("journal.sqlite", "journal.sqlite-wal"):  # as a kill leaves them
            shutil.copy(folder / name, folder / "log")
    read_cache(folder / "cache")
    make_rating_build(folder / "build", 9)
    with open_store(folder / "build" / "ratings.sqlite") as store:
        store.add_items(make_rating_rows(20), 42)
        for name in ("Ann", "Bob"):
            rate(store, name, *range(1, 21))
    return {
        "journal": Kind(folder / "journal", "journal.sqlite", read_journal),
        "log": Kind(folder / "log", "journal.sqlite-wal", read_journal),
        "cache": Kind(folder / "cache", next((folder / "cache").glob("*.arrow")).name, read_cache),
        "report": Kind(folder / "build", "dataset/report.json", lambda out: read_built(out).report),
        "ratings": Kind(folder / "build", "ratings.sqlite", read_ratings),
    }


DAMAGES = {
    "truncated": lambda content, at: content[:at],
    "zeroed": lambda content, at: content[:at] + bytes(len(content) - at),
    "garbled": lambda content, at: content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :],
}


@pytest.mark.parametrize("where", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["journal", "log", "cache", "report", "ratings"])
def test_a_damaged_file_gives_the_same_rows_or_one_line(
    kinds: dict[str, Kind], kind: str, damage: str, where: float, tmp_path: Path
) -> None:
    one, folder = kinds[kind], tmp_path / "copy"
    shutil.copytree(one.folder, folder)
    expected = one.read(folder)
    shutil.rmtree(folder)
    shutil.copytree(one.folder, folder)
    content = (folder / one.name).read_bytes()
    (folder / one.name).write_bytes(DAMAGES[damage](content, int(where * len(content))))
    try:
        assert one.read(folder) == expected
    except AutoInstructError as error:
        message = str(error)
        assert "\n" not in message
        assert Path(one.name).name in message  # what is lost
        assert any(remedy in message for remedy in ("--recover", "Run the build again"))
        assert kind in ("journal", "report", "ratings")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A closed journal of 30 replies, on several pages."""
    body = {"messages": [{"role": "user", "content": "x" * 300}]}
    with Journal(tmp_path / "journal.sqlite") as one:
        for number in range(30):
            entry = Entry(f'{{"output": "n{number}"}}', "", 10, 0, 5, 0.5)
            one.record([Record(f"{number:02}", entry, "output", "gpt-4o", {**body, "seed": number})])
    return one


def damage_rows(path: Path, change: str) -> None:
    """Change rows as a disk might: without the product."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()


@pytest.mark.parametrize(
    "change",
    [
        'text = \'{"output": "n8"}\'',  # still valid under the schema
        "text = CAST(x'ff' AS TEXT)",
        "text = x'00'",
        "input_tokens = 'many'",
        "error = 'cut off'",
        "request = 'no JSON'",
    ],
)
def test_a_damaged_reply_is_not_used_and_is_replaced(
    journal: Journal, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage_rows(journal.path, f"UPDATE replies SET {change} WHERE key = '07'")
    again = Entry('{"output": "n7"}', "", 10, 0, 5, 0.5)
    with Journal(journal.path) as opened:
        assert [opened.get(f"{number:02}") is None for number in range(30)] == [number == 7 for number in range(30)]
        assert "holds replies that are damaged on the disk: they are requested again" in caplog.text
        assert opened.record([Record("07", again, "output", "gpt-4o", {})]) == [again]
        assert opened.get("07") == again
        assert opened.usage() == [Usage("output", "gpt-4o", False, 31, 0, 310, 0, 155, 15.5)]  # paid twice


def test_the_journal_command_goes_on_past_damaged_rows(journal: Journal, tmp_path: Path) -> None:
    damage_rows(journal.path, "UPDATE replies SET request = 'no {JSON', error = 'cut off' WHERE key = '07'")
    damage_rows(journal.path, "UPDATE replies SET request = '{\"messages\": 5}', seconds = 'x' WHERE key = '08'")
    for arguments in ((), ("--show", "08"), ("--grep", "n"), ("--prune", "failed")):
        assert run_command("journal", tmp_path, *arguments).exit_code == 0
    shown = run_command("journal", tmp_path, "--show", "08").stdout
    assert '"error": "damaged on the disk"' in shown
    damage_rows(journal.path, "UPDATE replies SET error = x'ff' WHERE key = '09'")
    run_command("journal", tmp_path, "--export-failures", tmp_path / "failed.jsonl")
    (row,) = map(json.loads, (tmp_path / "failed.jsonl").read_text().splitlines())
    assert (row["key"], row["error"]) == ("09", "damaged on the disk")


def test_damaged_sums_are_counted_again(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    damage_rows(journal.path, "UPDATE sums SET input_tokens = 3, requests = -1")
    for _ in range(2):
        with Journal(journal.path) as opened:
            assert opened.usage() == [Usage("output", "gpt-4o", False, 30, 0, 300, 0, 150, 15.0)]
    assert caplog.text.count("the sums of output are damaged on the disk, and counted again") == 1


def test_a_damaged_index_is_noticed_at_the_door(journal: Journal) -> None:
    # The key stands in the row and in the index; the last of both is that of the index.
    content = journal.path.read_bytes()
    at = content.rindex(b"07")
    journal.path.write_bytes(content[:at] + b"67" + content[at + 2 :])
    with pytest.raises(TeacherError, match=r"it is damaged .* --recover` keeps the replies that can be read"):
        Journal(journal.path)


def test_recovery_keeps_the_replies_that_can_be_read(journal: Journal, tmp_path: Path) -> None:
    content = journal.path.read_bytes()
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    with_replies = [number for number, page in enumerate(pages) if b'"output": "n1' in page]
    lost = with_replies[0]
    journal.path.write_bytes(b"".join(b"\xee" * 4096 if number == lost else page for number, page in enumerate(pages)))
    assert "it is damaged" in run_command("journal", tmp_path).stderr
    done = run_command("journal", tmp_path, "--recover")
    kept = int(done.stdout.split()[0])
    assert 10 < kept < 30
    with Journal(journal.path) as opened:
        found = [opened.get(f"{number:02}") for number in range(30)]
        assert [entry.text for entry in found if entry] == [
            f'{{"output": "n{number}"}}' for number, entry in enumerate(found) if entry
        ]
        assert sum(entry is not None for entry in found) == kept
        assert opened.usage()[0].requests == 30
    assert (tmp_path / "journal.sqlite.damaged").exists()


@pytest.mark.parametrize("size", [5000, 50])
def test_a_journal_of_which_nothing_can_be_read_stays_where_it_is(journal: Journal, tmp_path: Path, size: int) -> None:
    journal.path.write_bytes(b"\xee" * size)
    failed = run_command("journal", tmp_path, "--recover")
    assert failed.exit_code == 1
    assert failed.stderr.startswith("error: nothing can be read of")
    assert journal.path.read_bytes() == b"\xee" * size


def test_damage_while_the_journal_is_open_is_one_line(journal: Journal) -> None:
    with Journal(journal.path) as opened:
        journal.path.write_bytes(b"\xee" * journal.path.stat().st_size)
        opened._reader.execute("PRAGMA shrink_memory")
        opened._writer.execute("PRAGMA shrink_memory")
        with pytest.raises(TeacherError, match=r"cannot read .*journal\.sqlite: it is damaged .*--recover"):
            opened.get("07")
        with pytest.raises(TeacherError, match=r"cannot write to .*journal\.sqlite: it is damaged .*--recover"):
            opened.record([Record("new", Entry("{}"), "output", "gpt-4o", {})])


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_the_log_of_another_journal_overwrites_nothing(journal: Journal, tmp_path: Path, suffix: str) -> None:
    with Journal(tmp_path / "other" / "journal.sqlite") as other:
        other.record([Record(f"{n:02}", Entry(f"{n}"), "output", "gpt-4o", {}) for n in range(30, 60)])
        shutil.copy(f"{other.path}{suffix}", f"{journal.path}{suffix}")
    if suffix == "-wal":
        with pytest.raises(TeacherError, match=r"journal\.sqlite-wal belongs to another file .*: move it away"):
            Journal(journal.path)
        Path(f"{journal.path}-wal").unlink()
    with Journal(journal.path) as opened:
        found = {key: entry.text for n in range(60) if (entry := opened.get(key := f"{n:02}"))}
    assert found == {f"{n:02}": f'{{"output": "n{n}"}}' for n in range(30)}


def test_a_damaged_log_is_told(kinds: dict[str, Kind], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, (at, is_told) in enumerate([(None, False), (5, True), (40, True), (9000, True)]):
        folder = tmp_path / str(number)
        shutil.copytree(kinds["log"].folder, folder)
        log = folder / "journal.sqlite-wal"
        content = log.read_bytes()
        if at is not None:
            log.write_bytes(DAMAGES["garbled"](content, at))
        caplog.clear()
        Journal(folder / "journal.sqlite").close()
        assert ("-wal is damaged: the last rows of the journal may be lost" in caplog.text) == is_told, at


def test_the_record_of_a_batch_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    log = BatchLog(tmp_path / "journal.sqlite")
    log.plan(["a", "b"])
    damage_rows(tmp_path / "journal.sqlite", "UPDATE batches SET keys = 'no JSON'")
    with pytest.raises(TeacherError, match=r"journal\.sqlite is damaged: the requests of an open batch"):
        log.pending()


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("UPDATE ratings SET valid_task = 1 - valid_task WHERE number = 3", 39),
        ("UPDATE raters SET name = 'Bot' WHERE name = 'Bob'", 20),
        ("UPDATE items SET instance = 'no JSON' WHERE position = 2", 38),
    ],
)
def test_a_damaged_rating_is_refused_and_recovery_drops_it(
    kinds: dict[str, Kind], tmp_path: Path, change: str, kept: int
) -> None:
    path = tmp_path / "ratings.sqlite"
    shutil.copy(kinds["ratings"].folder / "ratings.sqlite", path)
    before = read_ratings(tmp_path)
    damage_rows(path, change)
    with pytest.raises(RatingError, match=r"1 rows of the table .* have changed.* `auto-instruct rate OUT --recover`"):
        open_store(path)
    done = run_command("rate", tmp_path, "--recover")
    assert done.stdout.startswith(f"{kept} ratings kept")
    after = read_ratings(tmp_path)
    assert len(after) == kept
    assert all(row in before for row in after)
    assert Path(f"{path}.damaged").exists()


def test_ratings_of_format_1_are_upgraded(kinds: dict[str, Kind], tmp_path: Path) -> None:
    path = tmp_path / "ratings.sqlite"
    shutil.copy(kinds["ratings"].folder / "ratings.sqlite", path)
    before = read_ratings(tmp_path)
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FORMAT_1_OF_RATINGS)
    with open_store(path) as store:
        rate(store, "Cleo", 1)
        assert [row for row in store.ratings() if row["rater"] != "Cleo"] == before
    damage_rows(path, "UPDATE ratings SET note = 'another' WHERE number = 3")
    with pytest.raises(RatingError, match="1 rows of the table ratings have changed"):
        open_store(path)


def test_damage_while_ratings_are_open_is_one_line(kinds: dict[str, Kind], tmp_path: Path) -> None:
    path = tmp_path / "ratings.sqlite"
    shutil.copy(kinds["ratings"].folder / "ratings.sqlite", path)
    with open_store(path) as store:
        path.write_bytes(b"\xee" * path.stat().st_size)
        store._file.execute("PRAGMA shrink_memory")
        with pytest.raises(RatingAppError, match=r"cannot read .*ratings\.sqlite: .* --recover"):
            store.ratings()


@pytest.mark.parametrize(
    "content", ["", "[]", '{"files": []}', '{"files": {"report.json": 5}}', '{"files": {"\\u0000": {}}}']
)
def test_a_damaged_manifest_is_one_line(kinds: dict[str, Kind], tmp_path: Path, content: str) -> None:
    out = tmp_path / "build"
    shutil.copytree(kinds["report"].folder, out)
    (out / "manifest.json").write_text(content)
    with pytest.raises(SourceError, match=r"manifest\.json is missing or damaged\. Run the build again"):
        read_built(out)


def test_rows_of_a_damaged_build_are_not_read(kinds: dict[str, Kind], tmp_path: Path) -> None:
    out = tmp_path / "build"
    shutil.copytree(kinds["report"].folder, out)
    shard = next(out.rglob("*.parquet"))
    shard.write_bytes(DAMAGES["garbled"](shard.read_bytes(), 100))
    for command in ("evaluate", "rate"):
        (out / "ratings.sqlite").unlink(missing_ok=True)
        failed = run_command(command, out)
        assert failed.exit_code == 1
        assert "train-00000-of-00001.parquet has changed. Run the build again" in failed.stderr
