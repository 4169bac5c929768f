"""Each reply of the teacher is validated, recorded before it is used, and never requested twice."""

import contextlib
import json
import multiprocessing
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stub_teacher
from stub_teacher import KEY, PROMPT, StubTeacher, contents, make_requests, open_teacher, serve_stub

from auto_instruct_hf.errors import BudgetError, RecipeError, TeacherError
from auto_instruct_hf.recipe import TeacherSettings
from auto_instruct_hf.teacher import Reply, Request, Teacher
from auto_instruct_hf.teacher.exchange import read_completion
from auto_instruct_hf.teacher.journal import Journal, Record

NOT_URLS = ("nonsense", "http://[::1", "ftp://127.0.0.1/v1", "http://127.0.0.1:99999/v1")


def test_replies_come_in_the_order_of_the_requests_and_are_kept(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path) as teacher:
        first = contents(teacher.ask(make_requests(50)))
        assert all(first)
        assert contents(teacher.ask(make_requests(50)[::-1])) == first[::-1]
    with open_teacher(stub, tmp_path) as teacher:  # another process would see the same
        assert contents(teacher.ask(make_requests(50))) == first
    assert len(stub.answered) == 50


def test_what_is_sent_and_recorded(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path) as teacher:
        teacher.ask([Request(PROMPT, [{"role": "user", "content": "x"}], draw=7)])
    row = sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT request FROM replies").fetchone()
    body = stub.answered[0]
    assert json.loads(row[0]) == body
    assert body["seed"] == 7
    assert body["response_format"]["json_schema"] == {"name": "output", "strict": True, "schema": PROMPT.schema}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("stub", PROMPT.temperature, PROMPT.max_tokens)


def test_draw_numbers_tell_requests_apart(stub: StubTeacher, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "x"}]
    with open_teacher(stub, tmp_path) as teacher:
        replies = contents(teacher.ask([Request(PROMPT, messages, draw) for draw in (1, 2, 1)]))
    assert replies[0] == replies[2] != replies[1]


def test_faults_are_retried_with_a_new_draw_and_none_reaches_a_row(tmp_path: Path) -> None:
    faults = dict.fromkeys(("error500", "error429", "dropped"), 0.05)
    faults |= dict.fromkeys(("broken", "cut", "refused", "garbage"), 0.1)
    with serve_stub(faults=faults) as stub, open_teacher(stub, tmp_path, max_attempts=12, max_failing=1.0) as teacher:
        replies = teacher.ask(make_requests(150))
        assert all(reply.content for reply in replies)
        assert sum(stub.struck.values()) > 5
        errors = {row[0] for row in sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT error FROM replies")}
    assert errors == {"", "cut off", "refused", "not JSON", "not a chat completion"}
    assert len(set(stub.bodies())) == len(stub.answered)  # no request was answered twice


@pytest.mark.parametrize(("fault", "error"), [("broken", "not JSON"), ("cut", "cut off"), ("refused", "refused")])
def test_an_unusable_reply_has_its_error_and_is_not_retried_forever(tmp_path: Path, fault: str, error: str) -> None:
    with serve_stub(faults={fault: 1.0}) as stub, open_teacher(stub, tmp_path, max_attempts=3) as teacher:
        replies = teacher.ask(make_requests(2))
        assert [reply.content for reply in replies] == [None, None]
        assert all(reply.error.startswith(error) for reply in replies)
        assert len(stub.answered) == 6
        teacher.ask(make_requests(2))
        assert len(stub.answered) == 6  # a failure is kept as well


def test_at_temperature_zero_a_new_draw_alone_would_change_nothing(tmp_path: Path) -> None:
    prompt = replace(PROMPT, temperature=0.0)
    with serve_stub(faults={"cut": 1.0}) as stub, open_teacher(stub, tmp_path, max_attempts=3) as teacher:
        teacher.ask([Request(prompt, prompt.messages(instruction="x"))])
    assert [body["temperature"] for body in stub.answered] == [0.0, 0.7, 0.7]
    assert len({body["seed"] for body in stub.answered}) == 3


@pytest.mark.parametrize(
    ("text", "reason", "error"),
    [
        ('{"output": "x"}', "stop", ""),
        ('{"output": "x"}', "length", ""),  # a whole answer is one, whatever the server says
        ('{"output": "x', "length", "cut off"),
        ('{"output": "x"}', "content_filter", "refused"),
        ('{"output": 5}', "stop", "not as the schema asks"),
        ('{"output": "x", "more": 1}', "stop", "not as the schema asks"),
        ("{}", "stop", "not as the schema asks"),
        ("null", "stop", "not as the schema asks"),
        ("", "stop", "empty reply"),
        ('{"output": "\\ud800"}', "stop", "characters that are no text"),
        ('{"output": "\\u0000"}', "stop", "characters that are no text"),
        ("[" * 100_000, "stop", "not JSON"),
    ],
)
def test_a_reply_is_checked_on_arrival(text: str, reason: str, error: str) -> None:
    completion = {"choices": [{"message": {"content": text}, "finish_reason": reason}]}
    assert read_completion(completion, PROMPT, 0.0).error == error


@pytest.mark.parametrize("hides_status", [False, True])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_permanent_errors_stop_at_once(tmp_path: Path, status: int, hides_status: bool) -> None:
    with serve_stub(down=status, hides_status=hides_status) as stub, open_teacher(stub, tmp_path) as teacher:
        with pytest.raises(TeacherError, match="refuses to answer") as caught:
            teacher.ask(make_requests(3))
        assert "journal.sqlite" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "count", "message"),
    [
        ({"down": 503}, 2, "does not answer"),  # fewer requests than would make it doubtful
        ({"down": 500}, 40, "run the same command again"),
        ({"faults": {"garbage": 1.0}}, 20, "refuses whatever it is asked: not a chat completion"),
        *(
            ({"faults": {"poison": 1.0}, "poison": status}, count, r"refuses whatever it is asked.*this one kills me")
            for status, count in ((400, 3), (422, 3), (500, 3), (500, 40))
        ),
    ],
)
def test_a_fault_of_the_endpoint_is_reported_and_not_held_against_the_requests(
    tmp_path: Path, fault: dict[str, Any], count: int, message: str
) -> None:
    with serve_stub(**fault) as stub, open_teacher(stub, tmp_path, max_retries=0) as teacher:
        with pytest.raises(TeacherError, match=message):
            teacher.ask(make_requests(count))
        stub.down, stub.faults = 0, {}
        assert all(contents(teacher.ask(make_requests(count))))


