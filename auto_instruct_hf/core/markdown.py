"""Escape untrusted text for Markdown: it is displayed literally."""

import html
import json
import re
from collections.abc import Mapping

from .texts import CONTROL, flatten

# Characters with a meaning inside a line, in GitHub's or the Hub's Markdown; `www.` and `://` make links.
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~$@^]|(?<=www)\.|:(?=//))", re.IGNORECASE)


def inline(text: object) -> str:
    """Escape text for a line or a table cell: one line, no Markdown, HTML, links or maths."""
    return _SPECIAL.sub(r"\\\1", html.escape(flatten(str(text)), quote=False))


def json_block(row: Mapping[str, object]) -> str:
    """Return a row as JSON in a fenced block that its content cannot close."""
    text = json.dumps(row, indent=2, ensure_ascii=False)
    text = CONTROL.sub(lambda found: found[0] if set(found[0]) == {"\n"} else " ", text)
    return fenced(text, "json")


def fenced(text: str, language: str) -> str:
    """Return text in a fenced block that its content cannot close."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"
