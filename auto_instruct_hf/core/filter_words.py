"""The word lists of the filters: those of the language, and those that the recipe adds."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import yaml

from ..settings import FILTER_LISTS, FiltersSettings

_MARKDOWN = str.maketrans(
    {**dict.fromkeys("*`~#"), "_": " ", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)
_PART = re.compile(r"\{([a-z_]+)\}")
_NEVER = re.compile(r"(?!)")


@cache
def load_filters(filters: FiltersSettings | None = None) -> FiltersSettings:
    """Return settings whose lists hold what the language has and what the recipe adds. None: the defaults."""
    filters = filters or FiltersSettings()
    files = [] if filters.language == "none" else ["any", filters.language]
    found = {name: getattr(filters, name) for name in FILTER_LISTS}
    for file in files:
        text = Path(__file__).with_name(f"{file}_filters.yaml").read_text(encoding="utf-8")
        for name, lines in _expand(yaml.safe_load(text)).items():
            found[name] = (*found[name], *lines)
    return replace(filters, language="none", **found)


def _expand(content: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the lists of a file, one expression a line, with `{name}` replaced by the part of that name."""
    parts: dict[str, str] = {}

    def fill(text: str) -> str:
        return _PART.sub(lambda match: parts.get(match[1], match[0]), text)

    for line in content.pop("parts", "").splitlines():
        name, _, expression = line.partition(": ")
        parts[name] = fill(expression)
    return {name: tuple(filter(None, fill(lines).splitlines())) for name, lines in content.items()}


@cache
def any_of(expressions: tuple[str, ...], *, whole_words: bool = False) -> re.Pattern[str]:
    """Return a pattern for any of the expressions; for none, one that never matches."""
    if not expressions:
        return _NEVER
    joined = "|".join(f"(?:{expression})" for expression in expressions)
    return re.compile(rf"\b(?:{joined})\b" if whole_words else joined)


@cache
def run_of(expressions: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern for any number of the expressions, with punctuation between them."""
    return re.compile(rf"\W*(?:(?:{any_of(expressions).pattern})\W*)+") if expressions else _NEVER


def plain(text: str) -> str:
    """Return text as the lists are matched: lower case, straight quotes, single spaces, without Markdown marks."""
    return " ".join(text.translate(_MARKDOWN).casefold().split())
