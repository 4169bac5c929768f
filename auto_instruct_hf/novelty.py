"""ROUGE-L novelty: whether an instruction is new against everything admitted before it.

The measure is that of the `rouge_score` package (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"),
F1 without stemming, down to its floating point: at a tie with the threshold its rounding decides.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from .texts import UNSPACED, normalise

_TOKEN = re.compile(r"[a-z0-9]+")
_UNICODE_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_BLOCK = 512
# Tokens become characters; rapidfuzz is about twice as quick on low code points. Surrogates cannot stand in a string.
_FIRST_CODE, _SURROGATES, _NUM_SURROGATES = 1, 0xD800, 0x800

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def tokenise(text: str) -> list[str]:
    """Return the tokens `rouge_score` sees: runs of a-z and 0-9 in the lower-cased text. Other scripts have none."""
    return _TOKEN.findall(text.lower())


def tokenise_unicode(text: str) -> list[str]:
    """Return the words of any script, case folded; in one written without spaces, each character."""
    return _UNICODE_TOKEN.findall(normalise(text))


TOKENISERS: dict[str, Callable[[str], list[str]]] = {"rouge": tokenise, "unicode": tokenise_unicode}


def choose_tokeniser(texts: Iterable[str]) -> str:
    """Return `unicode` where most letters of the texts are not a-z, else `rouge`."""
    letters = [letter for text in texts for letter in text if letter.isalpha()]
    return "unicode" if sum(not letter.isascii() for letter in letters) > len(letters) / 2 else "rouge"


def f1(lcs: IntArray, candidate_lengths: IntArray, reference_lengths: IntArray) -> FloatArray:
    """Return ROUGE-L F1 by the very operations of `rouge_score`, so that the results are equal to the bit.

    Args:
        lcs: Lengths of the longest common subsequences, any shape.
        candidate_lengths: Tokens of the candidates, broadcast against `lcs`.
        reference_lengths: Tokens of the references, likewise.

    Returns:
        float64, 0 where nothing is shared.
    """
    precision = lcs / np.maximum(candidate_lengths, 1)
    recall = lcs / np.maximum(reference_lengths, 1)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros(total.shape), where=total > 0)


@dataclass(frozen=True)
class Verdict:
    """What the pool says of one text: admitted or not, its highest similarity, and the pool row it is nearest to."""

    is_novel: bool
    similarity: float
    nearest: int
    """Position in the pool; -1 where nothing shares a token."""


class NoveltyIndex:
    """A growing pool of texts.

    Args:
        max_similarity: A text whose ROUGE-L F1 with any earlier one is above this is not novel. In (0, 1].
        tokeniser: A name in TOKENISERS. Only `rouge` decides as `rouge_score` does.
    """

    def __init__(self, max_similarity: float = 0.7, tokeniser: str = "rouge") -> None:
        self.max_similarity = max_similarity
        self._encode = _Encoder(tokeniser)
        self._pool: list[str] = []

    def __len__(self) -> int:
        return len(self._pool)

    def add(self, texts: Sequence[str]) -> None:
        """Put texts in the pool whatever they resemble."""
        self._pool.extend(self._encode(text) for text in texts)

    def add_novel(self, texts: Sequence[str]) -> list[Verdict]:
        """Judge texts one after the other, admitting each novel one before the next is judged.

        Args:
            texts: The candidates.

        Returns:
            A verdict a text, in their order.
        """
        verdicts = []
        for start in range(0, len(texts), _BLOCK):
            verdicts += self._add_novel_block([self._encode(text) for text in texts[start : start + _BLOCK]])
        return verdicts

    def _add_novel_block(self, block: list[str]) -> list[Verdict]:
        best, nearest = self._against_pool(block)
        among = _similarities(block, block)
        verdicts: list[Verdict] = []
        admitted: list[int] = []
        first = len(self._pool)
        for row in range(len(block)):
            if admitted:
                closest = int(np.argmax(among[row, admitted]))
                if among[row, admitted[closest]] > best[row]:
                    best[row], nearest[row] = among[row, admitted[closest]], first + closest
            is_novel = not best[row] > self.max_similarity
            verdicts.append(Verdict(is_novel, float(best[row]), int(nearest[row]) if best[row] > 0 else -1))
            if is_novel:
                admitted.append(row)
        self._pool.extend(block[row] for row in admitted)
        return verdicts

    def _against_pool(self, block: list[str]) -> tuple[FloatArray, IntArray]:
        best, nearest = np.zeros(len(block)), np.zeros(len(block), dtype=np.int64)
        for start in range(0, len(self._pool), _BLOCK * 8):
            scores = _similarities(block, self._pool[start : start + _BLOCK * 8])
            column = scores.argmax(axis=1)
            value = scores[np.arange(len(block)), column]
            better = value > best
            best[better], nearest[better] = value[better], start + column[better]
        return best, nearest


def near_pairs(texts: Sequence[str], max_similarity: float, tokeniser: str = "rouge") -> list[tuple[int, int]]:
    """Find near copies.

    Args:
        texts: Any texts.
        max_similarity: In (0, 1].
        tokeniser: A name in TOKENISERS.

    Returns:
        The pairs of positions (i < j) with ROUGE-L F1 above `max_similarity`.
    """
    encoded = list(map(_Encoder(tokeniser), texts))
    pairs = []
    for start in range(0, len(texts), _BLOCK):
        block = encoded[start : start + _BLOCK]
        scores = _similarities(block, encoded[: start + len(block)])
        later, earlier = np.nonzero(scores > max_similarity)
        pairs += [(int(i), int(j)) for i, j in zip(earlier, later + start, strict=True) if i < j]
    return pairs


class _Encoder:
    """Texts as strings with one character a token, the same for equal tokens."""

    def __init__(self, tokeniser: str) -> None:
        self._tokenise = TOKENISERS[tokeniser]
        self._codes: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        return "".join(self._codes.setdefault(token, _character(len(self._codes))) for token in self._tokenise(text))


def _similarities(candidates: list[str], references: list[str]) -> FloatArray:
    lcs: npt.NDArray[Any] = cdist(candidates, references, scorer=LCSseq.similarity, dtype=np.int32, workers=-1)
    lengths = [np.array([len(text) for text in texts], dtype=np.int64) for texts in (candidates, references)]
    shared = np.where((lengths[0][:, None] > 0) & (lengths[1][None, :] > 0), lcs, 0).astype(np.int64)
    return f1(shared, lengths[0][:, None], lengths[1][None, :])


def _character(number: int) -> str:
    code = number + _FIRST_CODE
    return chr(code if code < _SURROGATES else code + _NUM_SURROGATES)
