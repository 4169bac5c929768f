"""Limits that an instruction sets for its answer, and counts of an answer: models count words badly, programs exactly.

Limits are recognised in English.
"""

import re
from dataclasses import dataclass

from ...core import count_words

_UNITS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen",
)  # fmt: skip
_TENS = ("ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {name: value for value, name in enumerate(_UNITS, 1)} | {name: 10 * ten for ten, name in enumerate(_TENS, 1)}
NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}})+|\d+|{'|'.join(_VALUES)})"
"""Figures, and the words from one to fifteen and for tens."""
_UPPER = r"at most|no more than|not more than|no longer than|under|below|fewer than|less than|up to|within|maximum of"
_LOWER = r"at least|no fewer than|no less than|not less than|more than|over|minimum of"
_NEAR = r"exactly|precisely|about|around|roughly|approximately|between|of|in|(?<!\d )to|using|write|use|a|is|be"
_WORD_LIMIT = re.compile(
    rf"\b(?P<before>{_UPPER}|{_LOWER}|{_NEAR}) (?P<low>{NUMBER})"
    rf"(?:(?: (?:to|and|or) | ?[-\u2013] ?)(?P<high>{NUMBER}))?[- ]words?\b"
    r"(?P<after>,? (?:or (?:fewer|less|under|more)|at (?:the )?most|at least|maximum))?",
    re.IGNORECASE,
)
_PER_PART = re.compile(r"\b(?:each|every|per|apiece|sentences?)\b", re.IGNORECASE)
_MARKS = re.compile(r"(?<!\S)[^\w\s]+(?!\S)")
ITEM = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•\u2013])[ \t]+(?=\S)", re.MULTILINE)
"""The mark of a list item, at the start of its line."""
_MEASURED = re.compile(
    rf"\b{NUMBER}(?:(?: to | and | or | ?[-\u2013] ?){NUMBER})?[- ](words?|characters?|lines?)\b", re.I
)
_ITEMS = re.compile(rf"\b{NUMBER}\b(?![- ](?:words?|characters?|lines?)\b)", re.IGNORECASE)


@dataclass(frozen=True)
class WordLimit:
    """The limit of words for a whole answer; `low` and `high` are None where it has no such bound.

    `spans` are the places of its numbers in the instruction, with their values.
    """

    low: int | None
    high: int | None
    spans: tuple[tuple[int, int, int], ...]


def parse_number(text: str) -> int:
    """Return the value of a match of NUMBER."""
    return _VALUES.get(text.lower()) or int(text.replace(",", ""))


def count_answer_words(text: str) -> int:
    """Count words; marks that stand alone, such as bullets, dashes and the bars of a table, are none."""
    return count_words(_MARKS.sub(" ", text))


def find_word_limit(instruction: str) -> WordLimit | None:
    """Return the limit of words, None if there is none, several, or one for the parts of an answer."""
    found = list(_WORD_LIMIT.finditer(instruction))
    if len(found) != 1 or _PER_PART.search(instruction):
        return None
    match = found[0]
    spans = [(*match.span(name), parse_number(match[name])) for name in ("low", "high") if match[name]]
    low, high = spans[0][2], spans[-1][2]
    after = (match["after"] or "").lower()
    if re.fullmatch(_UPPER, match["before"], re.IGNORECASE) or (after and not after.endswith(("more", "least"))):
        return WordLimit(None, high, tuple(spans))
    if re.fullmatch(_LOWER, match["before"], re.IGNORECASE) or after:
        return WordLimit(low, None, tuple(spans))
    return WordLimit(low, high, tuple(spans))


def state_counts(instruction: str, strategy: str, output: str) -> str:
    """Return what an answer has of what its task limits, such as "47 words, 5 list items"; "" without a limit."""
    task = f"{instruction}\n{strategy}"
    units = {match[1].lower().rstrip("s") for match in _MEASURED.finditer(task)}
    counts = {
        "word": count_answer_words(output),
        "character": len(output),
        "line": sum(bool(line.strip()) for line in output.splitlines()),
    }
    stated = [f"{count:,} {unit}{'' if count == 1 else 's'}" for unit, count in counts.items() if unit in units]
    items = len(ITEM.findall(output))
    if items > 1 and _ITEMS.search(task):
        stated.append(f"{items:,} list items")
    return ", ".join(stated)
