"""What is asked of a teacher and what comes back, checked on arrival."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openai.types.chat import ChatCompletion

from ..prompts import Message, Prompt
from .journal import Entry

NOT_A_COMPLETION = "not a chat completion"


@dataclass(frozen=True)
class Request:
    """What to ask: messages made from a prompt, and a draw number that tells repeated requests apart."""

    prompt: Prompt
    messages: Sequence[Message]
    draw: int = 0
    items: int = 1
    """How many items are asked about: the longest reply is so many times the prompt's."""


@dataclass(frozen=True)
class Reply:
    """What came back: an object valid under the prompt's schema, or None with the reason in a few words."""

    content: dict[str, Any] | None
    error: str = ""


Ask = Callable[[Sequence[Request]], list[Reply]]
"""Answers requests in their order: `Teacher.ask`, or anything like it."""


def read_completion(completion: object, prompt: Prompt, seconds: float) -> Entry:
    """Check a completion: whole, not refused, JSON, valid under the schema that was sent.

    Args:
        completion: What the client returned, whatever the server made of it.
        prompt: The prompt it answers.
        seconds: How long it took.

    Returns:
        What the journal keeps: the text, the tokens, and what is wrong with it ("" where nothing is).
    """
    if not isinstance(completion, ChatCompletion) or not completion.choices or not completion.choices[0].message:
        return Entry("", NOT_A_COMPLETION, seconds=seconds)
    usage, choice = completion.usage, completion.choices[0]
    details = usage and usage.prompt_tokens_details
    # Half of a surrogate pair cannot be stored anywhere.
    text = (choice.message.refusal or choice.message.content or "").encode("utf-8", "replace").decode()
    return Entry(
        text=text,
        error=find_fault(text, choice.finish_reason, bool(choice.message.refusal), prompt),
        input_tokens=(usage and usage.prompt_tokens) or 0,
        cached_tokens=(details and details.cached_tokens) or 0,
        output_tokens=(usage and usage.completion_tokens) or 0,
        seconds=seconds,
    )


def find_fault(text: str, finish_reason: str | None, is_refusal: bool, prompt: Prompt) -> str:
    """Return why the text of a reply is not usable, or ""."""
    if is_refusal or finish_reason == "content_filter":
        return "refused"
    if finish_reason == "length":
        return "cut off"
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "not JSON"
    return "" if prompt.accepts(content) else "not as the schema asks"
