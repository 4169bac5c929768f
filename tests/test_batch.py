"""A batch is paid for once it is accepted: whatever happens, nothing is submitted twice and no answer is lost."""

import asyncio
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stub_batch import StubBatches, serve_batches
from stub_teacher import KEY

from auto_instruct_hf.errors import BudgetError, TeacherError
from auto_instruct_hf.prompts.prompt import load_prompts
from auto_instruct_hf.recipe import TeacherSettings
from auto_instruct_hf.teacher import Request, Teacher
from auto_instruct_hf.teacher.batch.api import Answer
from auto_instruct_hf.teacher.batch.batches import Batches

PROMPT = load_prompts()["output"]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "output", "strict": True, "schema": PROMPT.schema}}


def make_requests(start: int, stop: int, model: str = "stub", filler: int = 0) -> dict[str, dict[str, Any]]:
    requests = {}
    for number in range(start, stop):
        messages = [{"role": "user", "content": f"Say the number {number}." + "x" * filler}]
        body = {"model": model, "messages": messages, "response_format": SCHEMA}
        requests[hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()] = body
    return requests


@pytest.fixture
def api() -> Iterator[StubBatches]:
    with serve_batches() as stub:
        yield stub


def connect(api: StubBatches, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=api.teacher.url, **{"api_key": KEY, "max_retries": 0, **options})


def ask(
    api: StubBatches,
    folder: Path,
    requests: dict[str, dict[str, Any]],
    take: int | None = None,
    notes: list[str] | None = None,
    client: dict[str, Any] | None = None,
    **options: Any,
) -> list[Answer]:
    """Return the answers; after `take` of them the consumer leaves."""

    async def run() -> list[Answer]:
        answers: list[Answer] = []
        note = (lambda _: None) if notes is None else notes.append
        async with (
            connect(api, **(client or {})) as connected,
            aclosing(batches.answer(connected, requests, note)) as coming,
        ):
            async for answer in coming:
                answers.append(answer)
                if len(answers) == take:
                    break
        return answers

    with closing(Batches(folder / "journal.sqlite", **{"poll": 0.002, **options})) as batches:
        return asyncio.run(run())


def keys(answers: list[Answer]) -> list[str]:
    return sorted(answer.key for answer in answers)


def rows(folder: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        return journal.execute("SELECT status, collected FROM batches ORDER BY rowid").fetchall()


def test_a_batch_answers_what_the_chat_endpoint_answers(api: StubBatches, tmp_path: Path) -> None:
    assert ask(api, tmp_path, {}) == []
    assert not api.calls  # no request, no call
    requests = make_requests(0, 20)

    async def chat() -> dict[str, Any]:
        async with connect(api) as client:
            return {key: (await client.chat.completions.create(**body)).choices for key, body in requests.items()}

    notes: list[str] = []
    answers = ask(api, tmp_path, requests, notes=notes)
    assert keys(answers) == sorted(requests)
    single = asyncio.run(chat())
    for answer in answers:
        assert answer.body is not None
        assert answer.error == ""
        assert answer.body["choices"][0]["message"]["content"] == single[answer.key][0].message.content
    assert notes[-1] == "1 of 1 batches, 20 of 20 answered"
    assert rows(tmp_path) == [("completed", 1)]
    assert api.batches["batch_0"]["input_file_id"] not in api.files
    assert {path.name for path in tmp_path.iterdir()} <= {"journal.sqlite", "journal.sqlite.batches.lock"}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    max_requests=st.integers(1, 8),
    max_bytes=st.integers(1, 4000),
)
def test_files_hold_each_request_once_within_the_limits_and_one_model(
    api: StubBatches, counts: list[int], max_requests: int, max_bytes: int
) -> None:
    uploads: list[bytes] = []
    api.polls = 0
    api.watch = lambda call: uploads.append(list(api.files.values())[-1]) if call == "POST files" else None
    # Models take turns, so that a file of one model is not simply a slice.
    requests = dict(
        sorted((item for model, count in enumerate(counts) for item in make_requests(0, count, f"m{model}").items()))
    )
    with tempfile.TemporaryDirectory() as folder:
        answers = ask(api, Path(folder), requests, max_requests=max_requests, max_bytes=max_bytes)
    assert keys(answers) == sorted(requests)
    assert all(answer.body for answer in answers)
    lines = [[json.loads(line) for line in content.splitlines()] for content in uploads]
    assert sorted(line["custom_id"] for file in lines for line in file) == sorted(requests)
    for content, file in zip(uploads, lines, strict=True):
        assert len({line["body"]["model"] for line in file}) == 1
        assert len(file) <= max_requests
        assert len(content) <= max_bytes or len(file) == 1
        assert all(line["body"] == requests[line["custom_id"]] for line in file)


