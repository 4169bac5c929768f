"""A deterministic teacher over real HTTP: an OpenAI-compatible endpoint whose reply depends on the request alone.

Faults of a reply (broken JSON, cut off, refused) or a group (an answer missing or doubled) depend on the request:
another draw number may avoid them, a rerun does not. Faults of the connection (500, 429, dropped) occur once a request.
"""

import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from auto_instruct_hf.prompts.prompt import Prompt
from auto_instruct_hf.recipe import TeacherSettings
from auto_instruct_hf.teacher import Reply, Request, Teacher

KEY = "sk-stub-0123456789abcdef"
_WORDS = [a + b for a in ("ba", "ce", "di", "fo", "gu", "ha", "ki", "lo") for b in ("mer", "tan", "sil", "pod", "rix")]


@dataclass
class StubTeacher:
    """What the test sees: the address, and every request that was answered."""

    url: str = ""
    faults: dict[str, float] = field(default_factory=dict)
    """Share of requests by fault: error500, error429, dropped, broken, cut, refused, garbage, poison (always `poison`);
    missing, doubled: one of the answers to a group."""
    reports_usage: bool = True
    down: int = 0  # if not 0: the HTTP status of all answers
    hides_status: bool = False  # errors are sent with status 200, and their own status inside
    delay: float = 0.0  # seconds before each answer
    failing: int = 0  # how many of the next requests get a 503
    poison: int = 500  # the status that poisoned requests get
    unknown: tuple[str, ...] = ()
    """What the endpoint rejects: json_schema, json_object, temperature, max_tokens, seed, system; `ignores_schema`: it
    accepts any response_format and ignores it."""
    context: int = 0  # if not 0: a larger max_tokens is refused
    wraps: str = "{}"  # text around the JSON if the server does not enforce a schema
    refused: int = 0
    now: int = 0
    most_at_once: int = 0
    answered: list[dict[str, Any]] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)

    def bodies(self) -> list[str]:
        """Return the answered requests, each as canonical JSON."""
        return [json.dumps(body, sort_keys=True) for body in self.answered]


@contextmanager
def serve_stub(extend: Callable[[Any], Any] = lambda handler: handler, **settings: Any) -> Iterator[StubTeacher]:
    """Serve until the end of the block; `extend` may make another handler from the one that speaks chat."""
    stub = StubTeacher(**settings)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.endswith("/chat/completions"):
                self._send(404, {"error": {"message": "no such path"}})
                return
            body = json.loads(raw)
            digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
            with lock:
                stub.now += 1
                stub.most_at_once = max(stub.most_at_once, stub.now)
            time.sleep(stub.delay)
            with lock:
                stub.now -= 1
                stub.failing -= stub.failing > 0
                is_failing = stub.failing > 0
            if self.headers["Authorization"] != f"Bearer {KEY}":
                key = self.headers["Authorization"].removeprefix("Bearer ")
                self._send(401, {"error": {"message": f"Incorrect API key provided: {key}"}})
            elif stub.down or is_failing:
                self._send(stub.down or 503, {"error": {"message": "down"}})
            elif 0 < stub.context < body.get("max_tokens", 0):
                self._send(
                    400, {"error": {"message": f"Your request has more tokens than the limit of {stub.context}"}}
                )
            elif refused := next(filter(None, (_refuse(body, name) for name in stub.unknown)), None):
                stub.refused += 1
                self._send(400, {"error": refused})
            elif "response_format" in body and _pick(stub.faults, ("poison",), str(body["messages"])):
                self._send(stub.poison, {"error": {"message": "this one kills me"}})
            elif not self._strike(digest):
                fault = _pick(
                    stub.faults, ("broken", "cut", "reasoned", "refused", "garbage", "missing", "doubled"), digest
                )
                with lock:
                    stub.answered.append(body)
                self._send(200, b"<html>" if fault == "garbage" else _completion(body, digest, fault, stub))

        def _strike(self, digest: str) -> bool:
            """Cause a fault of the connection, the first time a request is seen."""
            fault = _pick(stub.faults, ("error500", "error429", "dropped"), "connection" + digest)
            with lock:
                if not fault or stub.struck[digest]:
                    return False
                stub.struck[digest] += 1
            if fault == "error500":
                self._send(500, {"error": {"message": "boom"}})
            elif fault == "error429":
                self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
            else:
                self.close_connection = True
                self.connection.close()
            return True

        def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            if stub.hides_status and status != 200:
                body["error"]["code"], status = status, 200
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a killed client hangs up in the middle

    server = Server(("127.0.0.1", 0), extend(Handler))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()


