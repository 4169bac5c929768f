"""Requests are adapted to what a server accepts; the journal keeps them in one format."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from stub_teacher import PROMPT, contents, make_requests, open_teacher, serve_stub

from auto_instruct_hf.errors import TeacherError
from auto_instruct_hf.teacher import Request, Teacher
from auto_instruct_hf.teacher.exchange import read_completion

UNKNOWN: list[tuple[str, ...]] = [
    ("json_schema",),
    ("json_schema", "json_object"),
    ("temperature",),
    ("max_tokens",),
    ("seed",),
    ("system",),
    ("json_schema", "json_object", "temperature", "max_tokens", "seed", "system"),
    ("ignores_schema",),
]


@pytest.mark.parametrize("unknown", UNKNOWN, ids="+".join)
def test_a_rejected_format_is_adapted(tmp_path: Path, unknown: tuple[str, ...]) -> None:
    with serve_stub(unknown=unknown) as stub, open_teacher(stub, tmp_path, concurrency=8, max_attempts=12) as teacher:
        replies = teacher.ask(make_requests(40))
        assert all(contents(replies))
    for name in {"temperature", "max_tokens", "seed"} & set(unknown):
        assert not [body for body in stub.answered if name in body]
    with serve_stub() as other, open_teacher(other, tmp_path, max_attempts=12) as teacher:
        assert teacher.ask(make_requests(40)) == replies  # a server that takes everything would be asked the same
        assert not other.answered


def test_a_rejected_parameter_is_sent_once_only(tmp_path: Path) -> None:
    with serve_stub(unknown=("temperature",)) as stub, open_teacher(stub, tmp_path, concurrency=2) as teacher:
        teacher.ask(make_requests(30))
        assert stub.refused <= 2  # what was in flight at first
        teacher.ask(make_requests(60))
        assert stub.refused <= 2


@pytest.mark.parametrize(
    "wraps", ["Sure:\n```json\n{}\n```\nAnything else?", "<think>Is it {a: 1}? No.</think>\n{}", "{},", "\n{}\n"]
)
def test_text_around_the_json_is_removed(tmp_path: Path, wraps: str) -> None:
    with serve_stub(wraps=wraps) as stub, open_teacher(stub, tmp_path, structured="text") as teacher:
        replies = teacher.ask(make_requests(5))
        assert all(contents(replies))
        assert not [body for body in stub.answered if "response_format" in body]
    raw, text = sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT raw, text FROM replies").fetchone()
    assert (raw or text).strip().startswith(wraps.partition("{}")[0].strip())  # and can be read as it came
    with open_teacher(stub, tmp_path) as teacher:
        assert teacher.ask(make_requests(5)) == replies


def test_a_reply_beyond_repair_is_requested_again_and_never_used(tmp_path: Path) -> None:
    given = {"structured": "json_object", "max_attempts": 2}
    with serve_stub(wraps='{"outputs": ["x"]}') as stub, open_teacher(stub, tmp_path, **given) as teacher:
        replies = teacher.ask(make_requests(3))
    assert [reply.error for reply in replies] == ["not as the schema asks"] * 3
    assert len(stub.answered) == 6


@pytest.mark.parametrize(
    "rest", ['{"output": "half an ans', '{"answers": [{"number": 1, "output": "x"}, {"number": 2, "o']
)
def test_a_truncated_reply_is_not_repaired(rest: str) -> None:
    message = {"role": "assistant", "content": rest}
    completion = {"choices": [{"finish_reason": "stop", "message": message}]}
    assert read_completion(completion, PROMPT, 0.0, repair=True).error == "not JSON"


def test_a_given_format_is_kept(tmp_path: Path) -> None:
    with (
        serve_stub(unknown=("json_schema",)) as stub,
        open_teacher(stub, tmp_path, structured="json_schema", max_retries=0) as teacher,
        pytest.raises(TeacherError, match="'json_schema' is not supported"),
    ):
        teacher.ask(make_requests(9))


def test_a_request_that_is_too_long_with_its_limit_is_sent_without_it(tmp_path: Path) -> None:
    short = replace(PROMPT, name="short", max_tokens=100)
    with serve_stub(context=1000) as stub, open_teacher(stub, tmp_path) as teacher:
        assert all(contents(teacher.ask([*make_requests(2), Request(short, make_requests(3)[2].messages)])))
    assert sorted(body.get("max_tokens", 0) for body in stub.answered) == [0, 0, 100]  # the others keep theirs


def test_request_settings_do_not_change_the_fingerprint(tmp_path: Path) -> None:
    with serve_stub() as stub:
        identities = []
        for number, settings in enumerate(({}, {"structured": "text", "rpm": 600.0, "budget": None, "timeout": 9.0})):
            with open_teacher(stub, tmp_path / str(number), **settings) as teacher:
                assert isinstance(teacher, Teacher)
                identities.append(teacher.identity)
    assert identities[0] == identities[1]