def test_a_batch_is_collected_only_when_all_answers_were_consumed(api: StubBatches, tmp_path: Path) -> None:
    requests = make_requests(0, 10)
    assert len(ask(api, tmp_path, requests, take=10)) == 10  # the consumer never came back after the last
    assert rows(tmp_path) == [("completed", 0)]
    assert keys(ask(api, tmp_path, requests)) == sorted(requests)
    assert rows(tmp_path) == [("completed", 1)]
    assert api.lines() == [10]


def test_open_batches_are_resumed_with_all_their_answers(api: StubBatches, tmp_path: Path) -> None:
    first, second, other = make_requests(0, 20), make_requests(10, 30), make_requests(50, 60)
    ask(api, tmp_path, first, take=1)
    ask(api, tmp_path, other, take=1)
    assert keys(ask(api, tmp_path, second)) == sorted({**first, **second})
    assert api.lines() == [20, 10, 10]
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())
    assert not any(KEY.encode() in content for content in api.files.values())
    assert set(api.answered.values()) == {1}
    assert [collected for _, collected in rows(tmp_path)] == [1, 0, 1]  # what nobody asked for waits


def test_a_submission_without_a_response_is_found_by_its_name(tmp_path: Path) -> None:
    with serve_batches(unheard=2, page=2) as api:
        # The client would retry on its own and so submit twice.
        answers = ask(api, tmp_path, make_requests(0, 9), max_requests=3, client={"max_retries": 5})
        assert len(answers) == 9
        assert api.lines() == [3, 3, 3]


@pytest.mark.parametrize("fault", ["failing", "garbage"])
def test_a_submission_is_found_after_the_run_was_killed(tmp_path: Path, fault: str) -> None:
    with serve_batches(unheard=1, page=2) as api:
        # From the submission on, the endpoint stays away: as a kill just then, for what is known afterwards.
        api.watch = lambda call: setattr(api, fault, 99 if call == "POST batches" else getattr(api, fault))
        with pytest.raises(TeacherError, match=r"10 times in a row: .*\. .* run the same command again"):
            ask(api, tmp_path, make_requests(0, 9))
        assert rows(tmp_path) == [("uploaded", 0)]
        api.failing, api.garbage, api.watch = 0, 0, lambda call: None
        for number in range(5):  # others' batches, newer: the list has several pages
            api.batches[f"other_{number}"] = {**api.batches["batch_0"], "id": f"other_{number}", "metadata": None}
        assert len(ask(api, tmp_path, make_requests(0, 9))) == 9
        assert api.calls["POST batches"] == 1


def test_an_uploaded_file_never_submitted_is_deleted_and_sent_again(api: StubBatches, tmp_path: Path) -> None:
    api.watch = lambda call: setattr(api, "failing", 99 if call == "POST files" else api.failing)
    with pytest.raises(TeacherError, match="HTTP 503: down"):
        ask(api, tmp_path, make_requests(0, 9))
    api.failing, api.watch = 0, lambda call: None
    assert len(ask(api, tmp_path, make_requests(0, 9))) == 9
    assert api.lines() == [9]
    assert "file-0" not in api.files


def test_failed_lines_say_whether_a_retry_may_help(tmp_path: Path) -> None:
    requests = make_requests(0, 60)
    with serve_batches(faults={"error400": 0.2, "error429": 0.2, "error500": 0.2}) as api:
        first = ask(api, tmp_path, requests)
        assert keys(first) == sorted(requests)
        kinds = {(answer.error[:8], answer.is_passing) for answer in first}
        assert kinds == {("", False), ("HTTP 400", False), ("HTTP 429", True), ("HTTP 500", True)}
        assert all((answer.body is None) == bool(answer.error) for answer in first)
        assert not any(KEY in answer.error for answer in first)  # this server repeats it
        again = ask(api, tmp_path, {one.key: requests[one.key] for one in first if one.is_passing})
        assert again
        assert all(answer.body for answer in again)
        assert set(api.answered.values()) == {1}


