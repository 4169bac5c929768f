"""Servers that answer with something else than a chat completion: each answer is one failed reply, within bounds.

One request is always answered as by a sound server, so that the fault is the reply's and not the endpoint's.
"""

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stub_teacher import KEY, make_requests

from auto_instruct_hf.errors import TeacherError
from auto_instruct_hf.recipe import TeacherSettings
from auto_instruct_hf.teacher import Teacher

Write = Callable[[bytes], object]


def completion(content: object = '{"output": "x"}', **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage, **fields}


def http(body: bytes, kind: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode() + body


SOUND = http(json.dumps(completion()).encode())


def send_sound(write: Write) -> None:
    write(SOUND)


@contextmanager
def serve_bytes(answer: Callable[[Write], object]) -> Iterator[str]:
    """Serve `answer` to the request for the number 1, and a sound answer to others, on plain sockets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            head = connection.recv(65536)
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            head, _, body = head.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
            with contextlib.suppress(OSError):  # the client hung up
                (answer if b"number 1." in body else send_sound)(connection.sendall)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.close()


def ask_once(url: str, folder: Path, **settings: Any) -> str:
    """Return the error of the second request, the first that is not answered as by a sound server."""
    chosen = TeacherSettings(**{"max_retries": 0, "max_attempts": 1, "timeout": 20.0, **settings})
    with Teacher("m", base_url=url, api_key=KEY, journal=folder / "journal.sqlite", settings=chosen) as teacher:
        first, second = make_requests(2)
        assert teacher.ask([first])[0].content == {"output": "x"}
        teacher.ask([second])
        return next((row[0] for row in teacher.journal.query("SELECT error FROM replies WHERE error != ''")), "")


def endless(write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        write(b" " * 65536)


def bomb(write: Write) -> None:
    write(http(gzip.compress(b" " * (64 << 20)), more="Content-Encoding: gzip\r\n"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (endless, "not a chat completion: a response of over 32 MB"),
        (bomb, "not a chat completion: a response of over 32 MB"),
        (lambda write: write(http(b"no gzip", more="Content-Encoding: gzip\r\n")), "not compressed as its header says"),
        (lambda write: write(http(b"<html>", "text/html")), "not a chat completion: text/html"),
        (lambda write: write(http(b"data: {}\n\n", "text/event-stream")), "not a chat completion: text/event-stream"),
        (lambda write: write(http(b"")), "not a chat completion"),
        (lambda write: write(http(b"[" * 100_000)), "not a chat completion"),
        (lambda write: write(http(json.dumps(completion('{"output":' * 5000)).encode())), "not JSON"),
        (lambda write: write(http(b"\xff\xfe{}")), "not a chat completion"),
        (lambda write: write(http(b"{}", status="307 Temporary Redirect", more="Location: http://x/\r\n")), "307"),
        (lambda write: write(http(b"{}", status="302 Found", more="Location: /v1/chat/completions\r\n")), "302"),
    ],
)
def test_an_answer_that_is_no_completion_is_one_failed_reply(
    answer: Callable[[Write], object], reason: str, tmp_path: Path
) -> None:
    with serve_bytes(answer) as url:
        assert reason in ask_once(url, tmp_path)


def test_a_wrong_content_type_hides_no_other_fault(tmp_path: Path) -> None:
    cut = completion('{"output": "x')
    cut["choices"][0]["finish_reason"] = "length"
    with serve_bytes(lambda write: write(http(json.dumps(cut).encode(), "text/plain"))) as url:
        assert ask_once(url, tmp_path) == "cut off"


def slow(write: Write) -> None:
    for number in range(len(SOUND)):
        write(SOUND[number : number + 1])
        time.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        slow,  # the limit is on the whole reply: no read waits long
        lambda write: write(b"HTTP/9.9 what\r\n\r\n"),
        lambda write: write(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        lambda write: write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
        lambda write: write(SOUND[:-5]),
        lambda write: None,
        lambda write: write(b"\x16\x03\x01"),
    ],
    ids=["slow", "status", "header", "long header", "cut", "nothing", "other protocol"],
)
def test_a_broken_connection_is_not_recorded_and_may_be_sent_again(
    answer: Callable[[Write], object], tmp_path: Path
) -> None:
    begin = time.monotonic()
    with serve_bytes(answer) as url:
        with_others = ask_once(url, tmp_path, timeout=0.5)
    assert with_others == ""
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "10",
        {"prompt_tokens": "10", "completion_tokens": -1},
        {"prompt_tokens": True, "completion_tokens": 1e400},
        {"prompt_tokens": 2**70, "completion_tokens": [5]},
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99}, "completion_tokens": None},
    ],
)
def test_odd_usage_is_estimated_and_marked(usage: object, tmp_path: Path) -> None:
    answer = http(json.dumps(completion(usage=usage)).encode())
    with serve_bytes(lambda write: write(answer)) as url:
        assert ask_once(url, tmp_path, input_price=1.0, output_price=1.0) == ""
    with Teacher("m", base_url=url, journal=tmp_path / "journal.sqlite") as teacher:
        (sums,) = teacher.journal.usage()
        columns = "is_estimated, input_tokens, cached_tokens, output_tokens"
        (plain, odd) = teacher.journal.query(f"SELECT {columns} FROM replies ORDER BY created")
    assert (sums.requests, sums.estimated) == (2, 1)
    assert plain == (0, 10, 0, 5)
    assert odd[0] == 1
    assert 0 < odd[1] < 1000
    assert odd[2] <= odd[1]
    assert 0 < odd[3] < 1000


def test_an_address_that_redirects_all_requests_is_told(tmp_path: Path) -> None:
    answer = http(b"", status="301 Moved Permanently", more="Location: https://elsewhere.invalid/v1\r\n")
    chosen = TeacherSettings(max_retries=0)
    with serve_bytes(lambda write: write(answer)) as url:
        teacher = Teacher("m", base_url=url, api_key=KEY, journal=tmp_path / "journal.sqlite", settings=chosen)
        with teacher, pytest.raises(TeacherError, match=r"elsewhere\.invalid.*--base-url|--base-url.*elsewhere"):
            teacher.ask(make_requests(2)[1:])
