"""What a server says about a failed request, in whatever shape it says so."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_KEYS = ("message", "detail", "error", "errors", "msg", "title", "description", "reason")
_MAX_LETTERS = 500
_MAX_DEPTH = 8


def read_words(body: object) -> str:
    """Return the words in the body of a response: JSON of any shape, or text; in one line of at most 500 letters."""
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str):
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(body)
    words = dict.fromkeys(" ".join(text.split()) for text in _list_words(body))
    return "; ".join(filter(None, words))[:_MAX_LETTERS]


def find_error(completion: object) -> tuple[int | None, str] | None:
    """Return status (None: not stated) and words of an error that came with status 200; None if there is none."""
    if not isinstance(completion, Mapping):
        return None
    choices = completion.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    for place in (completion, choice if isinstance(choice, Mapping) else {}):
        if error := place.get("error"):
            return _find_status(error) or _find_status(place), read_words(error)
    return None


def _list_words(body: object, depth: int = 0) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    elif depth < _MAX_DEPTH and isinstance(body, list):
        for one in body[:5]:
            yield from _list_words(one, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(body, Mapping):
        place = ".".join(str(part) for part in body["loc"]) if isinstance(body.get("loc"), list) else ""
        for key in _KEYS:
            if body.get(key):
                yield from (f"{place}: {text}" if place else text for text in _list_words(body[key], depth + 1))


def _find_status(error: Any) -> int | None:
    values = [str(error.get(key)) for key in ("code", "status", "status_code")] if isinstance(error, Mapping) else []
    return next((int(value) for value in values if re.fullmatch(r"[45]\d\d", value)), None)
