"""Match the beginning of a text, after words such as "Sure!" or "I'm sorry, but"."""

import re

from ..core import any_of

_PUNCTUATION = re.compile(r"\W*")


def find_starts(text: str, openers: tuple[str, ...]) -> list[int]:
    """Return where a plain text may be taken to begin: at its first word, and after each of its openers."""
    starts = [_skip(text, 0)]
    while (found := any_of(openers).match(text, starts[-1])) and found.end() > starts[-1]:
        starts.append(_skip(text, found.end()))
    return starts


def begins_with(text: str, starts: list[int], expressions: tuple[str, ...]) -> bool:
    """Return whether one of the expressions matches at one of the starts."""
    pattern = any_of(expressions)
    return any(pattern.match(text, start) for start in starts)


def _skip(text: str, at: int) -> int:
    found = _PUNCTUATION.match(text, at)
    return found.end() if found else at
