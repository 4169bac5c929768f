"""What two sets of texts have in common: ROUGE-L between all pairs of them, or a run of words that both hold.

ROUGE-L is that of `novelty`, computed exactly. A pair can reach a similarity only if its lengths are near enough to
each other and enough of its words are the same: the first is told by sorting, the second by a few bits a text, so that
few pairs are compared word by word.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist, cpdist

from .novelty import TOKENISERS, f1, tokenise_unicode

_BLOCK = 1024
_WORDS = 2
_ROUNDING = 1e-2  # of sums in float32, beside whole numbers
# Brown et al. 2020 (arXiv:2005.14165), appendix C: the shortest run that counts as an overlap has 8 words.
_SHORTEST_RUN = 8

BoolArray = npt.NDArray[np.bool_]
_IntArray = npt.NDArray[np.int64]
_FloatArray = npt.NDArray[np.float64]


def find_near(texts: Sequence[str], references: Sequence[str], max_similarity: float, tokeniser: str) -> BoolArray:
    """Find the texts that are near to a reference.

    Args:
        texts: Any texts.
        references: What they are compared with.
        max_similarity: ROUGE-L F1 above this is near. In (0, 1].
        tokeniser: A name in `novelty.TOKENISERS`.

    Returns:
        Whether each text is near to at least one reference.
    """
    found = np.zeros(len(texts), dtype=np.bool_)
    for rows, scores in _scan(texts, references, tokeniser, lambda: max_similarity):
        found[rows[scores > max_similarity]] = True
    return found


def find_highest(texts: Sequence[str], references: Sequence[str], tokeniser: str) -> float:
    """Return the highest ROUGE-L F1 of any text with any reference, exactly; 0 where none share a token."""
    highest = 0.0

    def known() -> float:
        return highest

    for _, scores in _scan(texts, references, tokeniser, known):
        highest = max(highest, float(scores.max(initial=0.0)))
    return highest


def find_shared_runs(texts: Sequence[str], references: Sequence[str], size: int) -> BoolArray:
    """Find the texts that share a run of words with a reference.

    The rule of Brown et al. 2020 (arXiv:2005.14165, section 4 and appendix C): `size` words in a row, or a whole
    reference that is shorter. One of fewer than 8 words must be the whole text as well (ours: a short question stands
    in many texts by chance). Words are runs of letters and digits of any script, case folded.

    Args:
        texts: Any texts.
        references: What they are compared with.
        size: Words in a run.

    Returns:
        Whether each text shares a run with at least one reference.
    """
    words = [tokenise_unicode(reference) for reference in references]
    whole = {tuple(one) for one in words if one}
    runs: dict[int, set[str]] = {}
    for one in words:
        length = min(len(one), size)
        if length >= min(_SHORTEST_RUN, size):
            runs.setdefault(length, set()).update(_runs(one, length))
    return np.array([_holds(tokenise_unicode(text), runs, whole) for text in texts], dtype=np.bool_)


def _holds(words: list[str], runs: dict[int, set[str]], whole: set[tuple[str, ...]]) -> bool:
    shares = any(not known.isdisjoint(_runs(words, length)) for length, known in runs.items())
    return shares or tuple(words) in whole


def _runs(words: list[str], length: int) -> Iterator[str]:
    return (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))


@dataclass(frozen=True)
class _Texts:
    """Texts as numbers, one a token, sorted by length, those without tokens left out."""

    tokens: list[list[int]]
    lengths: _IntArray
    rows: _IntArray
    """Where each text stood before."""
    signatures: npt.NDArray[np.uint64]
    """A row of two words a text: the 128 bits that its tokens set."""
    hidden: _IntArray
    """Tokens of each text less the bits that they set."""


def _scan(
    texts: Sequence[str], references: Sequence[str], tokeniser: str, floor: Callable[[], float]
) -> Iterator[tuple[_IntArray, _FloatArray]]:
    """Yield rows of texts with their similarities to references: all pairs above the floor, and few others."""
    codes: dict[str, int] = {}
    left, right = _encode(texts, tokeniser, codes), _encode(references, tokeniser, codes)
    for start in range(0, len(left.tokens), _BLOCK):
        here = slice(start, start + _BLOCK)
        lengths = left.lengths[here]
        column, end = 0, len(right.tokens)
        while column < end:
            # F1 is twice the common tokens over all tokens, and no more tokens are common than the shorter text has.
            ratio = floor() / (2 - floor())
            column = max(column, int(np.searchsorted(right.lengths, np.floor(lengths[0] * ratio))))
            end = int(np.searchsorted(right.lengths, np.ceil(lengths[-1] / ratio), side="right")) if ratio else end
            there = slice(column, min(column + _BLOCK, end))
            i, j, lcs = _common(left, here, right, there, floor())
            yield left.rows[start + i], f1(lcs, lengths[i], right.lengths[column + j])
            column += _BLOCK


def _common(
    left: _Texts, here: slice, right: _Texts, there: slice, floor: float
) -> tuple[_IntArray, _IntArray, _IntArray]:
    """Return the pairs of two blocks that may be above the floor, and how many tokens each has in common, in order."""
    shared = np.zeros((len(left.lengths[here]), len(right.lengths[there])), dtype=np.uint8)
    for word in range(left.signatures.shape[1]):
        shared += np.bitwise_count(left.signatures[here, None, word] & right.signatures[None, there, word])
    # A token in common sets a bit in common, or is one of those that its text's other tokens hide.
    least = (floor * left.lengths[here] / 2 - left.hidden[here] - _ROUNDING).astype(np.float32)
    i, j = np.nonzero(shared > least[:, None] + (floor * right.lengths[None, there] / 2).astype(np.float32))
    ones, others = left.tokens[here], right.tokens[there]
    if len(i) > shared.size / 8:  # a whole block costs less than so many pairs one by one
        lcs = cdist(ones, others, scorer=LCSseq.similarity, dtype=np.int32, workers=-1)[i, j]
    else:
        lcs = cpdist([ones[n] for n in i], [others[n] for n in j], scorer=LCSseq.similarity, dtype=np.int32, workers=-1)
    return i, j, lcs.astype(np.int64)


def _encode(texts: Sequence[str], tokeniser: str, codes: dict[str, int]) -> _Texts:
    encoded = [[codes.setdefault(token, len(codes)) for token in TOKENISERS[tokeniser](text)] for text in texts]
    lengths = np.array([len(one) for one in encoded], dtype=np.int64)
    rows = np.argsort(lengths, kind="stable")
    rows = rows[lengths[rows] > 0]
    lengths, tokens = lengths[rows], [encoded[row] for row in rows]
    flat = np.fromiter((code for one in tokens for code in one), dtype=np.uint64, count=int(lengths.sum()))
    signatures = np.zeros((len(tokens), _WORDS), dtype=np.uint64)
    word, bit = flat // 64 % _WORDS, np.uint64(1) << (flat % 64)
    np.bitwise_or.at(signatures, (np.repeat(np.arange(len(tokens)), lengths), word), bit)
    hidden = lengths - np.bitwise_count(signatures).sum(axis=1, dtype=np.int64)
    return _Texts(tokens, lengths, rows, signatures, hidden)
