"""Check the license and the language of a dataset against the Hub's lists, offline."""

import json
from difflib import get_close_matches
from importlib.resources import files

from ..errors import RecipeError


def check_terms(license: str | None, language: str | None, title: str | None = None) -> None:
    """Raise a RecipeError if a license is not on the Hub's list (November 2026), or a language is no ISO 639 code.

    The message names the most similar ids. Raise one too if a title was given in bytes that are not UTF-8, which no
    file can hold. None is valid.
    """
    if title and title.encode(errors="ignore").decode() != title:
        raise RecipeError(f"--title is {title!r}: write it in UTF-8")
    if license is not None:
        known = (files("auto_instruct_hf.publishing") / "licenses.txt").read_text(encoding="utf-8").split()
        _check("--license", license, known, "a license id of the Hub, such as cc-by-4.0, or `other`")
    if language is not None:
        # The list of the Hub's own client: about 8,000 codes.
        languages = json.loads((files("datasets.utils.resources") / "languages.json").read_text(encoding="utf-8"))
        _check("--language", language, list(languages), "an ISO 639 code, such as en")


def _check(option: str, value: str, known: list[str], expected: str) -> None:
    if value not in known:
        word = value.lower().replace(" ", "-")
        if option == "--language":
            near = [word[:2]] if word[:2] in known else []
        else:
            near = [one for one in known if one.startswith(word)][:3] or get_close_matches(word, known, cutoff=0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise RecipeError(f"{option} is {value!r}; it should be {expected}{hint}")
