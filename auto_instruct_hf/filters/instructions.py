"""Rules for instructions: what wraps a whole task is removed; what cannot be mended is a fault."""

import re
from functools import cache

from ..core import any_of, plain, root_verb_and_object, run_of
from ..settings import FilterRule, FiltersSettings
from .inputs import is_placeholder
from .marks import find_text_fault
from .openers import begins_with, find_starts

_MAX_ROUNDS = 6
_BULLETS = (
    r"[-*+>\u2022\u2013\u2014\u2023\u2192\u279c\u27a4\u25ba\u25b6\u2705\u2713\u2714\u25cb\u25cf\u25aa\u25a0\u25a1]+"
    r"|#{1,6}"
)
_NUMBERS = r"#?[(\[]?\d{1,3}(?:\\?[.):\]]|\s[-\u2013\u2014](?=\s[A-Z]))"
_LETTERS = r"\(?[a-hA-H]\)|[a-h]\.(?=\s[A-Z])|\(?[ivx]{1,4}[.)]"
_LIST_MARK = re.compile(rf"(?:{_BULLETS}|{_NUMBERS}|{_LETTERS})\s+|\d{{1,2}}[.)](?=[A-Z])")
_TAGGED = re.compile(r"<([a-zA-Z][\w-]*)(?: [^<>]*)?>(.*)</\1>", re.DOTALL)
_WRAPPERS = (
    ('""', '""'), ('"', '"'), ("\u201c", "\u201d"), ("\u201e", "\u201c"), ("\u00ab", "\u00bb"), ("'", "'"),
    ("\u2018", "\u2019"), ("```", "```"), ("`", "`"), ("**", "**"), ("__", "__"), ("*", "*"), ("_", "_"),
    ("(", ")"), ("[", "]"), ("{", "}"),
)  # fmt: skip
_ITEM = re.compile(r"(?:^|\n|(?<=[.!?;:\"')\]]) )\s*(?:\*\*)?\(?(\d{1,2})[.)](?:\*\*)?\s+(?=\S)")
_BULLET = re.compile(r"^\s*[-*+\u2022\u25cf\u25aa]\s+(?=\S)", re.MULTILINE)
_SEPARATOR = re.compile(
    r"\n\s*(?:-{3,}|={3,}|\*{3,}|_{3,}|#{2,})\s*\n|\s(?:#{2,}|\|{2,})\s+(?=[A-Z])|\s?;;\s|[.?!] / (?=[A-Z])"
)
_GLUED = re.compile(r"[a-z]{3}[.?!](?=[A-Z][a-z]+ [a-z])")
_LEADING = re.compile(r"/\s|(?!\.[a-zA-Z]|[-+]?\d)[,.;:!?)\]}|\\%&*=>_\u2013\u2014\u2026-]")
_SENTENCE_END = re.compile(r"[.?!] |, then |and then ")
_SLOT = re.compile(r"\{\{?\s*[a-zA-Z_ ]{2,30}\s*\}?\}|\[[a-zA-Z_ ]{2,30}\]|<[a-zA-Z_]{2,30}>")
_LETTERED = re.compile(r"(?i)\(?a[.)]\s.*\s\(?b[.)]\s", re.DOTALL)
_DOTTED = re.compile(r"[\u2022\u25cf\u25aa\u25e6]\s.*\s[\u2022\u25cf\u25aa\u25e6]\s", re.DOTALL)
_QUOTED = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']+'(?!\w)")


def clean_instruction(text: str, filters: FiltersSettings) -> str:
    """Return an instruction without what wraps it: list marks, quotes, "Instruction:", tags, template tokens.

    Only what is around the whole text is removed, so the task stays as it was written. `filters` are loaded
    (`core.load_filters`).
    """
    text = text.strip()
    for _ in range(_MAX_ROUNDS):
        inner = _without_wrapper(text, filters)
        if inner == text or not any(map(str.isalnum, inner)):
            break
        text = inner
    return text


