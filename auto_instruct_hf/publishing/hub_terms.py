"""Check the license and the language of a dataset against the Hub's lists, offline."""

import json
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from ..errors import RecipeError


def check_terms(license: str | None, language: str | None) -> None:
    """Check a license and a language as the Hub writes them.

    Args:
        license: An id of the Hub's list of licenses (November 2026), or None.
        language: An ISO 639 code, or None.

    Raises:
        RecipeError: If one is not in its list; the message names the most similar ids.
    """
    if license is not None:
        known = (files("auto_instruct_hf.publishing") / "licenses.txt").read_text(encoding="utf-8").split()
        _check("--license", license, known, "a license id of the Hub, such as cc-by-4.0, or `other`")
    if language is not None:
        _check("--language", language, _languages(), "an ISO 639 code, such as en")


def _check(option: str, value: str, known: list[str], wanted: str) -> None:
    if value not in known:
        word = value.lower().replace(" ", "-")
        if option == "--language":
            near = [word[:2]] if word[:2] in known else []
        else:
            near = [one for one in known if one.startswith(word)][:3] or get_close_matches(word, known, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise RecipeError(f"{option} is {value!r}; it should be {wanted}{hint}")


@cache
def _languages() -> list[str]:
    # The list of the Hub's own client: about 8,000 codes.
    return list(json.loads((files("datasets.utils.resources") / "languages.json").read_text(encoding="utf-8")))
