"""Novelty in meaning: cosines of embeddings of unit length, exactly, a block at a time to bound memory."""

import logging
from collections.abc import Iterable, Iterator

import numpy as np

from ..core import FloatArray, IntArray, Vectors
from ..recipe import EmbeddingSettings
from .index import Verdicts
from .joins import connect
from .measure import admit_in_order
from .tokens import choose_tokenizer

_LOG = logging.getLogger(__name__)
# A block of cosines takes 16 MB.
_ROWS, _COLUMNS = 512, 8192


class CosineIndex:
    """A growing pool of embeddings; the decisions are those of comparing all pairs.

    Args:
        max_cosine: A vector whose cosine with any earlier one is above this is not novel. In (0, 1]; 1: all are novel.
    """

    def __init__(self, max_cosine: float) -> None:
        if not 0 < max_cosine <= 1:
            raise ValueError(f"max_cosine must be in (0, 1], it is {max_cosine}")
        self.max_cosine = max_cosine
        self._rows = np.zeros((0, 0), dtype=np.float32)  # with room for more
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, vectors: Vectors) -> None:
        """Add vectors, shape (rows, dimensions), to the pool unconditionally."""
        size = self._size + len(vectors)
        if size > len(self._rows) or not self._size:
            grown = np.empty((max(size, 2 * len(self._rows)), vectors.shape[1]), dtype=np.float32)
            if self._size:
                grown[: self._size] = self._rows[: self._size]
            self._rows = grown
        self._rows[self._size : size] = vectors
        self._size = size

    def compare(self, vectors: Vectors) -> Verdicts:
        """Compare vectors with the pool; admit none; return one verdict per vector, always with the nearest."""
        return self._judge([self._nearest(block) for block in _blocks(vectors)])

    def add_novel(self, vectors: Vectors) -> Verdicts:
        """Admit vectors one after the other, each if it is novel; return what `compare` would return just before."""
        found = []
        for block in _blocks(vectors):
            best, nearest = self._nearest(block)
            admitted = admit_in_order(best, nearest, _cosines(block, block), self.max_cosine, self._size)
            self.add(block[admitted])
            found.append((best, nearest))
        return self._judge(found)

    def _nearest(self, block: Vectors) -> tuple[FloatArray, IntArray]:
        best, nearest = np.full(len(block), -np.inf), np.full(len(block), -1, dtype=np.int64)
        for start in range(0, self._size, _COLUMNS):
            cosines = _cosines(block, self._rows[start : min(start + _COLUMNS, self._size)])
            column = cosines.argmax(axis=1)
            highest = cosines[np.arange(len(block)), column]
            better = highest > best
            best[better], nearest[better] = highest[better], start + column[better]
        return best, nearest

    def _judge(self, found: list[tuple[FloatArray, IntArray]]) -> Verdicts:
        best = np.concatenate([np.zeros(0), *(one for one, _ in found)])
        nearest = np.concatenate([np.zeros(0, dtype=np.int64), *(position for _, position in found)])
        return Verdicts(~(best > self.max_cosine), np.where(nearest < 0, 0.0, best), nearest)


def knows_script(embedding: EmbeddingSettings, texts: Iterable[str]) -> bool:
    """Return whether cosines of an embedding model tell texts apart; warn if not.

    The default model is English: of unrelated sentences in other scripts, some have a cosine above 0.9.
    """
    if embedding.model != EmbeddingSettings.model or choose_tokenizer(texts) == "rouge":
        return True
    _LOG.warning(
        "%s does not know the script of these texts, so their meanings are not compared: name a model that does "
        "(embedding.model in a recipe)",
        embedding.model,
    )
    return False


def cosine_groups(vectors: Vectors, max_cosine: float) -> IntArray:
    """Group vectors so that those near to each other share a group.

    Args:
        vectors: Of unit length, shape (rows, dimensions).
        max_cosine: In (0, 1].

    Returns:
        The group of each row, numbered from 0 by first occurrence. Rows are in one group if a chain of pairs with a
        cosine above `max_cosine` connects them.
    """
    return connect(len(vectors), _near_pairs(vectors, max_cosine))


def nearest_cosines(vectors: Vectors) -> FloatArray:
    """Return the cosine of each vector with the nearest other one; 0 for a single vector."""
    best = np.full(len(vectors), -np.inf)
    for start, other, cosines in _triangle(vectors):
        rows, columns = (slice(at, at + size) for at, size in zip((start, other), cosines.shape, strict=True))
        np.maximum(best[rows], cosines.max(axis=1), out=best[rows])
        np.maximum(best[columns], cosines.max(axis=0), out=best[columns])
    return np.where(np.isinf(best), 0.0, best)


def _near_pairs(vectors: Vectors, max_cosine: float) -> Iterator[IntArray]:
    for start, other, cosines in _triangle(vectors):
        if len(pairs := np.argwhere(cosines > max_cosine)):
            yield pairs + np.array([start, other])


def _triangle(vectors: Vectors) -> Iterator[tuple[int, int, Vectors]]:
    """Yield blocks that hold the cosines of all pairs, with the first row and column of each; -inf with itself."""
    for start in range(0, len(vectors), _ROWS):
        block = vectors[start : start + _ROWS]
        for other in range(0, start + len(block), _COLUMNS):
            cosines = _cosines(block, vectors[other : min(other + _COLUMNS, start + len(block))])
            own = np.arange(max(start, other), other + cosines.shape[1])
            cosines[own - start, own - other] = -np.inf
            yield start, other, cosines


def _blocks(vectors: Vectors) -> Iterator[Vectors]:
    return (vectors[start : start + _ROWS] for start in range(0, len(vectors), _ROWS))


def _cosines(vectors: Vectors, others: Vectors) -> Vectors:
    """Return the cosines, at most 1 however they were rounded."""
    cosines: Vectors = vectors @ others.T
    return np.minimum(cosines, 1, out=cosines)
