"""The journal loses no reply, and its sums are right."""

import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auto_instruct_hf.errors import TeacherError
from auto_instruct_hf.teacher.journal import Entry, Journal, Record, Usage
from auto_instruct_hf.teacher.prices import Prices, Rates

# As the first version of the package wrote it.
FORMAT_1 = """
CREATE TABLE replies (key TEXT PRIMARY KEY, phase TEXT NOT NULL, model TEXT NOT NULL, request TEXT NOT NULL,
    text TEXT NOT NULL, error TEXT NOT NULL, input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, seconds REAL NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
INSERT INTO replies VALUES
    ('b', 'second', 'm', '{}', 'B', '', 7, 2, 3, 0.5, 20.0),
    ('a', 'first', 'm', '{"x": 1}', 'A', '', 5, 0, 1, 1.5, 10.0),
    ('c', 'second', 'm', '{}', '', 'not JSON', 1, 0, 1, 1.0, 30.0);
PRAGMA user_version=1;
"""


def record(key: str, text: str = "{}", phase: str = "p", model: str = "m", **entry: Any) -> Record:
    return Record(key, Entry(text, **entry), phase, model, {"asked": key})


def test_first_reply_to_a_key_stands(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.record([record("k", "first"), record("k", "second"), record("l")])[1].text == "first"
        assert journal.record([record("k", "third")])[0].text == "first"
        assert journal.get("k") == Entry("first")
        assert journal.get("other") is None
        assert journal.usage() == [Usage("p", "m", requests=3)]  # the third was paid as well
        journal.record([Record("l", Entry("{}"), "p", "m", {}, is_batch=True)])
        assert len(journal.usage()) == 1  # a batch that is collected again was not


def test_all_of_an_entry_comes_back(tmp_path: Path) -> None:
    entry = Entry('{"a": "\u0000 ü 𝄞"}', "not JSON", 5, 4, 3, 0.25, raw="```")
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record([Record("k", entry, "p", "m", {"messages": ["ü"]}, is_batch=True)])
        assert journal.get("k") == entry
        assert journal.usage() == [Usage("p", "m", True, 1, 1, 5, 4, 3, 0.25)]


def test_sums_are_those_of_the_replies(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        for start in (0, 2500, 4000):  # more than one statement takes, and overlapping
            records = [
                record(str(n), phase=f"p{n % 2}", input_tokens=n, error="" if n % 3 else "cut off")
                for n in range(start, start + 4500)
            ]
            journal.record(records)
        asked = [n for start in (0, 2500, 4000) for n in range(start, start + 4500)]
        keys = {f"p{odd}": [n for n in asked if n % 2 == odd] for odd in (0, 1)}
        assert {one.phase: (one.requests, one.failed, one.input_tokens) for one in journal.usage()} == {
            phase: (len(ns), sum(n % 3 == 0 for n in ns), sum(ns)) for phase, ns in keys.items()
        }


def test_two_journals_on_one_file_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as one, Journal(path) as other:

        def fill(journal: Journal, start: int) -> None:
            for n in range(start, start + 200):
                journal.record([record(str(n), f"{start}", input_tokens=1)])

        threads = [threading.Thread(target=fill, args=pair) for pair in ((one, 0), (other, 100))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.usage() == other.usage() == [Usage("p", "m", requests=400, input_tokens=400)]
        assert all(one.get(str(n)) == other.get(str(n)) is not None for n in range(300))


def test_a_journal_of_format_1_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FORMAT_1)
    for _ in range(2):  # and opened again
        with Journal(path) as journal:
            assert journal.get("a") == Entry("A", "", 5, 0, 1, 1.5)
            assert journal.usage() == [
                Usage("first", "m", False, 1, 0, 5, 0, 1, 1.5),
                Usage("second", "m", False, 2, 1, 8, 2, 4, 1.5),
            ]
            assert journal.query("SELECT request FROM replies WHERE key = ?", "a") == [('{"x": 1}',)]
            assert journal.query("PRAGMA user_version") == [(3,)]


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 50, None])
def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "journal.sqlite"
    if content is None:
        with closing(sqlite3.connect(path)) as later:
            later.execute("PRAGMA user_version=99")
    else:
        path.write_bytes(content)
    with pytest.raises(TeacherError, match=re.escape(str(path))):
        Journal(path)


def test_a_full_disk_stops_clearly(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal._writer.execute("PRAGMA max_page_count=12")

        def fill() -> None:
            for number in range(0, 100, 2):
                journal.record([record(str(number), "x" * 4000), record(str(number + 1), "x" * 4000)])

        with pytest.raises(TeacherError, match="free disk space"):
            fill()
        kept = [journal.get(str(number)) is not None for number in range(100)]
        assert 0 < sum(kept) < 100
        assert kept[::2] == kept[1::2]  # all of a commit, or nothing
        assert journal.usage()[0].requests == sum(kept)
        assert journal.query("PRAGMA integrity_check") == [("ok",)]


def test_prices_are_list_prices(tmp_path: Path) -> None:
    prices = Prices()
    with Journal(tmp_path / "journal.sqlite") as journal:
        tokens = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
        for model in ("gpt-4o", "nobody-knows", "SmolLM2-135M-Instruct"):
            journal.record([record(model, model=model, **tokens)])
        journal.record([Record("b", Entry("", **tokens), "p", "gpt-4o", {}, is_batch=True)])
        costs = {(usage.model, usage.is_batch): prices.price(usage) for usage in journal.usage()}
    assert costs["gpt-4o", False].dollars == pytest.approx(12.5)  # $2.50 in, $10 out a million
    assert costs["gpt-4o", True].dollars == pytest.approx(6.25)
    assert str(costs["nobody-knows", False]) == "price unknown"
    assert costs["SmolLM2-135M-Instruct", False].dollars == 0
    assert (costs["gpt-4o", False] + costs["nobody-knows", False]).dollars is None


def test_the_cost_of_a_request_does_not_depend_on_their_number() -> None:
    for model in ("gpt-4o", "gemini-2.5-pro", "gpt-4.1"):
        price = Prices().price
        small, large = (
            price(Usage("p", model, input_tokens=10_000 * n, cached_tokens=1_000 * n, output_tokens=1_000 * n)).dollars
            for n in (1, 1000)
        )
        assert small is not None
        assert small > 0
        assert large == pytest.approx(1000 * small)


def test_given_prices_take_precedence() -> None:
    prices = Prices({"gpt-4o": Rates(1e-6, 1e-7, 2e-6)})
    usage = Usage("p", "gpt-4o", input_tokens=1_000_000, cached_tokens=500_000, output_tokens=1_000_000)
    assert prices.price(usage).dollars == pytest.approx(0.5 + 0.05 + 2)
