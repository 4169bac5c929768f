"""Text of unknown origin in a Markdown page: it is shown as it is, and does nothing."""

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from .texts import CONTROL, flatten

# What means something to Markdown, GitHub's or the Hub's, in the middle of a line; `www.` and `://` make links.
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$@^]|(?<=www)\.|:(?=//))", re.IGNORECASE)


def inline(text: object) -> str:
    """Return text for a line or a table cell: on one line, no Markdown, no HTML, no links, no maths."""
    return _SPECIAL.sub(r"\\\1", html.escape(flatten(str(text)), quote=False))


def json_block(row: Mapping[str, Any]) -> str:
    """Return a row as JSON in a fenced block that nothing in it can end."""
    text = json.dumps(row, indent=2, ensure_ascii=False)
    text = CONTROL.sub(lambda found: found[0] if set(found[0]) == {"\n"} else " ", text)
    return fenced(text, "json")


def fenced(text: str, language: str) -> str:
    """Return text in a fenced block that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