def test_errors_inside_answers_with_status_200_are_retried_as_others(tmp_path: Path) -> None:
    with serve_stub(failing=4, hides_status=True) as stub, open_teacher(stub, tmp_path, max_retries=5) as teacher:
        assert all(contents(teacher.ask(make_requests(2))))
    errors = sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT error FROM replies").fetchall()
    assert errors == [("",), ("",)]


@pytest.mark.parametrize("hides_status", [False, True])
def test_an_endpoint_that_fails_in_the_middle_costs_no_request(tmp_path: Path, hides_status: bool) -> None:
    with serve_stub(hides_status=hides_status) as stub, open_teacher(stub, tmp_path, max_retries=0) as teacher:
        teacher.ask(make_requests(2))
        stub.down = 503
        with pytest.raises(TeacherError, match="does not answer"):
            teacher.ask(make_requests(6))
        stub.down = 0
        assert all(contents(teacher.ask(make_requests(6))))


def test_a_reply_that_is_not_recorded_yet_counts_as_in_flight(
    stub: StubTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, recorded, at_risk = Journal.record, [], []

    def record_slowly(journal: Journal, records: list[Record]) -> Any:
        time.sleep(0.1)
        at_risk.append(len(stub.answered) - len(recorded))  # what a crash would cost now
        recorded.extend(records)
        return record(journal, records)

    monkeypatch.setattr(Journal, "record", record_slowly)
    with open_teacher(stub, tmp_path, concurrency=2) as teacher:
        teacher.ask(make_requests(12))
    assert len(recorded) == 12
    assert max(at_risk) <= 2


def test_no_server_at_all(tmp_path: Path) -> None:
    with serve_stub() as stub:
        pass
    with open_teacher(stub, tmp_path, max_retries=0) as teacher, pytest.raises(TeacherError, match="does not answer"):
        teacher.ask(make_requests(9))


def test_requests_that_fail_where_others_do_not_are_given_up_and_sent_again_by_the_next_run(tmp_path: Path) -> None:
    with serve_stub(faults={"poison": 0.2}) as stub, open_teacher(stub, tmp_path, max_retries=0) as teacher:
        replies = teacher.ask(make_requests(100))
        failed = [reply.error for reply in replies if reply.content is None]
        assert 10 < len(failed) < 30
        assert set(failed) == {"not answered yet"}
        stub.faults = {}
        assert all(contents(teacher.ask(make_requests(100))))
    errors = sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT DISTINCT error FROM replies").fetchall()
    assert errors == [("",)]


def test_a_run_through_a_time_when_only_probes_are_answered_ends_like_any_other(tmp_path: Path) -> None:
    with serve_stub() as stub, open_teacher(stub, tmp_path / "other") as teacher:
        undisturbed = contents(teacher.ask(make_requests(40)))
    with serve_stub(poison=503) as stub, open_teacher(stub, tmp_path, max_retries=0) as teacher:
        teacher.ask(make_requests(5))
        stub.faults = {"poison": 1.0}
        threading.Timer(2.0, stub.faults.clear).start()
        assert contents(teacher.ask(make_requests(40))) == undisturbed
        assert all(usage.failed == 0 for usage in teacher.journal.usage())


def test_probes_are_paid_too(tmp_path: Path) -> None:
    with serve_stub() as stub, open_teacher(stub, tmp_path, max_retries=0) as teacher:
        teacher.ask(make_requests(5))
        stub.faults = {"poison": 0.2}
        teacher.ask(make_requests(40))
        assert sum(usage.requests for usage in teacher.journal.usage()) == len(stub.answered)


def test_a_refusal_of_one_request_is_final(tmp_path: Path) -> None:
    with serve_stub(faults={"poison": 0.2}, poison=400) as stub, open_teacher(stub, tmp_path) as teacher:
        replies = teacher.ask(make_requests(50))
        assert {reply.error for reply in replies if reply.content is None} == {"no answer"}
        asked = len(stub.answered)
        assert teacher.ask(make_requests(50)) == replies
        assert len(stub.answered) == asked


def test_concurrency_is_not_exceeded(tmp_path: Path) -> None:
    with serve_stub(delay=0.02) as stub, open_teacher(stub, tmp_path, concurrency=3) as teacher:
        teacher.ask(make_requests(30))
    assert stub.most_at_once == 3


def test_equal_requests_in_flight_are_paid_once(tmp_path: Path) -> None:
    with serve_stub(delay=0.05) as stub, open_teacher(stub, tmp_path) as teacher:
        replies = contents(teacher.ask(make_requests(1) * 5 + make_requests(2)))
        assert len(stub.answered) == 2
    assert replies[:5] == [replies[5]] * 5


def test_a_transient_outage_loses_no_row(tmp_path: Path) -> None:
    with serve_stub() as stub, open_teacher(stub, tmp_path, max_retries=0) as teacher:
        stub.failing = 6  # the first requests fail once each, then the endpoint is well again
        assert all(contents(teacher.ask(make_requests(60))))


def test_works_inside_a_running_event_loop(stub: StubTeacher, tmp_path: Path) -> None:
    import asyncio

    async def notebook() -> list[Reply]:
        with open_teacher(stub, tmp_path) as teacher:
            return teacher.ask(make_requests(2))

    assert all(contents(asyncio.run(notebook())))


def test_the_key_is_never_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    secret = "sk-live-9f8e7d6c5b4a"
    with serve_stub() as stub:
        teacher = Teacher("stub", base_url=stub.url, api_key=secret, journal=tmp_path / "journal.sqlite")
        with teacher, pytest.raises(TeacherError) as caught:
            teacher.ask(make_requests(1))  # the stub repeats a wrong key, as some servers do
        with open_teacher(stub, tmp_path) as good:
            good.ask(make_requests(1))
            shown = repr(good) + good.describe()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (str(caught.value), shown, repr(teacher), teacher.describe(), *capfd.readouterr()):
        assert secret not in text
        assert KEY not in text
    assert secret.encode() not in written
    assert KEY.encode() not in written


@pytest.mark.parametrize("address", ["http://me:w@rd@127.0.0.1:1/v1", "http://127.0.0.1:1/v1?api-key=word"])
def test_secrets_in_the_address_are_not_shown(tmp_path: Path, address: str) -> None:
    with Teacher("m", base_url=address, journal=tmp_path / "j") as teacher:
        assert teacher.describe() == "m at http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"base_url": url}, "is not the base URL of an endpoint") for url in NOT_URLS),
        *(({"api_key": key}, "copy it again") for key in ("sk-0123…789", "sk-0123\x00789", "sk-\n-789")),
        ({"base_url": "http://127.0.0.1:1/v1", "model": None}, r"which model of http://127.0.0.1:1/v1\? Name it"),
        ({"settings": TeacherSettings(budget=1.0)}, "that of m is not known: set teacher.input_price"),
    ],
)
def test_arguments_that_cannot_work_are_rejected_at_once(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        Teacher(**{"model": "m", "journal": tmp_path / "j", **arguments})
    assert "789" not in str(caught.value)


def test_a_key_with_a_line_end_is_the_key(stub: StubTeacher, tmp_path: Path) -> None:
    with Teacher("m", base_url=stub.url, api_key=KEY + "\r\n", journal=tmp_path / "j") as teacher:
        assert all(contents(teacher.ask(make_requests(1))))


def test_closing_twice_and_in_the_middle(tmp_path: Path) -> None:
    with serve_stub(delay=0.3) as stub, open_teacher(stub, tmp_path) as teacher:
        threading.Timer(0.1, teacher.close).start()
        with pytest.raises(BaseException):  # noqa: B017, PT011  # whatever a cancelled future raises
            teacher.ask(make_requests(5))
        teacher.close()


def test_the_default_teacher_depends_on_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Teacher(journal=tmp_path / "a") as teacher:
        assert teacher.is_embedded
        assert teacher.prompts == "small"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    with Teacher(journal=tmp_path / "b") as teacher:
        assert (teacher.model, teacher.is_embedded, teacher.prompts) == ("gpt-4o", False, "default")
    with Teacher("embedded", journal=tmp_path / "c") as teacher:
        assert teacher.is_embedded


def test_a_missing_key_is_reported_before_any_request(tmp_path: Path) -> None:
    with Teacher("gpt-4o", journal=tmp_path / "j") as teacher, pytest.raises(TeacherError, match="set OPENAI_API_KEY"):
        teacher.ask(make_requests(1))


def test_usage_is_summed_by_phase(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path) as teacher:
        with teacher.phase("first", total=3):
            teacher.ask(make_requests(3))
        with teacher.phase("second", total=5):
            teacher.ask(make_requests(5))  # three of them are in the journal
        usage = {item.phase: (item.requests, item.input_tokens, item.output_tokens) for item in teacher.journal.usage()}
    assert usage == {"first": (3, 300, 60), "second": (2, 200, 40)}


def test_an_endpoint_that_fails_too_often_stops_the_run_and_keeps_everything(tmp_path: Path) -> None:
    with serve_stub(faults={"poison": 0.7}) as stub, open_teacher(stub, tmp_path, max_retries=0) as teacher:
        with pytest.raises(TeacherError, match=r"\d\d of its last 100 answers .* \(\d\d InternalServerError"):
            teacher.ask(make_requests(1000))
        assert len(stub.answered) < 400  # it did not go on to the end
        good = {json.dumps(body["messages"]) for body in stub.answered if "response_format" in body}
        rows = sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT request FROM replies WHERE error = ''")
        assert {json.dumps(json.loads(row[0])["messages"]) for row in rows} == good  # what was answered is kept


def test_what_is_in_flight_when_a_run_stops_is_kept(tmp_path: Path) -> None:
    with serve_stub(delay=0.3) as stub, open_teacher(stub, tmp_path, concurrency=10) as teacher:

        def refuse_after_the_first_answers() -> None:
            while len(stub.answered) < 10:
                time.sleep(0.01)
            stub.down = 401

        threading.Thread(target=refuse_after_the_first_answers, daemon=True).start()
        with pytest.raises(TeacherError, match="AuthenticationError"):
            teacher.ask(make_requests(100))
        kept = sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT COUNT(*) FROM replies").fetchone()[0]
        assert kept == len(stub.answered) >= 10


# -- money ----------------------------------------------------------------------------------------------------------


def spend(stub: StubTeacher, folder: Path, budget: float, count: int = 60, **settings: Any) -> tuple[int, float]:
    """Ask under a budget; return how many were answered and what was spent. The stub's answers take 100 + 20 tokens."""
    prices = {"input_price": 100.0, "output_price": 1000.0, **settings}
    with open_teacher(stub, folder, budget=budget, **prices) as teacher:
        with contextlib.suppress(BudgetError):
            assert all(contents(teacher.ask(make_requests(count))))
        return sum(usage.requests for usage in teacher.journal.usage()), teacher.spent().dollars or 0.0


def test_a_budget_is_never_exceeded_and_a_higher_one_resumes(stub: StubTeacher, tmp_path: Path) -> None:
    each = 100 * 1e-4 + 20 * 1e-3  # $0.03 an answer; the worst case is $1.2 for the output alone
    assert spend(stub, tmp_path, 0.5) == (0, 0.0)  # not one would be sure to fit
    first, spent = spend(stub, tmp_path, 2.0)
    assert 0 < first < 60
    assert spent == pytest.approx(first * each)
    assert 2.0 - 1.4 < spent <= 2.0  # less is left than the next request might cost
    assert spend(stub, tmp_path, 2.0) == (first, spent)
    with (
        open_teacher(stub, tmp_path, budget=spent, input_price=1.0, output_price=1e6) as teacher,
        pytest.raises(BudgetError, match=r"the budget of \$.* does not cover the next request.* Raise --budget"),
    ):
        teacher.ask(make_requests(60))
    assert spend(stub, tmp_path, 10.0) == (60, pytest.approx(60 * each))
    assert len(stub.answered) == 60  # each was paid once


def test_the_progress_bar_shows_actual_and_expected_cost(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path, input_price=100.0, output_price=1000.0) as teacher:  # $0.03 an answer
        with teacher.phase("first", total=4) as bar:
            teacher.ask(make_requests(2))
            assert bar.describe_cost() == "spent $0.06, about $0.12 at the end of the phase"
        teacher.expect({"first": 1.0, "second": 2.0, "third": 5.0})
        with teacher.phase("second", total=4) as bar:
            assert bar.describe_cost() == "spent $0.06"  # no estimate yet
            teacher.ask(make_requests(3))  # two of them are in the journal
            assert bar.describe_cost() == "spent $0.09, about $5.12 at the end"
    with open_teacher(stub, tmp_path) as teacher, teacher.phase("first", total=4) as bar:
        assert bar.describe_cost() == "price unknown"


def test_a_budget_ignores_models_of_unknown_price(stub: StubTeacher, tmp_path: Path) -> None:
    with Teacher("nobody-knows", base_url=stub.url, api_key=KEY, journal=tmp_path / "journal.sqlite") as other:
        other.ask(make_requests(3))
    answered, _ = spend(stub, tmp_path, 2.0, count=100)
    assert 3 < answered < 60


def spend_all(url: str, folder: str, budget: float, number: int) -> None:
    """Ask until a budget is spent, in a process of its own."""
    prices = {"input_price": 100.0, "output_price": 1000.0}
    with (
        open_teacher(StubTeacher(url), Path(folder), budget=budget, **prices) as teacher,
        contextlib.suppress(BudgetError),
    ):
        teacher.ask(make_requests(90)[number::3])


def test_processes_at_the_same_time_share_one_budget(tmp_path: Path) -> None:
    with serve_stub(delay=0.02) as stub:
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=spend_all, args=(stub.url, str(tmp_path), 2.6, number)) for number in range(3)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]
        with open_teacher(stub, tmp_path, input_price=100.0, output_price=1000.0) as teacher:
            spent = teacher.spent().dollars or 0.0
        assert 2.6 - 1.4 < spent <= 2.6
    assert not list(tmp_path.glob("*.lock"))


