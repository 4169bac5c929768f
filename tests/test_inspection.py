"""`auto-instruct journal` shows requests, replies and cost."""

import json
from pathlib import Path

import pytest
from stub_instances import run_command
from typer.testing import Result

from auto_instruct_hf.teacher import summarise_journal
from auto_instruct_hf.teacher.journal import Entry, Journal, Record


@pytest.fixture
def out(tmp_path: Path) -> Path:
    def record(number: int, phase: str, error: str = "", is_batch: bool = False) -> Record:
        entry = Entry(f'{{"output": "n{number}"}}', error, 1000, 200, 100, float(number))
        body = {"messages": [{"role": "user", "content": f"What is [bold]{number}[/bold]?"}], "seed": number}
        return Record(f"{number:064x}", entry, phase, "gpt-4o", body, is_batch)

    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record([record(n, "attribute") for n in range(1, 101)])
        journal.record([record(n, "complete", "cut off" if n % 2 else "no answer: E 500") for n in range(200, 206)])
        journal.record([record(n, "complete", is_batch=True) for n in range(300, 310)])
    return tmp_path


def call(*arguments: str | Path) -> Result:
    return run_command("journal", *arguments)


def test_sums_failures_and_latency(out: Path) -> None:
    with Journal(out / "journal.sqlite") as journal:
        lines = summarise_journal(journal)
    assert [line.usage.requests for line in lines] == [100, 6, 10]
    assert lines[0].latency == pytest.approx((50.5, 90.1, 99.01))
    assert lines[1].failures == {"cut off": 3, "no answer": 3}
    assert lines[2].latency == ()  # how long a batch took says nothing of a request
    shown = call(out).stdout
    for words in ("attribute, gpt-4o", "complete, gpt-4o, batch", "100,000", "$0.33", "90.10", "3 cut off"):
        assert words in shown


def test_one_request_with_its_reply(out: Path) -> None:
    shown = call(out, "--show", f"{300:064x}").stdout
    assert "--- user\nWhat is [bold]300[/bold]?\n--- reply\n" in shown
    assert '{"output": "n300"}' in shown
    assert '"seed": 300' in shown
    assert call(out, "--show", "f").stderr == "error: no request begins with the key 'f'\n"
    assert "more than one request" in call(out, "--show", "0").stderr


def test_requests_by_a_text(out: Path) -> None:
    found = call(out, "--grep", "n20").stdout.splitlines()
    assert len(found) == 8  # one of 20, six of 200 to 205, and how many
    assert found[0].endswith('attribute: {"output": "n20"}')
    shown = call(out, "--grep", "what IS").stdout.splitlines()
    assert len(shown) == 21
    assert shown[-1] == "20 found, the first of them"
    assert call(out, "--grep", "nowhere").stdout == "0 found\n"


def test_failures_go_to_a_file(out: Path, tmp_path: Path) -> None:
    assert "6 failures in" in call(out, "--export-failures", tmp_path / "failures.jsonl").stdout
    rows = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert [row["request"]["seed"] for row in rows] == list(range(200, 206))
    assert {row["error"] for row in rows} == {"cut off", "no answer: E 500"}


def test_pruned_requests_are_sent_again_and_stay_in_the_sums(out: Path) -> None:
    (out / "cache").mkdir()
    for name in ("attribute-0.arrow", "of-somebody-else.txt"):
        (out / "cache" / name).write_text("x")
    assert "6 replies deleted" in call(out, "--prune", "failed").stdout
    assert "100 replies deleted" in call(out, "--prune", "attribute").stdout
    with Journal(out / "journal.sqlite") as journal:
        assert journal.query("SELECT COUNT(*) FROM replies") == [(10,)]
        assert [usage.requests for usage in journal.usage()] == [100, 6, 10]
    assert [path.name for path in (out / "cache").iterdir()] == ["of-somebody-else.txt"]  # else nothing is asked again
    wrong = call(out, "--prune", "nothing")
    assert wrong.exit_code == 2
    assert "attribute, complete" in wrong.stderr


def test_a_missing_journal_is_reported_and_not_created(tmp_path: Path) -> None:
    missing = call(tmp_path)
    assert missing.exit_code == 1
    assert missing.stderr.startswith(f"error: no journal at {tmp_path}")
    assert not list(tmp_path.iterdir())
