"""The Batch API over real HTTP, on the server of the stub teacher, with the same answers; polls advance a batch."""

import email
import email.policy
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stub_teacher import KEY, StubTeacher, _completion, _pick, serve_stub

_FAULTS = {"error400": 400, "error429": 429, "error500": 500}
_PAGE = b"<html>"
_ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class StubBatches:
    """What the test sees and sets."""

    teacher: StubTeacher = field(default_factory=StubTeacher)
    polls: int = 2  # how often a batch is looked at before it has ended
    faults: dict[str, float] = field(default_factory=dict)
    """Share of lines by fault: error400, always; error429 and error500, the first time."""
    expire_after: float = 1.0  # share of the lines of a batch that are answered before it expires
    invalid: str = ""  # if not "": the message with which each batch fails its validation
    limit: int = 0  # if not 0: maximum number of requests enqueued in all batches
    foreign: int = 0  # enqueued requests of others
    unheard: int = 0  # how many of the next submissions are accepted without a response
    failing: int = 0  # how many of the next calls get a 503
    garbage: int = 0  # how many of the next calls get a page instead of JSON
    missing: int = 0  # how many of the next calls for the content of a file find none
    page: int = 100  # most batches in one page of the list
    late: int = 0  # how many polls of a completed batch do not name its results
    is_page: bool = False
    has_batches: bool = True
    watch: Callable[[str], None] = lambda call: None
    """Called with each call once it is done, and before its answer is sent."""
    calls: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)  # how often each custom_id was answered with a completion
    struck: Counter[str] = field(default_factory=Counter)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def lines(self) -> list[int]:
        """Return how many requests each batch holds, in the order of submission."""
        return [batch["request_counts"]["total"] for batch in self.batches.values()]

    def cancel(self) -> None:
        """Cancel what has not ended, as its owner may do on a web page."""
        for batch in self.batches.values():
            if batch["status"] not in _ENDED:
                batch["status"] = "cancelling"

    def store(self, content: bytes) -> str:
        name = f"file-{self.calls['stored']}"
        self.calls["stored"] += 1
        self.files[name] = content
        return name

    def advance(self, batch: dict[str, Any]) -> None:
        """Take a batch one step on."""
        if batch["status"] in _ENDED:
            return
        batch["polls"] += 1
        if batch["status"] == "cancelling":
            self._work(batch, share=0.5, status="cancelled", code="batch_cancelled")
        elif batch["status"] == "validating":
            error = self._validate(batch)
            batch["status"] = "failed" if error else "in_progress"
            batch["errors"] = {"object": "list", "data": [error]} if error else None
        elif batch["polls"] > self.polls:
            expires = self.expire_after < 1
            self._work(batch, self.expire_after, "expired" if expires else "completed", code="batch_expired")

    def _validate(self, batch: dict[str, Any]) -> dict[str, Any] | None:
        requests = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        enqueued = sum(one["request_counts"]["total"] for one in self.batches.values() if one["status"] not in _ENDED)
        if self.invalid:
            return {"code": "model_not_found", "message": self.invalid, "line": 1}
        if self.limit and enqueued + self.foreign > self.limit:
            return {"code": "token_limit_exceeded", "message": f"Enqueued token limit reached for org-x: {self.limit}"}
        if len({one["body"]["model"] for one in requests}) != 1:
            return {"code": "mismatched_model", "message": "all requests of a file must have one model", "line": 2}
        if len({one["custom_id"] for one in requests}) != len(requests) or len(requests) > 50_000:
            return {"code": "invalid_file", "message": "duplicate custom_id, or too many requests", "line": 1}
        if any((one["method"], one["url"]) != ("POST", batch["endpoint"]) for one in requests):
            return {"code": "invalid_url", "message": "not the endpoint of the batch", "line": 1}
        return None

    def _work(self, batch: dict[str, Any], share: float, status: str, code: str) -> None:
        requests = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        random.Random(batch["id"]).shuffle(requests)
        output: list[str] = []
        errors: list[str] = []
        for number, request in enumerate(requests):
            line = self._line(request) if number < share * len(requests) else None
            if line is None:
                error = {"code": code, "message": "This request was not executed in time."}
                line = {"custom_id": request["custom_id"], "response": None, "error": error}
            is_answered = line["response"] and line["response"]["status_code"] == 200
            (output if is_answered else errors).append(json.dumps(line))
        batch["output_file_id"] = self.store("\n".join(output).encode()) if output else ""
        batch["error_file_id"] = self.store(("\n".join(errors) + "\n").encode()) if errors else None
        batch["request_counts"].update(completed=len(output), failed=len(errors))
        batch["status"] = status

    def _line(self, request: dict[str, Any]) -> dict[str, Any]:
        key, body = request["custom_id"], request["body"]
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        fault = _pick(self.faults, tuple(_FAULTS), key)
        if fault and (fault == "error400" or not self.struck[key]):
            self.struck[key] += 1
            words = {"error": {"message": f"{fault} of this line, by key {KEY}", "type": "invalid_request_error"}}
            return {"custom_id": key, "response": {"status_code": _FAULTS[fault], "body": words}, "error": None}
        self.answered[key] += 1
        kind = _pick(self.teacher.faults, ("broken", "cut", "refused"), digest)
        return {
            "id": f"batch_req_{key}",
            "custom_id": key,
            "response": {"status_code": 200, "request_id": "r", "body": _completion(body, digest, kind, self.teacher)},
            "error": None,
        }