def find_instruction_fault(text: str, filters: FiltersSettings) -> FilterRule | None:
    """Return why an instruction is not usable, or None. `text` is as the teacher wrote it; `filters` are loaded."""
    text = text.strip()
    cleaned = clean_instruction(text, filters)
    if not cleaned:
        return None
    start = plain(cleaned)
    faults: tuple[tuple[bool, FilterRule], ...] = (
        (text[0] in "[{<" and is_placeholder(text, "", filters), "placeholder"),
        (has_slot(cleaned, filters), "template token"),
        (is_several_tasks(text, cleaned, filters), "several tasks"),
        (is_refused_instruction(start, filters), "refusal"),
        (is_announced_instruction(start, filters), "announcement"),
        (_LEADING.match(cleaned) is not None, "leading punctuation"),
        (needs_tools(start, filters.needs_web, filters), "needs a browser or a clock"),
        (needs_media(start, filters), "needs more than text"),
    )
    rules = [find_text_fault(cleaned, filters, has_turns=False), *(rule for is_fault, rule in faults if is_fault)]
    return next((rule for rule in rules if rule and rule not in filters.skip), None)


def is_several_tasks(text: str, cleaned: str, filters: FiltersSettings) -> bool:
    """Return whether several tasks, or a task with its output, were run together."""
    return (
        _has_list_from_start(text)
        or (text.startswith(('["', '{"')) and text.endswith(("]", "}")))
        or len(_heading_at_line(filters.headings).findall(text)) > 1
        or any_of(filters.several).search(text) is not None
        or _SEPARATOR.search(cleaned) is not None
        or _has_lines_of_tasks(cleaned, filters)
        or (_GLUED.search(cleaned) is not None and not _has_word(filters.code_words, plain(cleaned)))
    )


def _has_list_from_start(text: str) -> bool:
    """Return whether a text is a list from its first item, or goes on with an item 2 that has no item 1 before it."""
    numbers = [int(number) for number in _ITEM.findall(text)]
    if numbers:
        starts = text.lstrip('"\u201c*( ').startswith(str(numbers[0]))
        return len(numbers) > 1 if starts else numbers[0] > 1
    bullets = [match.start() for match in _BULLET.finditer(text)]
    columns = text.split(" | ")
    is_row = len(columns) > 1 and all(part[:1].isupper() and len(part.split()) > 2 for part in columns)
    is_marked = _LETTERED.match(text) or _DOTTED.match(text)
    return bool(is_marked) or is_row or (len(bullets) > 1 and bullets[0] == 0)