@pytest.mark.parametrize(("status", "answered"), [("expired", 8), ("cancelled", 10)])
def test_answers_of_an_incomplete_batch_are_kept_and_the_others_sent_again(
    tmp_path: Path, status: str, answered: int
) -> None:
    requests = make_requests(0, 20)
    with serve_batches(polls=5, expire_after=0.4 if status == "expired" else 1.0) as api:
        if status == "cancelled":
            api.watch = lambda call: api.cancel() if api.calls["GET batches one"] == 3 else None
        first = ask(api, tmp_path, requests)
        assert rows(tmp_path) == [(status, 1)]
        assert sum(answer.body is not None for answer in first) == answered
        missing = {answer.key: requests[answer.key] for answer in first if answer.is_passing}
        assert len(missing) == 20 - answered
        assert all(answer.error.startswith(f"batch_{status}") for answer in first if answer.is_passing)
        api.expire_after = 1.0
        assert keys(ask(api, tmp_path, missing)) == sorted(missing)
        assert api.answered == Counter(list(requests))


@pytest.mark.parametrize(("count", "limit", "max_requests"), [(40, 12, 1000), (40, 12, 5), (7, 1, 3)])
def test_files_shrink_while_the_queue_is_full(tmp_path: Path, count: int, limit: int, max_requests: int) -> None:
    requests = make_requests(0, count)
    with serve_batches(limit=limit) as api:
        assert keys(ask(api, tmp_path, requests, max_requests=max_requests)) == sorted(requests)
        assert api.answered == Counter(list(requests))
        refused = [batch for batch in api.batches.values() if batch["status"] == "failed"]
        assert refused
        assert len(api.files) == len(api.batches) - len(refused)  # inputs are deleted, each one's output stays


def test_files_grow_again_when_the_queue_empties(tmp_path: Path) -> None:
    with serve_batches(limit=100, foreign=95) as api:
        api.watch = lambda call: setattr(api, "foreign", 95 if len(api.batches) < 6 else 0)
        assert len(ask(api, tmp_path, make_requests(0, 64))) == 64
    accepted = [one["request_counts"]["total"] for one in api.batches.values() if one["status"] == "completed"]
    assert min(accepted) < 8 < max(accepted)


@pytest.mark.parametrize("fault", ["failing", "garbage"])
def test_transient_connection_errors_are_retried_while_polling(api: StubBatches, tmp_path: Path, fault: str) -> None:
    def strike(call: str) -> None:
        if call == "GET batches one" and api.calls[call] in (1, 11):
            setattr(api, fault, 9)

    api.watch = strike
    assert len(ask(api, tmp_path, make_requests(0, 5))) == 5
    assert api.calls["GET batches one"] == 3 + 18
    assert api.lines() == [5]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"invalid": "no model `stub`"}, "model_not_found: no model `stub`"),
        ({"limit": 5, "foreign": 5}, r"token_limit_exceeded.*org-\*"),
        ({"has_batches": False}, "no Batch API: run without --batch"),
    ],
)
def test_a_rejected_batch_stops_the_run_and_can_be_sent_again(
    tmp_path: Path, fault: dict[str, Any], message: str
) -> None:
    with serve_batches(**fault) as api:
        with pytest.raises(TeacherError, match=message):
            ask(api, tmp_path, make_requests(0, 5))
        api.invalid, api.limit, api.has_batches = "", 0, True
        assert len(ask(api, tmp_path, make_requests(0, 5))) == 5
        assert set(api.answered.values()) == {1}


def test_a_wrong_key_is_reported_without_the_key(api: StubBatches, tmp_path: Path) -> None:
    wrong = "sk-wrong-0123456789"
    with pytest.raises(TeacherError, match="HTTP 401: Incorrect API key") as caught:
        ask(api, tmp_path, make_requests(0, 5), client={"api_key": wrong})
    assert wrong not in str(caught.value)
    assert caught.value.__suppress_context__  # the library's own error would show it in a traceback


