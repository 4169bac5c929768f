"""Parts of an output that its task needs: list items, lines of verse, sentences. English only."""

import re
from collections.abc import Iterator

from .limits import ITEM, NUMBER, parse_number

Span = tuple[int, int]
CODE = re.compile(r"```|\bdef \w+\(|\bfunction\b.*\(|=>|;\n|\bSELECT\b|\bassert\b")
FIGURE = re.compile(r"(?<![\w.,/:-])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w|[/:.,-]\d)")
"""A number in digits that stands alone: no part of a date, a time, a range or a name."""
COMPUTED = re.compile(
    r"\b(?:how (?:many|much|long|far|old)|calculate|compute|convert|work out|probability|percentages?|least number"
    r"|what (?:is|are) the (?:total|sum|area|mean|median|average|cost)|what date|fractions?|cost)\b",
    re.IGNORECASE,
)
"""Tasks whose answer is computed."""
_FAITHFUL = re.compile(
    r"^(?:translate|convert|reformat|transcribe|proofread|sort|alphabeti[sz]e)\b|\b(?:abbreviations|reported speech)\b"
    r"|\b(?:correct|fix)\b.*\b(?:punctuation|spelling|grammar)\b|\bchronological\b|\balphabetical",
    re.IGNORECASE,
)
"""Tasks whose output holds all of the input."""
_WHOLE = re.compile(r"\b(?:all|every)\b", re.IGNORECASE)
_STEPS = re.compile(r"\b(?:steps?|how|order|procedure|number(?:ed)?|timeline|each of|all|every)\b", re.IGNORECASE)
"""Tasks whose list lacks something without one of its items."""
_UNITS = re.compile(
    r"words|letters|characters|syllables|sentences|lines|paragraphs|columns|seconds|minutes|hours|days|nights|weeks|months"
    r"|years|times|sides|parts|cents|dollars|pounds|euros|degrees|less|its|this|his|hers|yours|is|as|was|has|does"
)
_BOUND = r"(?:at (?:most|least)|up to|(?:no )?(?:more|fewer|less) than|under|over|maximum of|minimum of)"
_ASKED = re.compile(
    rf"(?P<bound>{_BOUND} )?\b(?P<number>{NUMBER})"
    r"(?:(?: [a-z'\u2019-]+,?){0,2}? (?P<noun>[a-z]+s)|-(?P<one>[a-z]+)| in (?:total|all))\b"
    r"(?P<more> or (?:fewer|more))?",
    re.IGNORECASE,
)
_SENTENCES = re.compile(
    rf"\b(?:in|exactly|write) (?:exactly )?(?P<number>{NUMBER}) (?:[a-z]+ )?sentences\b", re.IGNORECASE
)
_LINES = re.compile(rf"\b(?P<number>{NUMBER})[- ]lines?\b", re.IGNORECASE)
_VERSE = {"couplet": 2, "haiku": 3, "quatrain": 4, "limerick": 5, "sonnet": 14}
_STOP = re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]*]*\s+(?=[\"'\u201c\u2018(\[*]*[A-Z0-9£$€])")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|No|vs|etc|e\.g|i\.e|a\.m|p\.m)|\b[A-Z])\.$")


def shorten(instruction: str, given: str, output: str) -> list[str]:
    """Return the outputs that lack one part which the task needs; [] where it needs none for sure.

    Needed are: each of as many items, lines or sentences as the instruction asks for; a middle item of numbered steps,
    whose numbers then have a gap; each part where the output holds all of the input `given`, as in a translation; and
    the last sentence if the task is a calculation and its result is only there.
    """
    if len(items := list_items(output)) > 1:
        if len(items) in _list_asked(instruction):
            return [_renumber(_cut(output, span)) for span in items]
        is_numbered = _read_marks(output, items) == list(range(1, len(items) + 1))
        if len(items) > 2 and is_numbered and _STEPS.search(instruction):
            return [_cut(output, span) for span in items[1:-1]]
        is_whole = given and (_FAITHFUL.search(instruction) or _WHOLE.search(instruction))
        return [_cut(output, span) for span in items] if is_whole else []
    lines = [match.span() for match in re.finditer(r"^.*\S.*(?:\n|$)", output, re.MULTILINE)]
    is_verse = len(lines) > 1 and len(lines) in _list_lines(instruction)
    return [_cut(output, span) for span in (lines if is_verse else _list_needed(instruction, given, output))]