def _has_lines_of_tasks(text: str, filters: FiltersSettings) -> bool:
    """Return whether each line is a whole command or question that does not refer to the line before."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) < 2 or not all(line.endswith((".", "?", "!")) and len(line.split()) > 2 for line in lines):
        return False
    if any(_has_word(filters.continues, plain(line)) for line in lines[1:]):
        return False
    return all(root_verb_and_object(line)[0] and re.match(r"[A-Z][a-z]+ ", line) for line in lines)


def _has_word(expressions: tuple[str, ...], text: str) -> bool:
    return any_of(expressions, whole_words=True).search(text) is not None


def has_slot(text: str, filters: FiltersSettings) -> bool:
    """Return whether a template was not filled in: `{topic}`, `[topic]` or `<topic>`, outside quotes."""
    if not _SLOT.search(text) or _has_word((*filters.token_words, *filters.code_words), plain(text)):
        return False
    return _SLOT.search(_QUOTED.sub("", text)) is not None


def is_refused_instruction(start: str, filters: FiltersSettings) -> bool:
    """Return whether the teacher refused instead of writing an instruction.

    After an opener such as "I'm sorry", or in one sentence: people too say what they cannot do before they ask.
    """
    starts = find_starts(start, filters.openers)
    is_alone = len(starts) > 1 or not re.search(r"[.!?;] \w", start)
    return is_alone and begins_with(start, starts, filters.refusals)


def is_announced_instruction(start: str, filters: FiltersSettings) -> bool:
    """Return whether a text announces instructions, or answers a request with "Sure!" first."""
    starts = find_starts(start, filters.openers)
    found = any_of(filters.announcements).match(start)
    if found and start[found.end() : found.end() + 1] == "!":
        return True
    pattern = run_of((*filters.openers, *filters.announcements))
    return begins_with(start, starts, filters.announcements) and pattern.fullmatch(start) is not None


def needs_tools(start: str, expressions: tuple[str, ...], filters: FiltersSettings) -> bool:
    """Return whether a sentence of an instruction (as plain text) asks for what one of the expressions names."""
    text = _QUOTED.sub('""', start)
    pattern = any_of(expressions)
    places = [0, *(found.end() for found in _SENTENCE_END.finditer(text))]
    return any(pattern.match(text, _end_of_polite(filters.polite, text, at)) for at in places)


def _end_of_polite(polite: tuple[str, ...], text: str, at: int) -> int:
    while (found := any_of(polite, whole_words=True).match(text, at)) and found.end() > at:
        at = len(text) - len(text[found.end() :].lstrip(", "))
    return at


def needs_media(start: str, filters: FiltersSettings) -> bool:
    """Return whether an instruction asks to see, make or hand over images, sounds or files, or to go somewhere."""
    asks = any_of(filters.shows_media).search(start) or needs_tools(start, filters.needs_media, filters)
    return bool(asks) and not _has_word(filters.code_words, start)


@cache
def _heading(expressions: tuple[str, ...]) -> re.Pattern[str]:
    number = r"(?: ?(?:no\.?|number|#)? ?(?:\d{1,3}|[A-Z]))"
    after = r"[*_\])>\"]{0,3}"
    end = rf"(?:{number}?{after}\s?:|{number}{after}\s?[.)]|{number}?{after}\s[\u2013\u2014-](?=\s))"
    return re.compile(rf"[*_#\[(<\"\s]{{0,4}}(?:{any_of(expressions).pattern}){end}[*_\s]*", re.IGNORECASE)


@cache
def _heading_at_line(expressions: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?:^|\n|(?<=[.!?] ))(?:{_heading(expressions).pattern})", re.IGNORECASE)


@cache
def _edge_tag(expressions: tuple[str, ...]) -> re.Pattern[str]:
    tag = rf"[<\[]/?(?:{any_of(expressions).pattern}|start|end|s)\s?\d{{0,3}}/?[>\]]"
    return re.compile(rf"^{tag}\s*|\s*{tag}$", re.IGNORECASE)


def _without_wrapper(text: str, filters: FiltersSettings) -> str:
    """Return a text less one layer of wrapping."""
    for found in any_of(filters.tokens).finditer(text):
        if found.start() == 0 or found.end() == len(text):
            return (text[: found.start()] + text[found.end() :]).strip()
    tagged = _TAGGED.fullmatch(text)
    if tagged and f"<{tagged[1]}>" not in tagged[2]:
        return tagged[2].strip()
    if filters.headings:
        text = _edge_tag(filters.headings).sub("", text)
        heading = _heading(filters.headings).match(text)
        if heading and not text.endswith(":"):  # "Question: ... Answer:" is a task as a whole
            return text[heading.end() :].strip()
    mark = _LIST_MARK.match(text)
    if mark:
        return text[mark.end() :].strip()
    return _without_quotes(text).strip()


def _without_quotes(text: str) -> str:
    for first, last in _WRAPPERS:
        size = len(first)
        inner = text[size:-size]
        if not inner or not text.startswith(first) or not text.endswith(last):
            continue
        # An apostrophe may stand inside; any other mark inside means that the outer ones are no pair.
        marks = (" '", "' ") if first == "'" else (first, last)
        if not any(mark in inner for mark in marks):
            return inner
    return text.strip('"') if text.count('"') == 1 else text
