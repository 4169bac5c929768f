"""What is asked of a teacher and what comes back, checked on arrival."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..prompts import Message, Prompt
from .journal import Entry

NOT_A_COMPLETION = "not a chat completion"
NO_ANSWER = "no answer"
NOT_JSON = "not JSON"
REFUSED = "refused"
NOT_BY_SCHEMA = "not as the schema asks"
# What spoils a reply about several rows is often one of them: asked one by one, the others come through.
_ATTEMPTS_OF_A_GROUP = 2
# One attempt's draw numbers stay clear of another's.
_NEXT_ATTEMPT = 1_000_003
# Servers differ in how many bits a seed may have.
_SEEDS = 2**31
# At temperature 0 another draw would only repeat the reply that was not usable.
_TEMPERATURE_OF_RETRIES = 0.7
# More than that is no count of tokens, and no number that SQLite holds.
_MOST_TOKENS = 2**40
# Reasoning models behind some servers think aloud before they answer.
_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)


@dataclass(frozen=True)
class Request:
    """What to ask: messages made from a prompt, and a draw number that tells repeated requests apart.

    `items` is about how many rows it asks: the longest reply is so many times the prompt's `max_tokens`.
    """

    prompt: Prompt
    messages: Sequence[Message]
    draw: int = 0
    items: int = 1


@dataclass(frozen=True)
class Reply:
    """What came back: an object valid under the prompt's schema, or None with the reason in a few words.

    `attempts` counts the requests that it took; the tokens (counts) and `seconds` are sums over them.
    """

    content: dict[str, Any] | None
    error: str = ""
    attempts: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


def address(request: Request, model: str, attempt: int) -> tuple[str, dict[str, Any]]:
    """Return the body of one attempt at a request, and its key in the journal: a hash of the body.

    A later attempt differs in its draw number, and in its temperature where that was 0.
    """
    prompt = request.prompt
    schema = {"name": prompt.name, "strict": True, "schema": prompt.schema}
    body = {
        "model": model,
        "messages": request.messages,
        "temperature": prompt.temperature if attempt == 0 else max(prompt.temperature, _TEMPERATURE_OF_RETRIES),
        "max_tokens": prompt.max_tokens * request.items,
        "seed": (request.draw + attempt * _NEXT_ATTEMPT) % _SEEDS,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(), body


def count_attempts(request: Request, attempts: int) -> int:
    """Return how often a request is asked at most, where one about a single row is asked so often."""
    return min(attempts, _ATTEMPTS_OF_A_GROUP) if request.items > 1 else attempts


def is_final(entry: Entry) -> bool:
    """Return whether another attempt is of no use: a request is answered, or gets no answer whatever its draw."""
    return not entry.error or entry.error.startswith(NO_ANSWER)


Ask = Callable[[Sequence[Request]], list[Reply]]
"""Answers requests in their order: `Teacher.ask`, or anything like it."""


def read_completion(completion: object, prompt: Prompt, seconds: float, *, mend: bool = False) -> Entry:
    """Check a completion: whole, not refused, JSON, valid under the schema that was sent.

    Args:
        completion: The answer's JSON, whatever the server made of it.
        prompt: The prompt it answers.
        seconds: How long it took.
        mend: Whether the server was not held to JSON: then what a model writes around and instead of it is mended.

    Returns:
        What the journal keeps: the text, the tokens, and what is wrong with it ("" where nothing is).
    """
    choice = _first(completion, "choices")
    message = choice.get("message")
    if not isinstance(completion, Mapping) or not isinstance(message, Mapping):
        return Entry("", NOT_A_COMPLETION, seconds=seconds)
    refusal, content = message.get("refusal"), message.get("content")
    # Half of a surrogate pair cannot be stored anywhere.
    raw = str(refusal or content or "").encode("utf-8", "replace").decode()
    text = _mend(raw) if mend and not refusal else raw
    usage = completion.get("usage")
    tokens = usage if isinstance(usage, Mapping) else {}
    details = tokens.get("prompt_tokens_details")
    return Entry(
        text=text,
        error=find_fault(text, choice.get("finish_reason"), bool(refusal), prompt),
        input_tokens=_count(tokens, "prompt_tokens"),
        cached_tokens=_count(details if isinstance(details, Mapping) else {}, "cached_tokens"),
        output_tokens=_count(tokens, "completion_tokens"),
        seconds=seconds,
        raw=raw if text != raw else "",
    )


def find_fault(text: str, finish_reason: object, is_refusal: bool, prompt: Prompt) -> str:
    """Return why the text of a reply is not usable, or ""."""
    if is_refusal or finish_reason == "content_filter":
        return REFUSED
    if finish_reason == "length":
        return "cut off"
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return NOT_JSON
    return "" if prompt.accepts(content) else NOT_BY_SCHEMA


def _first(completion: object, name: str) -> Mapping[str, Any]:
    items = completion.get(name) if isinstance(completion, Mapping) else None
    return items[0] if isinstance(items, list) and items and isinstance(items[0], Mapping) else {}


def _count(tokens: Mapping[str, Any], name: str) -> int:
    value = tokens.get(name)
    return value if isinstance(value, int) and 0 <= value < _MOST_TOKENS else 0


def _mend(text: str) -> str:
    import json_repair  # only where a server needs it

    answer = _THOUGHT.sub("", text)
    try:
        json.loads(answer)
    except (ValueError, RecursionError):
        # Half an answer must not be taken for a whole one, and the library would close what is open.
        is_whole = answer.count("}") >= max(answer.count("{"), 1)
        return str(json_repair.repair_json(answer, ensure_ascii=False)) if is_whole else answer
    return answer
