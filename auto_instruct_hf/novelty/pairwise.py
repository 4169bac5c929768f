"""The engine of small pools: compare all pairs with rapidfuzz, without compiling."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from ..core import FloatArray, IntArray
from .measure import admit_in_order, f1

_BLOCK = 512
_WIDE_BLOCK = 1024
_ABOUT = np.float32(1 - 1e-5)  # rounding errors in single precision are far smaller

_Single = npt.NDArray[np.float32]


class Pairwise:
    """A pool of texts, each a list of tokens."""

    def __init__(self) -> None:
        # Each token becomes a character, not a surrogate; rapidfuzz is about twice as fast on low code points.
        self._codes = defaultdict[str, str](map(chr, chain(range(1, 0xD800), range(0xE000, 0x110000))).__next__)
        self._pool: list[str] = []
        self.num_tokens = 0

    def __len__(self) -> int:
        return len(self._pool)

    def texts(self) -> list[list[str]]:
        """Return the tokens of each text of the pool."""
        tokens = {code: token for token, code in self._codes.items()}
        return [[tokens[code] for code in text] for text in self._pool]

    def add(self, texts: Sequence[list[str]]) -> None:
        """Add texts to the pool."""
        self._extend(self._encode(texts))

    def search(self, texts: Sequence[list[str]]) -> tuple[FloatArray, IntArray]:
        """Return for each text the highest similarity in the pool and its first position (-1 if it is 0)."""
        return self._against_pool(self._encode(texts))

    def add_novel(self, texts: Sequence[list[str]], max_similarity: float) -> tuple[FloatArray, IntArray]:
        """Admit texts one after the other; return what `search` would return just before each is admitted.

        Similarities of all pairs of the texts are held at once: give a few hundred.
        """
        encoded = self._encode(texts)
        best, nearest = self._against_pool(encoded)
        admitted = admit_in_order(best, nearest, _similarities(encoded, encoded), max_similarity, len(self._pool))
        self._extend([encoded[row] for row in admitted])
        return best, nearest

    def pairs(self, max_similarity: float) -> Iterator[IntArray]:
        """Yield arrays of pairs (earlier, later) of positions with a similarity above `max_similarity`."""
        for start in range(0, len(self._pool), _BLOCK):
            block = self._pool[start : start + _BLOCK]
            for other in range(0, start + len(block), _WIDE_BLOCK):
                scores = _similarities(block, self._pool[other : other + _WIDE_BLOCK])
                later, earlier = np.nonzero(scores > max_similarity)
                found = np.stack([earlier + other, later + start], axis=1)
                yield found[found[:, 0] < found[:, 1]]

    def _encode(self, texts: Sequence[list[str]]) -> list[str]:
        return ["".join([self._codes[token] for token in text]) for text in texts]

    def _extend(self, encoded: list[str]) -> None:
        self._pool.extend(encoded)
        self.num_tokens += sum(map(len, encoded))

    def _against_pool(self, block: list[str]) -> tuple[FloatArray, IntArray]:
        best, nearest = np.zeros(len(block)), np.full(len(block), -1, dtype=np.int64)
        for start in range(0, len(self._pool), _WIDE_BLOCK):
            value, column = _closest(block, self._pool[start : start + _WIDE_BLOCK])
            better = value > best
            best[better], nearest[better] = value[better], start + column[better]
        return best, nearest


def _closest(candidates: list[str], references: list[str]) -> tuple[FloatArray, IntArray]:
    """Return for each candidate the highest similarity, and the first column that has it.

    Single precision first, which is four times as fast; only values close to the maximum are computed in double
    precision.
    """
    lcs, m, n = _common(candidates, references)
    ratio = lcs / np.maximum(m[:, None] + n[None, :], 1).astype(np.float32)
    highest = ratio.max(axis=1)
    best, column = np.zeros(len(candidates)), np.zeros(len(candidates), dtype=np.int64)
    shares = np.flatnonzero(highest > 0)
    if len(shares):
        rows, columns = np.nonzero(ratio[shares] >= highest[shares, None] * _ABOUT)
        exact = f1(lcs[shares[rows], columns].astype(np.int64), m[shares[rows]], n[columns])
        starts = np.searchsorted(rows, np.arange(len(shares)))
        best[shares] = np.maximum.reduceat(exact, starts)
        equal = np.flatnonzero(exact == best[shares[rows]])
        column[shares] = columns[equal[np.searchsorted(equal, starts)]]
    return best, column


def _similarities(candidates: list[str], references: list[str]) -> FloatArray:
    lcs, m, n = _common(candidates, references)
    return f1(lcs.astype(np.int64), m[:, None], n[None, :])


def _common(candidates: list[str], references: list[str]) -> tuple[_Single, IntArray, IntArray]:
    """Return the lengths of the longest common subsequences, of the candidates and of the references."""
    lcs = cdist(candidates, references, scorer=LCSseq.similarity, dtype=np.float32, workers=-1)
    m, n = (np.array([len(text) for text in texts], dtype=np.int64) for texts in (candidates, references))
    return lcs, m, n