def handler_of(chat: Any, stub: StubBatches) -> Any:
    """Return a handler that speaks the Batch API, and what `chat` speaks elsewhere."""

    class Handler(chat, BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # else each answer, sent in two parts, waits 40 ms for the client's kernel

        def send_header(self, name: str, value: str) -> None:
            is_page = name == "Content-Type" and stub.is_page
            super().send_header(name, "text/html" if is_page else value)

        def do_GET(self) -> None:
            self._answer("GET", b"")

        def do_DELETE(self) -> None:
            self._answer("DELETE", b"")

        def do_POST(self) -> None:
            if urlsplit(self.path).path == "/v1/chat/completions":
                super().do_POST()
            else:
                self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, method: str, raw: bytes) -> None:
            parts = urlsplit(self.path)
            _, _, what, *rest = parts.path.split("/")
            call = " ".join([method, what, *(["one"] if rest else []), *rest[1:]])
            with stub.lock:
                status, content = self._fault() or self._route(call, rest[0] if rest else "", raw, parts.query)
                stub.calls[call] += 1
            stub.watch(call)
            if status == 0:
                self.close_connection = True
                self.connection.close()
            else:
                stub.is_page = content == _PAGE
                self._send(status, content)

        def _fault(self) -> tuple[int, Any] | None:
            if self.headers["Authorization"] != f"Bearer {KEY}":
                key = self.headers["Authorization"].removeprefix("Bearer ")
                return 401, {"error": {"message": f"Incorrect API key provided: {key}"}}
            if not stub.has_batches:
                return 404, {"detail": "Not Found"}
            if stub.failing:
                stub.failing -= 1
                return 503, {"error": {"message": "down"}}
            if stub.garbage:
                stub.garbage -= 1
                return 200, _PAGE
            return None

        def _route(self, call: str, name: str, raw: bytes, query: str) -> tuple[int, Any]:
            if call == "POST files":
                return self._upload(raw)
            if call == "POST batches":
                return self._create(json.loads(raw))
            if call == "GET batches":
                return 200, self._list(parse_qs(query))
            if call == "GET files one content" and stub.missing:
                stub.missing -= 1
                name = ""
            found = stub.files.get(name) if "files" in call else stub.batches.get(name)
            if found is None:
                return 404, {"error": {"message": f"No such thing: {name}"}}
            if call == "DELETE files one":
                del stub.files[name]
                found = {"id": name, "object": "file", "deleted": True}
            elif call == "GET batches one":
                stub.advance(found)
                if found["status"] == "completed" and stub.late:
                    stub.late -= 1
                    found = found | {"output_file_id": None}
            return 200, found

        def _upload(self, raw: bytes) -> tuple[int, Any]:
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            form = email.message_from_bytes(head + raw, policy=email.policy.HTTP)
            fields = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
            if fields["purpose"].get_content().strip() != "batch":
                return 400, {"error": {"message": "not for batches", "param": "purpose"}}
            content = fields["file"].get_payload(decode=True)
            name = stub.store(content)
            return 200, {
                "id": name, "object": "file", "bytes": len(content), "created_at": 1, "purpose": "batch",
                "filename": fields["file"].get_filename(), "status": "processed",
            }  # fmt: skip

        def _create(self, body: dict[str, Any]) -> tuple[int, Any]:
            if body["input_file_id"] not in stub.files:
                return 400, {"error": {"message": "Cannot find the file", "param": "file_id"}}
            total = len(stub.files[body["input_file_id"]].splitlines())
            batch = {
                **body, "id": f"batch_{len(stub.batches)}", "object": "batch", "status": "validating", "created_at": 1,
                "request_counts": {"total": total, "completed": 0, "failed": 0}, "polls": 0,
            }  # fmt: skip
            stub.batches[batch["id"]] = batch
            if stub.unheard:
                stub.unheard -= 1
                return 0, None
            return 200, batch

        def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
            batches = list(stub.batches.values())[::-1]  # the newest first
            ids = [batch["id"] for batch in batches]
            start = ids.index(query["after"][0]) + 1 if "after" in query else 0
            stop = start + min(int(query.get("limit", ["20"])[0]), stub.page)
            page = batches[start:stop]
            return {
                "object": "list", "data": page, "has_more": stop < len(batches),
                "first_id": ids[start] if page else None, "last_id": page[-1]["id"] if page else None,
            }  # fmt: skip

    return Handler


@contextmanager
def serve_batches(**settings: Any) -> Iterator[StubBatches]:
    stub = StubBatches(**settings)
    with serve_stub(extend=lambda chat: handler_of(chat, stub), faults=stub.teacher.faults) as teacher:
        stub.teacher = teacher
        yield stub
