"""Rules for outputs."""

import re
from collections.abc import Iterator

from ..core import any_of, normalise, plain, run_of, text_or_nothing
from ..settings import FilterRule, FiltersSettings
from .inputs import is_known, is_placeholder
from .marks import find_text_fault
from .openers import begins_with, find_starts
from .repetition import find_endless_repetition, is_asked_to_repeat

# Characters: refusals, announcements and thoughts are known by their beginning.
_START = 400
# Ours. What announces something is short; shorter texts that are held whole may be names, headings or sayings.
_MAX_ANNOUNCEMENT = 40
_MIN_INSTRUCTION = 6
_MIN_INPUT = 8
_MIN_STRATEGY = 5
_EMPTY_FENCE = re.compile(r"```\w*\s*```")
_MAX_MARKS = 6
_KEYWORDS = ("None", "nil", "null", "NULL")
# The JSON of a reply, where a text was asked for.
_REPLY = re.compile(r"(?:```(?:json)?\s*)?\{\s*\"(?:output|answers?|response|result|input|instruction)\"\s*:")
_MARKS_AT_END = " \n*_`\"'"


def find_output_fault(
    output: str, instruction: str, given: str, attribute: str, is_classification: bool, filters: FiltersSettings
) -> FilterRule | None:
    """Return why an output is broken, or None.

    Args:
        output: The output, not empty.
        instruction: Its instruction.
        given: Its input, "" if there is none.
        attribute: Its label or strategy, "" if there is none.
        is_classification: Whether the output is a label: then only rules for any text apply.
        filters: Loaded filters (`core.load_filters`).

    Returns:
        The first rule that the output breaks.
    """
    known = f"{instruction}\n{given}"
    rule = find_text_fault(output, filters, known, has_turns=is_classification)
    if rule and rule not in filters.skip:
        return rule
    if is_classification:
        return None
    rules = _find_faults(_EMPTY_FENCE.sub("", output).strip(), known, filters)
    echoes = _find_echoes(normalise(output), instruction, given, attribute, filters)
    return next((rule for found in (rules, echoes) for rule in found if rule not in filters.skip), None)


def _find_faults(text: str, known: str, filters: FiltersSettings) -> Iterator[FilterRule]:
    start = plain(text[:_START])
    starts = find_starts(start, filters.openers)
    if _REPLY.match(text) and not any_of(filters.code_words, whole_words=True).search(plain(known)):
        yield "template token"
    if holds_nothing(text, known, filters) or is_placeholder(text, known, filters):
        yield "placeholder"
    if begins_with(start, starts, (*filters.refusals, *filters.asks_back)):
        yield "refusal"
    if begins_with(start, starts, filters.announcements) and is_announcement(text, filters):
        yield "announcement"
    if begins_with(start, starts, filters.thoughts):
        yield "thought"
    if text.rstrip(_MARKS_AT_END).endswith((":", "\uff1a")):
        yield "ends with a colon"
    unit = find_endless_repetition(text)
    if unit and not is_asked_to_repeat(unit, known):
        yield "endless repetition"


def _find_echoes(
    output: str, instruction: str, given: str, attribute: str, filters: FiltersSettings
) -> Iterator[FilterRule]:
    """Find the instruction, the strategy and the input in a normalised output."""
    task, strategy = _core(instruction), _core(attribute)
    if _core(output) == task:
        yield "output equals the instruction"
    if len(task.split()) >= _MIN_INSTRUCTION and task in output:
        yield "output holds the instruction"
    if strategy and _core(output) == strategy:
        yield "output equals the strategy"
    if len(strategy.split()) >= _MIN_STRATEGY and strategy in output:
        yield "output holds the strategy"
    material = _core(given)
    if len(material.split()) >= _MIN_INPUT and material in output and not keeps_input(instruction, filters):
        yield "output holds the input"


def holds_nothing(text: str, known: str, filters: FiltersSettings) -> bool:
    """Return whether an output is words for "nothing", such as "N/A", and not an answer that the task names.

    Nor a line drawn with dashes, or a keyword of a programming language.
    """
    if text_or_nothing(text, filters) or (len(text) > _MAX_MARKS and not any(map(str.isalnum, text))):
        return False
    is_keyword = text in _KEYWORDS and any_of(filters.code_words, whole_words=True).search(plain(known)) is not None
    return not is_keyword and not is_known(plain(text), known)


def is_announcement(text: str, filters: FiltersSettings) -> bool:
    """Return whether each line of a text is an opener or announces an answer."""
    if len(text) >= _START or len(text.split()) > _MAX_ANNOUNCEMENT:
        return False
    pattern = run_of((*filters.openers, *filters.announcements))
    return all(pattern.fullmatch(plain(line)) for line in text.splitlines() if line.strip())


def keeps_input(instruction: str, filters: FiltersSettings) -> bool:
    """Return whether an instruction asks to edit, complete or repeat, so that its output may hold its input."""
    return any_of(filters.keeps_input, whole_words=True).search(plain(instruction)) is not None


def _core(text: str) -> str:
    """Return a normalised text without punctuation around it."""
    return normalise(text).strip(" .,:;!?\"'*_`#\u201c\u201d\u2018\u2019")
