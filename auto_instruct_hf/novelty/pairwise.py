"""The engine of small pools: every text against every other, by rapidfuzz. Nothing is compiled."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from .measure import FloatArray, IntArray, f1

_BLOCK = 512
_WIDE_BLOCK = 4096
# Tokens become characters; rapidfuzz is about twice as quick on low code points. Surrogates cannot stand in a string.
_FIRST_CODE, _SURROGATES, _NUM_SURROGATES = 1, 0xD800, 0x800


class Pairwise:
    """A pool of texts, each a list of tokens."""

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}
        self._pool: list[str] = []
        self.num_tokens = 0

    def __len__(self) -> int:
        return len(self._pool)

    def texts(self) -> list[list[str]]:
        """Return the tokens of each text of the pool."""
        tokens = {code: token for token, code in self._codes.items()}
        return [[tokens[code] for code in text] for text in self._pool]

    def add(self, texts: Sequence[list[str]]) -> None:
        """Put texts in the pool."""
        self._extend(self._encode(texts))

    def search(self, texts: Sequence[list[str]]) -> tuple[FloatArray, IntArray]:
        """Return for each text the highest similarity in the pool, and the first position that has it (-1: it is 0)."""
        encoded = self._encode(texts)
        blocks = [self._against_pool(encoded[start : start + _BLOCK]) for start in range(0, len(encoded), _BLOCK)]
        return _join(blocks)

    def add_novel(self, texts: Sequence[list[str]], max_similarity: float) -> tuple[FloatArray, IntArray]:
        """Admit texts one after the other; return what `search` would have at each one's turn."""
        encoded = self._encode(texts)
        blocks = []
        for start in range(0, len(encoded), _BLOCK):
            block = encoded[start : start + _BLOCK]
            best, nearest = self._against_pool(block)
            among = _similarities(block, block)
            admitted: list[int] = []
            for row in range(len(block)):
                if admitted:
                    closest = int(np.argmax(among[row, admitted]))
                    if among[row, admitted[closest]] > best[row]:
                        best[row], nearest[row] = among[row, admitted[closest]], len(self._pool) + closest
                if not best[row] > max_similarity:
                    admitted.append(row)
            self._extend([block[row] for row in admitted])
            blocks.append((best, nearest))
        return _join(blocks)

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
        codes = self._codes
        return ["".join([codes.setdefault(token, _character(len(codes))) for token in text]) for text in texts]

    def _extend(self, encoded: list[str]) -> None:
        self._pool.extend(encoded)
        self.num_tokens += sum(map(len, encoded))

    def _against_pool(self, block: list[str]) -> tuple[FloatArray, IntArray]:
        best, nearest = np.zeros(len(block)), np.full(len(block), -1, dtype=np.int64)
        for start in range(0, len(self._pool), _WIDE_BLOCK):
            scores = _similarities(block, self._pool[start : start + _WIDE_BLOCK])
            column = scores.argmax(axis=1)
            value = scores[np.arange(len(block)), column]
            better = value > best
            best[better], nearest[better] = value[better], start + column[better]
        return best, nearest


def _similarities(candidates: list[str], references: list[str]) -> FloatArray:
    lcs: npt.NDArray[Any] = cdist(candidates, references, scorer=LCSseq.similarity, dtype=np.int32, workers=-1)
    lengths = [np.array([len(text) for text in texts], dtype=np.int64) for texts in (candidates, references)]
    shared = np.where((lengths[0][:, None] > 0) & (lengths[1][None, :] > 0), lcs, 0).astype(np.int64)
    return f1(shared, lengths[0][:, None], lengths[1][None, :])


def _join(blocks: list[tuple[FloatArray, IntArray]]) -> tuple[FloatArray, IntArray]:
    best, nearest = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    return np.concatenate(best + [block[0] for block in blocks]), np.concatenate(
        nearest + [block[1] for block in blocks]
    )


def _character(number: int) -> str:
    code = number + _FIRST_CODE
    return chr(code if code < _SURROGATES else code + _NUM_SURROGATES)
