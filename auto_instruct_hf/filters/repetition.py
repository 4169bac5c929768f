"""Find texts in which a model repeats itself without end."""

import re
import zlib
from collections import Counter

# Ours. Texts of people seldom compress to less; the rules below look closely at those that do.
_MAX_RATIO = 0.4
_MIN_CHARS = 40
_MAX_PERIOD = 40  # words
_MIN_COPIES = 5
_MIN_COPIES_OF_WORD = 12
_MIN_WORDS = 10
_LETTERS = re.compile(r"(\S{1,20}?)\1{14,}")
_RULE = re.compile(r"[-=_*#.~|+/\\:\d\u2500-\u259f]*")  # lines, tables, figures
_DIGITS = re.compile(r"(\d{1,4})\1{59,}")
_NUMBER = re.compile(r"\W*\d{1,3}[.)]")
_WORD = re.compile(r"\w+")
_LIST_MARK = re.compile(r"^\W*\d*[.):]?\s*")


def find_endless_repetition(text: str) -> str:
    """Return what a text repeats without end, "" if nothing.

    A word 12 times or some words five times in a row, a line in more than half of at least six lines, or a
    character 15 times in a row. Lines and figures may repeat (figures 60 times).
    """
    raw = text.encode()
    if len(text) < _MIN_CHARS or len(zlib.compress(raw, 1)) > _MAX_RATIO * len(raw) + 20:
        return ""
    words = [word for word in text.split() if not _NUMBER.fullmatch(word)]
    return _repeated_words(words) or _repeated_line(text) or _repeated_letters(text)


def is_asked_to_repeat(unit: str, known: str) -> bool:
    """Return whether an instruction or input has what is repeated: words from any of them on, or one word in quotes."""
    words = _WORD.findall(unit.casefold())
    if len(words) == 1:
        return re.search(rf"[\"'`\u2018\u201c]{re.escape(words[0])}[\"'`\u2019\u201d.!]", known.casefold()) is not None
    text = f" {' '.join(_WORD.findall(known.casefold()))} "
    return any(f" {' '.join(words[at:] + words[:at])} " in text for at in range(len(words)))


def _repeated_words(words: list[str]) -> str:
    for period in range(1, min(_MAX_PERIOD, len(words) // _MIN_COPIES) + 1):
        copies = _MIN_COPIES_OF_WORD if period == 1 else _MIN_COPIES
        needed, run = max(period * (copies - 1), _MIN_WORDS - period if period > 1 else 0), 0
        for at in range(period, len(words)):
            run = run + 1 if words[at] == words[at - period] else 0
            if run >= needed:
                unit = " ".join(words[at - period + 1 : at + 1])
                if any(map(str.isalpha, unit)):
                    return unit
                break
    return ""


def _repeated_line(text: str) -> str:
    lines = [_LIST_MARK.sub("", line).strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 6:
        return ""
    line, count = Counter(lines).most_common(1)[0]
    return line if count > len(lines) / 2 and len(line.split()) > 1 and any(map(str.isalpha, line)) else ""


def _repeated_letters(text: str) -> str:
    found = _DIGITS.search(text)
    if found:
        return found[1]
    return next((match[1] for match in _LETTERS.finditer(text) if not _RULE.fullmatch(match[1])), "")
