"""Normalise texts, count words, derive ids."""

import hashlib
import re
import unicodedata

from ..settings import FiltersSettings
from .filter_words import load_filters, plain, run_of

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, Chinese, Japanese.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED = re.compile(f"[{UNSPACED}]")
# Control characters, including those that change the direction of text.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
# Longer texts are not searched for words for "nothing".
_MAX_NOTHING = 120
_ONLY_MARKS = re.compile(r"[\s\"'`\u2018\u2019\u201c\u201d()<>\[\]{}._\u2026\u2013\u2014-]*")


def normalise(text: str) -> str:
    """Normalise a text for comparison: NFKC, case folded, runs of white space replaced by one space."""
    # Case folding can break NFKC, so both are applied twice (as in Unicode's NFKC_Casefold).
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).casefold().split())


def flatten(text: str) -> str:
    """Return text on one line: single spaces, no control characters."""
    return " ".join(CONTROL.sub(" ", text).split())


def make_id(*parts: str) -> str:
    """Return a hash of the parts and their boundaries: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:16]


def instruction_id(instruction: str) -> str:
    """Return the id of an instruction: equal for texts that differ only in case, white space or Unicode form."""
    return make_id(normalise(instruction))


def count_words(text: str) -> int:
    """Return the number of words. In scripts written without spaces, two characters count as one word."""
    return len(_UNSPACED.sub(" ", text).split()) + -(-len(_UNSPACED.findall(text)) // 2)


def estimate_tokens(text: str) -> float:
    """Return a rough number of tokens: a quarter of the bytes, which is somewhat high for English."""
    return len(text.encode("utf-8", "replace")) / 4


def text_or_nothing(text: str | None, filters: FiltersSettings | None = None) -> str:
    """Strip a text; return "" for None, and for words such as "none", "**N/A**" or "(no input)" written instead."""
    text = (text or "").strip()
    if len(text) > _MAX_NOTHING:
        return text
    is_nothing = _ONLY_MARKS.fullmatch(text) or run_of(load_filters(filters).nothing).fullmatch(plain(text))
    return "" if is_nothing else text


def hide_tokens(text: str) -> str:
    """Return a message of a client of the Hub without tokens and query strings, which may be secret."""
    return re.sub(r"\?\S+", "", re.sub(r"(hf_|Bearer )[\w.-]+", r"\1***", text))


def hide_folder(name: str) -> str:
    """Return only the last part of a local path, to keep it out of published files; other names unchanged."""
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] if re.match(r"[/~.]|[A-Za-z]:[\\/]", name) else name