def test_a_batch_the_endpoint_does_not_know_is_not_submitted_again(api: StubBatches, tmp_path: Path) -> None:
    ask(api, tmp_path, make_requests(0, 5), take=1)
    with serve_batches() as other:
        with pytest.raises(TeacherError, match="does not know batch_0"):
            ask(other, tmp_path, make_requests(0, 5))
        assert not other.batches
    assert len(ask(api, tmp_path, make_requests(0, 5))) == 5


@pytest.mark.parametrize(("missing", "found"), [(3, True), (99, False)])
def test_late_results_are_awaited_and_missing_ones_may_be_requested_again(
    tmp_path: Path, missing: int, found: bool
) -> None:
    with serve_batches(late=3, missing=missing) as api:
        answers = ask(api, tmp_path, make_requests(0, 5))
    assert [(bool(answer.body), answer.is_passing) for answer in answers] == [(found, not found)] * 5
    assert set(api.answered.values()) == {1}


def test_lines_that_cannot_be_read_do_not_stop_the_others(api: StubBatches, tmp_path: Path) -> None:
    requests = make_requests(0, 5)

    def spoil(call: str) -> None:
        name = next((one.get("output_file_id") for one in api.batches.values()), None)
        if name and not api.files[name].startswith(b"{cut"):
            _, *kept = api.files[name].splitlines()
            strangers = [b"[]", b"{}", json.dumps({"custom_id": "stranger", "response": None}).encode(), kept[0]]
            api.files[name] = b"\n".join([b"{cut", b"", *strangers, *kept])

    api.watch = spoil
    answers = ask(api, tmp_path, requests)
    assert keys(answers) == sorted(requests)
    assert Counter((bool(answer.body), answer.is_passing) for answer in answers) == {(True, False): 4, (False, True): 1}


def test_runs_at_the_same_time_share_their_batches(tmp_path: Path) -> None:
    requests = make_requests(0, 30)

    async def run() -> list[list[str]]:
        async def one() -> list[str]:
            with closing(Batches(tmp_path / "journal.sqlite", poll=0.002, max_requests=10)) as batches:
                async with connect(api) as client:
                    return sorted([answer.key async for answer in batches.answer(client, requests)])

        return await asyncio.gather(one(), one(), one())

    with serve_batches(polls=30) as api:
        assert asyncio.run(run()) == [sorted(requests)] * 3
        assert api.lines() == [10, 10, 10]


