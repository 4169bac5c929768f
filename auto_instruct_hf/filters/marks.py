"""Rules for any text: template tokens, hidden reasoning, control characters, mojibake."""

import re
from collections.abc import Iterable

from ftfy.badness import is_bad

from ..core import any_of, plain
from ..settings import FilterRule, FiltersSettings

# Without tab, line feed and carriage return; with the overrides of text direction, the byte order mark and private use.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202d\u202e\ufeff\ufff9-\ufffb\ue000-\uf8ff]|(?<=[\x00-\u024f])\u200b"
)
# Text decoded in the wrong encoding has characters beyond ASCII side by side.
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]{2}")
_ESCAPED = re.compile(r"\\n\\n|(?<=[\w.:!?,;)])\\n(?=[A-Z0-9*-])")
_ESCAPED_LETTER = re.compile(r"(?<=[a-z])\\(?:u[0-9a-f]{4}|x[0-9a-f]{2})|\\u00[0-9a-f]{2}(?=[a-z])")
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{2,5}|#x[0-9a-f]{2,4});")
_TOKEN_HINT = re.compile(r"[<\[{#\uff5c\u25c1\u2581]")


def find_text_fault(
    text: str, filters: FiltersSettings, known: str = "", *, has_turns: bool = True
) -> FilterRule | None:
    """Return why no text should look so, or None.

    Args:
        text: An instruction, an input or an output.
        filters: Loaded filters (`core.load_filters`).
        known: The texts before it: a mark that is in them is a subject of the task.
        has_turns: Whether turns of a chat may stand in the text.

    Returns:
        The rule that the text breaks.
    """
    if _CONTROL.search(text):
        return "control characters"
    if is_mojibake(text, known):
        return "mojibake"
    if has_escapes(text, known, filters):
        return "escape sequences"
    if _TOKEN_HINT.search(text):
        if _has_new(text, filters.thought_tags, known):
            return "thought"
        if _has_new(text, filters.tokens, known):
            return "template token"
    return None if has_turns or not has_new_turn(text, filters, known) else "template token"


def has_new_turn(text: str, filters: FiltersSettings, known: str) -> bool:
    """Return whether a text goes on with a turn of a chat that the task does not ask for."""
    found = any_of(filters.turns).search(text) if ":" in text else None
    if not found:
        return False
    role = found.group().strip(" :\n").casefold()
    words = plain(known)
    return role not in words and not any_of(filters.turn_words, whole_words=True).search(words)


def is_mojibake(text: str, known: str = "") -> bool:
    """Return whether characters were decoded in a wrong encoding or replaced because they could not be decoded."""
    if text.isascii():
        return False
    return ("\ufffd" in text and "\ufffd" not in known) or bool(_BEYOND_ASCII.search(text) and is_bad(text))


def has_escapes(text: str, known: str, filters: FiltersSettings) -> bool:
    r"""Return whether characters are written as `\n`, `\u00e9` or `&amp;` in a text that is not code."""
    if ("\\" not in text and "&" not in text) or text[0] in "{[<" or "`" in text:
        return False
    found = _ESCAPED.findall(text) if "\n" not in text else []
    is_escaped = len(found) > 1 or "\\n\\n" in found or _ESCAPED_LETTER.search(text) or _ENTITY.search(text)
    return (
        bool(is_escaped) and "\\" not in known and not any_of(filters.code_words, whole_words=True).search(plain(known))
    )


def _has_new(text: str, expressions: tuple[str, ...], known: str) -> bool:
    return any(mark not in known for mark in _marks(any_of(expressions).finditer(text)))


def _marks(found: Iterable[re.Match[str]]) -> Iterable[str]:
    return (match.group().strip() for match in found)
