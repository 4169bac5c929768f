"""Rules for inputs."""

import re

from ..core import plain, run_of
from ..settings import FilterRule, FiltersSettings
from .marks import find_text_fault

# Characters: a placeholder is short, except for the printers' filler text.
_MAX_PLACEHOLDER = 120
_FILLER = "lorem ipsum"
_CURLY = str.maketrans("{}", "[]")
_FENCE = re.compile(r"```\w*")


def find_input_fault(given: str, instruction: str, filters: FiltersSettings) -> FilterRule | None:
    """Return why an input is broken, or None. `filters` are loaded (`core.load_filters`); "" is no fault."""
    if not given:
        return None
    rule = find_text_fault(given, filters, instruction)
    if not rule and is_placeholder(given, instruction, filters):
        rule = "placeholder"
    return None if rule in filters.skip else rule


def is_placeholder(text: str, known: str, filters: FiltersSettings) -> bool:
    """Return whether a text only holds the place of another, as "[Insert text here]" does, and `known` does not."""
    if text[: len(_FILLER)].casefold() == _FILLER:
        return not is_known(_FILLER, known)
    if len(text) > _MAX_PLACEHOLDER:
        return False
    start = plain(_FENCE.sub("", text))
    pattern = run_of(filters.placeholders)
    unified = start.translate(_CURLY)
    while unified.startswith("[[") and unified.endswith("]]"):
        unified = unified[1:-1]
    # Brackets count for some expressions only: try with them, then without.
    if not pattern.fullmatch(unified) and not pattern.fullmatch(unified.strip(" []()<>\"'")):
        return False
    return not is_known(start, known)


def is_known(start: str, known: str) -> bool:
    """Return whether the first two words of a plain text are in an instruction or input: the task is about them."""
    words = " ".join(start.strip(" .!?:;-[](){}<>\"'").split()[:2])
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", plain(known)) is not None