def _pick(faults: dict[str, float], names: tuple[str, ...], digest: str) -> str:
    draw = random.Random(digest).random()
    for name in names:
        draw -= faults.get(name, 0)
        if draw < 0:
            return name
    return ""


def _refuse(body: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return the error of a server that rejects a part of requests, if this one has it."""
    if body.get("response_format", {}).get("type") == name:
        return {"message": f"response_format of type '{name}' is not supported by this model", "param": None}
    if name == "system" and body["messages"][0]["role"] == "system":
        return {"message": "System role not supported"}
    if name not in body:
        return None
    instead = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
    return {"message": message, "param": name, "code": "unsupported_parameter"}


def _schema_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the reply, from wherever a request holds it."""
    form = body.get("response_format", {})
    if form.get("type") == "json_schema":
        return dict(form["json_schema"]["schema"])
    words = body["messages"][0]["content"].partition("this JSON schema:\n")[2]
    return dict(json.JSONDecoder().raw_decode(words)[0]) if words else {"properties": {}}


def _completion(body: dict[str, Any], digest: str, fault: str, stub: StubTeacher) -> dict[str, Any]:
    reply = reply_to(body, digest)
    if fault in ("missing", "doubled") and reply.get("answers"):
        place = random.Random(digest).randrange(len(reply["answers"]))
        reply["answers"][place : place + 1] = reply["answers"][place : place + 1] * (2 if fault == "doubled" else 0)
    text = json.dumps(reply)
    if body.get("response_format", {}).get("type") != "json_schema":
        text = stub.wraps.replace("{}", text)
    elif "ignores_schema" in stub.unknown:
        text = "Of course! Here is what you asked for."
    if fault in ("broken", "cut"):
        text = text[: len(text) // 2]
    is_used_up = fault == "reasoned" and {"max_tokens", "max_completion_tokens"} & set(body)
    if is_used_up:
        text = ""
    message = {"role": "assistant", "content": text}
    if fault == "refused":
        message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    return {
        "id": "stub",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {"index": 0, "finish_reason": "length" if fault == "cut" or is_used_up else "stop", "message": message}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if stub.reports_usage else None,
    }


def reply_to(body: dict[str, Any], digest: str) -> dict[str, Any]:
    """Return a valid reply, made from the names of the fields in the schema."""
    schema = _schema_of(body)
    text = body["messages"][-1]["content"]
    if "answers" not in schema["properties"]:
        return _answer(schema, text, digest)
    mark = re.escape(text.split(maxsplit=1)[0])  # the message begins with it
    # A number, the item's text, a number, ...
    before, *parts = re.split(rf"^{mark} (\d+).*(?:\n|\Z)", text, flags=re.MULTILINE)
    of_item = schema["properties"]["answers"]["items"]
    answers = []
    for number, own in zip(parts[::2], parts[1::2], strict=True):
        answers.append(_answer(of_item, own, digest + number, int(number), before))
        before += own
    return {"answers": answers}


def sign(instruction: str) -> str:
    """Return the first word of the stub's answers to an instruction, by which its judge knows a correct one."""
    return _WORDS[int(hashlib.sha256(instruction.encode()).hexdigest()[:8], 16) % len(_WORDS)]


def is_classification(text: str) -> bool:
    """Return the kind of an instruction of this stub, always the same; about half are of each kind."""
    return any(word.endswith("pod") for word in [word for word in text.split() if word in _WORDS][:3])


def _judge(text: str) -> dict[str, Any]:
    """Judge an instance by how this stub answers; only the output may be wrong."""
    texts = read_marked(text)
    output = texts["output"]
    is_right = output.startswith(sign(texts["instruction"])) or texts.get("input", "").endswith(f" {output}")
    digest = hashlib.sha256("\n".join(texts[name] for name in sorted(texts)).encode()).hexdigest()
    return {
        "reason": "It begins as it should." if is_right else "It is the answer to something else.",
        "valid_task": True,
        "input_fits": True,
        "strategy_valid": True,
        "output_follows_strategy": True,
        "output_correct": is_right,
        "confidence": 50 + 5 * (int(digest[:8], 16) % 11),
    }


def read_marked(text: str) -> dict[str, str]:
    """Return the texts between marks in a request to a judge, by name."""
    found = re.findall(r"^\[([\w ]+) (\w+)\]\n(.*?)\n\[end \2\]$", text, re.MULTILINE | re.DOTALL)
    return {name: words for name, _, words in found}


def _compare(text: str) -> dict[str, Any]:
    """Prefer the answer that is alphabetically last, in either order."""
    texts = read_marked(text)
    verdict = "first" if texts["first answer"] > texts["second answer"] else "second"
    return {"reason": "It comes later in the alphabet.", "verdict": verdict}


def make_habitual_judge(rows: Sequence[dict[str, str]], caught: dict[str, float]) -> Callable[[str], dict[str, Any]]:
    """Return a judge, in place of `_judge`, that approves `rows` and catches each kind of fault in them so often.

    It tells kinds by what differs from the nearest row: no two of the rows have the same instruction and input.
    """
    weights = {"instruction": 2, "input": 2, "strategy": 1, "output": 1}
    labels = {row["output"] for row in rows if row["is_classification"]}
    concerned = {"other input": "input_fits", "other strategy": "strategy_valid", "garbled instruction": "valid_task"}

    def find_kind(shown: dict[str, str]) -> str:
        own = [{**row, "strategy": "" if row["is_classification"] else row["attribute"]} for row in rows]
        row = min(own, key=lambda row: sum(row[name] != shown[name] and weights[name] for name in weights))
        changed = {name for name in shown if row[name] != shown[name]}
        if "output" in changed and shown["output"] in labels:
            return "swapped label" if row["output"] in labels else "other output"
        if "output" in changed and shown["output"] not in {row["output"] for row in rows}:
            old, new = (re.findall(r"\S+", text) for text in (row["output"], shown["output"]))
            return "changed figure" if len(old) == len(new) else "dropped sentence"
        if "instruction" in changed:
            is_garbled = sorted(row["instruction"].split()) == sorted(shown["instruction"].split())
            return "garbled instruction" if is_garbled else "broken limit"
        names = {"input": "other input", "strategy": "other strategy", "output": "other output"}
        return names[changed.pop()] if changed else ""

    def judge(text: str) -> dict[str, Any]:
        found = read_marked(text)
        kind = find_kind({"input": "", "strategy": "", **found})
        is_caught = kind and random.Random(str(found)).random() < caught[kind]
        refused = concerned.get(kind, "output_correct") if is_caught else ""
        names = ("valid_task", "input_fits", "strategy_valid", "output_follows_strategy", "output_correct")
        return {"reason": "So it is.", **{name: name != refused for name in names}, "confidence": 90}

    return judge


def _answer(schema: dict[str, Any], text: str, digest: str, number: int = 1, before: str = "") -> dict[str, Any]:
    draw = random.Random(digest)
    if "output_correct" in schema["properties"]:
        judged = _judge(text)
        return {name: judged[name] for name in schema["properties"]}
    if "verdict" in schema["properties"]:
        return _compare(text)
    is_clf = is_classification(text)
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if ("labels" in one["properties"]) == is_clf)
    properties = schema["properties"]
    words = [draw.choice(_WORDS) for _ in range(12)]
    answers: dict[str, Any] = {
        "number": number,
        "instructions": [" ".join(draw.choices(_WORDS, k=draw.randint(6, 12))) for _ in range(6)],
        "is_classification": is_clf,
        "labels": ["yes", "no", "perhaps"][: draw.randint(2, 3)],
        "input": draw.choice([" ".join(words[:6]), "None"]),
        "strategies": [" ".join(words[start : start + 3]) for start in range(0, 3 * draw.randint(0, 3), 3)],
        "output": " ".join(words),
        "topic": " ".join(words[:2]),
    }
    asked = re.findall(r"^(?:Instruction:|\S+ Instruction)\n(.*)$", before or text, re.MULTILINE)
    if "output" in properties and asked:
        answers["output"] = " ".join([sign(asked[-1]), *words[1:]])
    if "instances" in properties:
        pairs = [{"label": label, "input": f"{' '.join(words)} {label}"} for label in answers["labels"]]
        answers["instances"] = pairs
    if "strategies" not in properties:
        answers["input"] = " ".join([*words, text.partition("\n")[0]])
    return {name: answers[name] for name in properties}


# What tests ask of it.
PROMPT = Prompt(
    name="output",
    system="Carry out the instruction.",
    user="{{ instruction }}",
    schema={
        "type": "object",
        "properties": {"output": {"type": "string"}},
        "required": ["output"],
        "additionalProperties": False,
    },
    temperature=0.7,
    max_tokens=1200,
)


def make_requests(count: int) -> list[Request]:
    texts = [f"Say the number {number}." for number in range(count)]
    return [Request(PROMPT, PROMPT.messages(instruction=text)) for text in texts]


def open_teacher(stub: StubTeacher, folder: Path, **settings: Any) -> Teacher:
    chosen = TeacherSettings(**{"max_retries": 3, **settings})
    return Teacher("stub", base_url=stub.url, api_key=KEY, journal=folder / "journal.sqlite", settings=chosen)


def contents(replies: Sequence[Reply]) -> list[dict[str, Any] | None]:
    return [reply.content for reply in replies]