def test_requests_that_fail_under_a_small_budget_do_not_wait_for_each_other(tmp_path: Path) -> None:
    prices = {"budget": 4.0, "input_price": 10.0, "output_price": 1000.0}  # about $1.2 each in the worst case
    with serve_stub(poison=503, delay=0.02) as stub, open_teacher(stub, tmp_path, max_retries=0, **prices) as teacher:
        teacher.ask(make_requests(5))
        stub.faults = {"poison": 1.0}
        threading.Timer(1.0, stub.faults.clear).start()
        assert all(contents(teacher.ask(make_requests(30))))


def test_what_a_dead_process_had_reserved_is_free_again(stub: StubTeacher, tmp_path: Path) -> None:
    first, _ = spend(stub, tmp_path, 2.0, count=1)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.reserved.sqlite")) as file, file:
        file.execute("INSERT INTO reserved VALUES ('dead', 1.9)")
    assert spend(stub, tmp_path, 2.0, count=20)[0] > first


def test_the_limit_is_raised_and_then_dropped_where_hidden_reasoning_uses_it_up(
    stub: StubTeacher, tmp_path: Path
) -> None:
    stub.faults = {"reasoned": 1.0}
    with open_teacher(stub, tmp_path, concurrency=2) as teacher:
        assert all(contents(teacher.ask(make_requests(20))))
    limits = [body.get("max_tokens") for body in stub.answered]
    assert list(dict.fromkeys(limits)) == [1200, 1200 + 16_384, None]
    assert limits.count(None) >= 20


