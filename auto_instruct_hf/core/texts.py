"""What counts as the same text, as a word, as nothing."""

import hashlib
import re
import unicodedata

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, Chinese and Japanese.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED = re.compile(f"[{UNSPACED}]")
# Control characters, and those that turn the direction of a line.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
# What models write where nothing was the right answer.
_NOTHING = re.compile(
    r"[\s\"'(<\[]*(?:none|null|nil|n/a|no ?input|not (?:applicable|needed|required))[\s\"')>\].!]*", re.IGNORECASE
)


def normalise(text: str) -> str:
    """Return the form in which two instructions count as the same: NFKC, case folded, white space squeezed."""
    # Folding can undo the normal form, so it is taken twice (as Unicode's NFKC_Casefold does).
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).casefold().split())


def flatten(text: str) -> str:
    """Return text on one line, white space squeezed, without control characters."""
    return " ".join(CONTROL.sub(" ", text).split())


def make_id(*parts: str) -> str:
    """Return 16 hexadecimal digits that depend on all parts and on where each ends."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:16]


def instruction_id(instruction: str) -> str:
    """Return the id of an instruction: equal for texts that differ only in case, white space or Unicode form."""
    return make_id(normalise(instruction))


def count_words(text: str) -> int:
    """Return the number of words. In a script written without spaces, two characters count as one."""
    return len(_UNSPACED.sub(" ", text).split()) + -(-len(_UNSPACED.findall(text)) // 2)


def text_or_nothing(text: str | None) -> str:
    """Return the text without its margins; "" for null and for the words that models write instead of it."""
    return "" if text is None or _NOTHING.fullmatch(text) else text.strip()


def hide_folder(name: str) -> str:
    """Return the last part of a path on this machine; any other name as it is."""
    return re.split(r"[\\/]", name.rstrip("\\/"))[-1] if re.match(r"[/~.]|[A-Za-z]:[\\/]", name) else name
