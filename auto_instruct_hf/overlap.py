"""What two sets of texts have in common: ROUGE-L between all pairs of them, or a run of words that both hold.

ROUGE-L is that of `novelty`, computed exactly. A pair can reach a similarity only if its lengths are near enough to
each other, so texts are sorted by length and most blocks of pairs are never looked at.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from .novelty import TOKENISERS, f1, tokenise_unicode

_ROWS, _COLUMNS = 512, 4096
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


def _scan(
    texts: Sequence[str], references: Sequence[str], tokeniser: str, floor: Callable[[], float]
) -> Iterator[tuple[_IntArray, _FloatArray]]:
    """Yield rows of texts with their similarities to references: all pairs above the floor, and few others."""
    codes: dict[str, int] = {}
    left, left_lengths, rows = _by_length(texts, tokeniser, codes)
    right, right_lengths, _ = _by_length(references, tokeniser, codes)
    for start in range(0, len(left), _ROWS):
        block, lengths = left[start : start + _ROWS], left_lengths[start : start + _ROWS]
        column, end = 0, len(right)
        while column < end:
            # F1 is twice the common tokens over all tokens, and no more tokens are common than the shorter text has.
            ratio = floor() / (2 - floor())
            column = max(column, int(np.searchsorted(right_lengths, np.floor(lengths[0] * ratio))))
            end = int(np.searchsorted(right_lengths, np.ceil(lengths[-1] / ratio), side="right")) if ratio else end
            others = right_lengths[column : min(column + _COLUMNS, end)]
            if not len(others):
                break
            least = int(floor() * (lengths[0] + others[0]) / 2 - 1e-6)
            lcs = cdist(
                block, right[column : column + len(others)],
                scorer=LCSseq.similarity, score_cutoff=least or None, dtype=np.int32, workers=-1,
            )  # fmt: skip
            i, j = np.nonzero(lcs)
            yield rows[start + i], f1(lcs[i, j].astype(np.int64), lengths[i], others[j])
            column += len(others)


def _by_length(
    texts: Sequence[str], tokeniser: str, codes: dict[str, int]
) -> tuple[list[list[int]], _IntArray, _IntArray]:
    """Return the texts as numbers, one a token, those without tokens left out: sorted by length, with their rows."""
    encoded = [[codes.setdefault(token, len(codes)) for token in TOKENISERS[tokeniser](text)] for text in texts]
    lengths = np.array([len(one) for one in encoded], dtype=np.int64)
    rows = np.argsort(lengths, kind="stable")
    rows = rows[lengths[rows] > 0]
    return [encoded[row] for row in rows], lengths[rows], rows
