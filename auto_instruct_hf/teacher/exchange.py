"""Requests to a teacher and its replies, which are validated on arrival."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..prompts import Message, Prompt
from ..recipe import TeacherSettings
from .journal import Entry
from .reply_text import find_json, list_texts

NOT_A_COMPLETION = "not a chat completion"
NO_ANSWER = "no answer"
NOT_YET = "not answered yet"
NOT_JSON = "not JSON"
EMPTY = "empty reply"
CUT_OFF = "cut off"
REFUSED = "refused"
NOT_BY_SCHEMA = "not as the schema asks"
Body = dict[str, Any]
"""The JSON body of a chat completion request."""
_MAX_GROUP_ATTEMPTS = 2  # one bad row often spoils the reply for a whole group; one by one, the others succeed
_NEXT_ATTEMPT = 1_000_003  # added to the draw number per attempt: the draws of two attempts do not overlap
_SEEDS = 2**31  # servers differ in the number of bits of a seed
_MIN_RETRY_TEMPERATURE = 0.7  # at temperature 0 another draw would repeat the unusable reply
_MAX_TOKENS = 2**40  # a larger count is an error of the server, and may not fit SQLite
_MIN_BYTES_PER_TOKEN = 2  # hardly a tokenizer makes more tokens of a text, in any language


@dataclass(frozen=True)
class Request:
    """Messages made from a prompt, and a draw number that distinguishes repeated requests.

    `items` is the number of rows it is about; the reply is limited to that many times the prompt's `max_tokens`.
    """

    prompt: Prompt
    messages: Sequence[Message]
    draw: int = 0
    items: int = 1


@dataclass(frozen=True)
class Reply:
    """An object valid under the prompt's schema, or None with the reason in `error`.

    `attempts` counts the requests made; tokens and `seconds` are sums over them.
    """

    content: dict[str, Any] | None
    error: str = ""
    attempts: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


Ask = Callable[[Sequence[Request]], list[Reply]]
"""Answers requests in their order, such as `Teacher.ask`."""


def list_attempts(request: Request, model: str, settings: TeacherSettings) -> Iterator[tuple[str, Body]]:
    """Yield the journal key (a hash of the body) and the body of each attempt at a request.

    A later attempt has another draw number, and a higher temperature if that was below 0.7. `settings.max_attempts` is
    the number for a request about a single row; groups have at most two.
    """
    prompt, max_attempts = request.prompt, settings.max_attempts
    schema = {"name": prompt.name, "strict": True, "schema": prompt.schema}
    for attempt in range(min(max_attempts, _MAX_GROUP_ATTEMPTS) if request.items > 1 else max_attempts):
        body = {
            "model": model,
            "messages": request.messages,
            "temperature": prompt.temperature if attempt == 0 else max(prompt.temperature, _MIN_RETRY_TEMPERATURE),
            "max_tokens": prompt.max_tokens * request.items,
            "seed": (request.draw + attempt * _NEXT_ATTEMPT) % _SEEDS,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        if settings.reasoning_effort:
            body["reasoning_effort"] = settings.reasoning_effort
        yield hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(), body


def is_final(entry: Entry) -> bool:
    """Return whether another attempt is useless: the request has a usable reply, or gets none with any draw."""
    return not entry.error or entry.error.startswith((NO_ANSWER, NOT_YET))


def is_valid_entry(entry: Entry, prompt: Prompt) -> bool:
    """Return whether a reply that was recorded as usable is valid under its schema."""
    try:
        return bool(entry.error) or prompt.accepts(json.loads(entry.text))
    except (ValueError, RecursionError):
        return False


def read_completion(completion: object, prompt: Prompt, seconds: float, *, repair: bool = False) -> Entry:
    """Validate a response (JSON of any shape): a completion, not truncated, not refused, valid under the schema.

    With `repair`, for servers that do not enforce the schema, small faults and harmless differences are accepted.
    """
    match completion:
        case {"choices": [{"message": {**message}, **choice}, *_], **others}:
            pass
        case _:
            return Entry("", NOT_A_COMPLETION, seconds=seconds)
    refusal, reason = message.get("refusal"), choice.get("finish_reason")
    # A lone surrogate cannot be stored.
    texts = [text.encode("utf-8", "replace").decode() for text in ([str(refusal)] if refusal else list_texts(message))]
    raw, found = texts[0] if texts else "", None
    if not refusal and reason != "content_filter":
        valid = (find_json(text, prompt.accepts, prompt.schema, is_loose=repair) for text in texts)
        found = next((text for text in valid if text is not None), None)
    text = raw if found is None else found
    input_tokens = _count(others, "usage", "prompt_tokens")
    return Entry(
        text=text,
        error="" if found is not None else _find_fault(raw, reason, bool(refusal), prompt),
        input_tokens=input_tokens,
        cached_tokens=min(_count(others, "usage", "prompt_tokens_details", "cached_tokens"), input_tokens),
        output_tokens=_count(others, "usage", "completion_tokens"),
        seconds=seconds,
        raw=raw if text != raw else "",
    )


def estimate_usage(entry: Entry, input_bytes: int) -> Entry:
    """Return a reply with a cautious estimate of its tokens, where its endpoint did not count them.

    One token per two bytes of the request, `input_bytes`, and of the reply.
    """
    output_bytes = len((entry.raw or entry.text).encode())
    return replace(
        entry,
        input_tokens=entry.input_tokens or input_bytes // _MIN_BYTES_PER_TOKEN + 1,
        output_tokens=entry.output_tokens or output_bytes // _MIN_BYTES_PER_TOKEN + 1,
        is_estimated=True,
    )


def _find_fault(text: str, finish_reason: object, is_refusal: bool, prompt: Prompt) -> str:
    """Return why no text of a reply is usable."""
    if is_refusal or finish_reason == "content_filter":
        return REFUSED
    if finish_reason == "length":
        return CUT_OFF
    if not text.strip():
        return EMPTY
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON
    return "characters that are no text" if prompt.accepts(content) else NOT_BY_SCHEMA


def _count(value: object, *names: str) -> int:
    """Return a number of tokens at a path in a response of any shape; 0: there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    return value if type(value) is int and 0 <= value < _MAX_TOKENS else 0  # True is no number
