"""What counts as a token."""

import re
from collections.abc import Callable, Iterable

from ..core import UNSPACED, normalise

_TOKEN = re.compile(r"[a-z0-9]+")
_UNICODE_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")


def tokenize(text: str) -> list[str]:
    """Return the tokens `rouge_score` sees: runs of a-z and 0-9 in the lower-cased text. Other scripts have none."""
    return _TOKEN.findall(text.lower())


def tokenize_unicode(text: str) -> list[str]:
    """Return the words of any script, case folded; in one written without spaces, each character."""
    return _UNICODE_TOKEN.findall(normalise(text))


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"rouge": tokenize, "unicode": tokenize_unicode}


def choose_tokenizer(texts: Iterable[str]) -> str:
    """Return `unicode` where most letters of the texts are not a-z, else `rouge`."""
    letters = others = 0
    for text in texts:
        found = [letter.isascii() for letter in text if letter.isalpha()]
        letters, others = letters + len(found), others + found.count(False)
    return "unicode" if others > letters / 2 else "rouge"