def _list_needed(instruction: str, given: str, output: str) -> list[Span]:
    """Return the places of the sentences that the task needs."""
    sentences = list(_list_sentences(output))
    if len(sentences) > 1 and len(sentences) in _list_numbers(_SENTENCES, instruction):
        return sentences
    if len(sentences) > 2 and given and _FAITHFUL.search(instruction):
        return sentences[1:]
    if len(sentences) < 2 or not COMPUTED.search(instruction):
        return []
    last = sentences[-1]
    before = {match[0] for match in FIGURE.finditer(output, 0, last[0])}
    is_result = output[last[0]] != "(" and any(match[0] not in before for match in FIGURE.finditer(output, *last))
    return [last] if is_result else []


def list_items(output: str) -> list[Span]:
    """Return the places of the items of the only list in an output, or of the rows of its table; [] without one.

    Items inside items belong to them.
    """
    starts = [match.start() for match in ITEM.finditer(output)]
    if starts:
        indents = [len(output[start:]) - len(output[start:].lstrip(" \t")) for start in starts]
        starts = [start for start, indent in zip(starts, indents, strict=True) if indent == min(indents)]
        ends = [_find_end(output, start, end) for start, end in zip(starts, [*starts[1:], len(output)], strict=True)]
        return list(zip(starts, ends, strict=True))
    rows = [match.span() for match in re.finditer(r"^\|.*\|[ \t]*(?:\n|$)", output, re.MULTILINE)]
    return rows[2:] if len(rows) > 3 else []


def _find_end(output: str, start: int, end: int) -> int:
    """Return where an item ends: at a blank line that no indented one follows, or at the next item."""
    blank = re.compile(r"\n[ \t]*\n(?![ \t])").search(output, start, end)
    return blank.start() + 1 if blank else end


def _read_marks(output: str, items: list[Span]) -> list[int]:
    found = (re.match(r"[ \t]*(\d+)[.)]", output[start:end]) for start, end in items)
    return [int(match[1]) if match else 0 for match in found]


def _renumber(output: str) -> str:
    """Number the items of a list again from the number of the first, so that a dropped one leaves no gap."""
    items = list_items(output)
    marks = _read_marks(output, items)
    if not marks or marks[0] not in (1, 2):
        return output
    for (start, _), mark, value in reversed(list(zip(items, marks, range(1, len(items) + 1), strict=True))):
        output = output[:start] + output[start:].replace(str(mark), str(value), 1)
    return output


def _list_asked(instruction: str) -> set[int]:
    """Return the numbers of things that an instruction asks for: "five questions", "a three-row table"."""
    found = set()
    for match in _ASKED.finditer(instruction):
        noun = (match["noun"] or f"{match['one'] or ''}s").lower()
        if not _UNITS.fullmatch(noun) and not match["bound"] and not match["more"]:
            found.add(parse_number(match["number"]))
    return found


def _list_lines(instruction: str) -> set[int]:
    words = set(re.findall(r"[a-z]+", instruction.lower()))
    return _list_numbers(_LINES, instruction) | {size for name, size in _VERSE.items() if name in words}


def _list_numbers(pattern: re.Pattern[str], text: str) -> set[int]:
    return {parse_number(match["number"]) for match in pattern.finditer(text)}


def _list_sentences(output: str) -> Iterator[Span]:
    """Yield the places of the sentences of each paragraph, each with the white space after it."""
    for paragraph in re.finditer(r"[^\n]*\S[^\n]*\n*", output):
        start, text = paragraph.start(), paragraph[0]
        for stop in _STOP.finditer(text):
            if not _ABBREVIATION.search(text[: stop.start() + 1]):
                yield start, paragraph.start() + stop.end()
                start = paragraph.start() + stop.end()
        yield start, paragraph.end()


def _cut(text: str, span: Span) -> str:
    return (text[: span[0]] + text[span[1] :]).strip()