def test_a_limit_of_your_own_is_never_raised(stub: StubTeacher, tmp_path: Path) -> None:
    stub.faults = {"reasoned": 1.0}
    with open_teacher(stub, tmp_path, max_tokens=500) as teacher:
        assert {reply.error for reply in teacher.ask(make_requests(5))} == {"cut off"}
    assert {body.get("max_tokens") for body in stub.answered} == {500}


def test_a_limit_and_an_effort_of_your_own_are_sent(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path, max_tokens=9000, reasoning_effort="low") as teacher:
        teacher.ask(make_requests(1))
    assert (stub.answered[0]["max_tokens"], stub.answered[0]["reasoning_effort"]) == (9000, "low")
    with open_teacher(stub, tmp_path, reasoning_effort="low") as teacher:
        teacher.ask(make_requests(1))
    assert len(stub.answered) == 1  # a reply within another limit is as good
    with open_teacher(stub, tmp_path, reasoning_effort="high") as teacher:
        teacher.ask(make_requests(1))
    assert len(stub.answered) == 2


def test_without_a_limit_the_worst_case_is_the_context_of_the_model(stub: StubTeacher, tmp_path: Path) -> None:
    stub.unknown = ("max_tokens", "max_completion_tokens")
    stub.faults = {"reasoned": 1.0}
    prices = {"input_price": 0.0, "output_price": 10.0}  # $1.31 for 131,072 tokens
    with (
        open_teacher(stub, tmp_path, budget=1.0, **prices) as teacher,
        pytest.raises(BudgetError, match=r"may cost \$1\.3"),
    ):
        teacher.ask(make_requests(20))