# A process that has imported everything forks one run for each line it reads: so a run starts at once.
DRIVER = """
import asyncio, json, os, signal, sqlite3, sys
from pathlib import Path
import openai
from auto_instruct_hf.teacher.batch.batches import Batches

folder, url = Path(sys.argv[1]), sys.argv[2]
requests = json.loads((folder / "requests.json").read_text())

async def main(die_after):
    journal = sqlite3.connect(folder / "journal.sqlite", isolation_level=None, timeout=30)
    journal.execute("PRAGMA journal_mode=WAL")
    journal.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, body TEXT)")
    known = {key for key, in journal.execute("SELECT key FROM answers")}
    batches = Batches(folder / "journal.sqlite", poll=0.02, max_requests=8)
    client = openai.AsyncOpenAI(base_url=url, api_key=os.environ["STUB_KEY"])
    taken = 0
    async for answer in batches.answer(client, {key: requests[key] for key in requests if key not in known}):
        journal.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (answer.key, json.dumps(answer.body)))
        taken += 1
        if taken == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:
    child = os.fork()
    if not child:
        asyncio.run(main(int(line)))
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run_once(api: StubBatches, driver: subprocess.Popen[str], kill_at: str = "", count: int = 0) -> int:
    """Run, killed when the stub has done the count-th call of a kind and before it answers, or at an answer."""
    assert driver.stdin is not None
    assert driver.stdout is not None
    started = threading.Event()
    process = seen = 0

    def watch(call: str) -> None:
        nonlocal seen
        seen += call == kill_at
        if call == kill_at and seen == count:
            started.wait()
            os.kill(process, signal.SIGKILL)

    api.watch = watch
    driver.stdin.write(f"{count if kill_at == 'answer' else 0}\n")
    driver.stdin.flush()
    process = int(driver.stdout.readline())
    started.set()
    return int(driver.stdout.readline())


def test_kill_9_at_any_moment_loses_nothing_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    requests = make_requests(0, 40)  # five batches
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    draw = random.Random(1)
    moments = [
        ("POST files", draw.randint(1, 4)),
        ("POST batches", draw.randint(1, 2)),  # accepted, but the response is lost
        ("POST batches", draw.randint(1, 2)),
        ("GET batches one", draw.randint(1, 8)),
        ("answer", draw.randint(1, 15)),
        ("GET files one content", draw.randint(1, 2)),
        ("answer", draw.randint(1, 8)),
        ("DELETE files one", 1),
    ]
    with serve_batches(polls=3) as api:
        script = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path), api.teacher.url]
        with subprocess.Popen(
            script, env={**os.environ, "STUB_KEY": KEY}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as driver:
            for kind, count in moments:
                assert run_once(api, driver, kind, count) == -9, f"not killed at {kind}"
            assert run_once(api, driver) == 0
            assert driver.stdin is not None
            driver.stdin.close()
        assert api.answered == Counter(list(requests))
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
        recorded = dict(journal.execute("SELECT key, body FROM answers"))
    assert set(recorded) == set(requests)
    assert all(json.loads(body)["object"] == "chat.completion" for body in recorded.values())
    assert sum(api.lines()) == 40


# -- the teacher in batch mode ----------------------------------------------------------------------------------------


def batch_teacher(api: StubBatches, folder: Path, **settings: Any) -> Teacher:
    chosen = TeacherSettings(**{"batch": True, "batch_poll": 0.01, "max_retries": 3, **settings})
    return Teacher("stub", base_url=api.teacher.url, api_key=KEY, journal=folder / "journal.sqlite", settings=chosen)


def questions(count: int) -> list[Request]:
    one = {"instruction": "x", "input": "", "strategy": "", "number": 1}
    return [
        Request(PROMPT, PROMPT.messages(mark="###", items=[{**one, "instruction": f"Say {n}."}])) for n in range(count)
    ]


def test_batch_and_online_answers_are_interchangeable(api: StubBatches, tmp_path: Path) -> None:
    with batch_teacher(api, tmp_path / "batch") as teacher:
        with teacher.phase("p"):
            replies = teacher.ask(questions(60))
        assert all(reply.content for reply in replies)
        sums = {usage.is_batch: usage.requests for usage in teacher.journal.usage()}
        assert sums == {True: 59, False: 1}  # one is sent first, to check the endpoint
        asked = len(api.teacher.answered)
    with batch_teacher(api, tmp_path / "batch", batch=False) as teacher:
        assert [reply.content for reply in teacher.ask(questions(60))] == [reply.content for reply in replies]
    assert len(api.teacher.answered) == asked
    with batch_teacher(api, tmp_path / "online", batch=False) as teacher:
        assert [reply.content for reply in teacher.ask(questions(60))] == [reply.content for reply in replies]


def test_unusable_replies_are_requested_again_in_another_batch(tmp_path: Path) -> None:
    with serve_batches() as api, batch_teacher(api, tmp_path, max_attempts=12) as teacher:
        api.teacher.faults = {"broken": 0.4}
        assert all(reply.content for reply in teacher.ask(questions(200)))
        sums = {usage.is_batch: usage for usage in teacher.journal.usage()}
    assert sums[True].failed > 40
    assert sums[True].requests > 250
    assert sums[False].requests < 60  # the first, and the last few


def test_a_budget_holds_in_batch_mode(api: StubBatches, tmp_path: Path) -> None:
    prices = {"input_price": 10.0, "output_price": 100.0}  # an answer takes 100 + 20 tokens: $0.003, half in a batch
    with batch_teacher(api, tmp_path, budget=2.0, **prices) as teacher:
        with pytest.raises(BudgetError, match="does not cover"):
            teacher.ask(questions(1500))
        spent = teacher.spent().dollars or 0.0
        answered = sum(usage.requests for usage in teacher.journal.usage())
    assert 1.5 < spent <= 2.0
    with batch_teacher(api, tmp_path, budget=10.0, **prices) as teacher:
        assert all(reply.content for reply in teacher.ask(questions(1500)))
        assert teacher.spent().dollars == pytest.approx(1500 * 0.0015, rel=0.05)
    assert 0 < answered < 1500
    assert sum(api.answered.values()) + len(api.teacher.answered) == 1500
    assert len(api.batches) < 12  # a round may take a day