def test_without_usage_tokens_are_estimated_and_a_budget_holds(
    stub: StubTeacher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stub.reports_usage = False
    prices = {"input_price": 10.0, "output_price": 10.0}
    with open_teacher(stub, tmp_path, budget=0.1, **prices) as teacher:
        with pytest.raises(BudgetError):
            teacher.ask(make_requests(200))
        assert 0 < (teacher.spent().dollars or 0) <= 0.1
        assert "reports no usage" in caplog.text


def test_a_reply_that_repeats_the_key_is_kept_without_it(
    stub: StubTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub_teacher, "reply_to", lambda body, digest: {"output": f"Your key is {KEY}."})
    with open_teacher(stub, tmp_path) as teacher:
        assert contents(teacher.ask(make_requests(1))) == [{"output": "Your key is ***."}]
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("where", [0.02, 0.5, 0.9])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content, at: content[:at],
        lambda content, at: content[:at] + bytes(len(content[at : at + 8192])) + content[at + 8192 :],
        lambda content, at: content[:at] + bytes(one ^ 0x55 for one in content[at : at + 512]) + content[at + 512 :],
    ],
    ids=["truncated", "zeroed", "garbled"],
)
def test_a_damaged_journal_is_refused_or_its_damaged_replies_are_asked_again(
    stub: StubTeacher, tmp_path: Path, damage: Callable[[bytes, int], bytes], where: float
) -> None:
    with open_teacher(stub, tmp_path) as teacher:
        replies = contents(teacher.ask(make_requests(60)))
    path = tmp_path / "journal.sqlite"
    content = path.read_bytes()
    path.write_bytes(damage(content, int(where * len(content))))
    try:
        with open_teacher(stub, tmp_path) as teacher:
            again = contents(teacher.ask(make_requests(60)))
    except TeacherError as error:
        assert re.search("damaged|format", str(error))  # noqa: PT017  # either this or the same replies
    else:
        assert again == replies
