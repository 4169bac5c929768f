"""The engine of large pools: postings of the rarest tokens in sorted segments. Imports numba, see `kernels`.

A block of texts is compared with the segments by several threads, then admitted one by one, then becomes a segment of
its own; segments of like size are merged, so that there are few.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from queue import SimpleQueue

import numpy as np

from . import kernels, postings, searching
from .kernels import Array
from .measure import SLACK, FloatArray, IntArray
from .vocabulary import Vocabulary, grown

# All ours.
_CHUNK_TEXTS, _CHUNK_CHARACTERS = 65_536, 2**25  # tokenised at once
_MIN_BLOCK, _MAX_BLOCK, _BLOCKS = 512, 16_384, 32  # a block is a 32nd of the pool
_MAX_SEGMENT = 2**19  # texts; merging takes the memory of what is merged once more
_MAX_POSTINGS = 2**30  # they are counted in 32 bits
_SLICES = 4  # a thread, so that none waits long for the other
_REORDER = 8  # times the texts that the order of the tokens was learnt from
# Where the nearest text is wanted though it is far: limits tried one after the other. The first that finds
# something ends the search, and the higher it is, the less is looked at.
_FLOORS = (0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.15, 0.0)
_NO_PAIRS = np.zeros((0, 2), dtype=np.int64)
_NO_PARENTS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class _Texts:
    """Texts as `postings.Texts`."""

    offsets: Array
    tokens: Array
    ordered: Array
    signatures: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, end: int) -> "_Texts":
        first, last = self.offsets[start], self.offsets[end]
        own = self.offsets[start : end + 1] - first
        return _Texts(own, self.tokens[first:last], self.ordered[first:last], self.signatures[start:end])

    def arrays(self) -> postings.Texts:
        return self.offsets, self.tokens, self.ordered, self.signatures


@dataclass(frozen=True)
class _Segment:
    """Postings of so many texts."""

    size: int
    postings: postings.Postings


@dataclass
class _Scratch:
    """What one thread writes in while it searches."""

    mask: Array = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    carry: Array = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    seen: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    state: Array = field(default_factory=lambda: np.zeros(2, dtype=np.int64))

    def arrays(self) -> searching.Scratch:
        return self.mask, self.carry, self.seen, self.state

    def fit(self, num_tokens: int, longest: int, num_texts: int) -> None:
        if len(self.mask) < num_tokens:
            self.mask = np.zeros(num_tokens * 5 // 4, dtype=np.uint64)
        if len(self.carry) < longest:
            self.carry = np.zeros(longest * 5 // 4, dtype=np.uint8)
        if len(self.seen) < num_texts or self.state[0] > 2**30:
            self.seen = np.zeros(num_texts * 5 // 4, dtype=np.int32)
            self.state[0] = 0


class Compiled:
    """A pool of texts.

    Args:
        tokeniser: A name in TOKENISERS.
        least: Nothing as near as this or less is ever sought; the lower, the larger the index.
    """

    def __init__(self, tokeniser: str, least: float) -> None:
        self._vocabulary = Vocabulary(tokeniser)
        self._share = max(least - SLACK, 0.0)
        self._size = self._num_tokens = self._longest = 0
        self._tokens = np.zeros(0, dtype=np.int32)
        self._offsets = np.zeros(1, dtype=np.int64)
        self._segments: list[_Segment] = []
        self._rank = np.zeros(0, dtype=np.int32)
        self._ranked_texts = 0
        self._heads = np.zeros(0, dtype=np.int32)
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._scratches = [_Scratch() for _ in range(self._threads)]

    def __len__(self) -> int:
        return self._size

    def add(self, texts: Sequence[str] | Sequence[list[str]]) -> None:
        """Put texts in the pool."""
        for _, chunk in self._read(texts):
            self._extend(chunk, np.arange(self._size, self._size + len(chunk)))

    def search(self, texts: Sequence[str], floor: float) -> tuple[FloatArray, IntArray]:
        """Return for each text the highest similarity in the pool and the first position that has it.

        Where none is above `floor` it is `floor`, and the position -1.
        """
        best, nearest = np.full(len(texts), floor), np.full(len(texts), -1, dtype=np.int64)
        for start, chunk in self._read(texts):
            self._search(chunk, best[start : start + len(chunk)], nearest[start : start + len(chunk)], floor)
        return best, nearest

    def add_novel(self, texts: Sequence[str], max_similarity: float, floor: float) -> tuple[FloatArray, IntArray]:
        """Admit texts one after the other; return what `search` would have at each one's turn."""
        best, nearest = np.full(len(texts), floor), np.full(len(texts), -1, dtype=np.int64)
        for first, chunk in self._read(texts):
            start = 0
            while start < len(chunk):
                size = min(max(self._size // _BLOCKS, _MIN_BLOCK), _MAX_BLOCK, len(chunk) - start)
                block = chunk.part(start, start + size)
                rows = slice(first + start, first + start + size)
                self._search(block, best[rows], nearest[rows], floor)
                self._extend(block, self._admit(block, best[rows], nearest[rows], max_similarity))
                start += size
        return best, nearest

    def pairs(self, max_similarity: float) -> Iterator[IntArray]:
        """Yield arrays of pairs (earlier, later) of positions with a similarity above `max_similarity`."""
        scratch = self._fit()[0]
        room = 2**16
        for start, block in self._blocks():
            target = _target(len(block), max_similarity)
            for segment in self._segments:
                row = 0
                while row < len(block):
                    found = np.empty((room, 2), dtype=np.int64)
                    scratch.state[1] = 0
                    end = self._compare(row, len(block), block, target, segment, scratch, start, _NO_PARENTS, found)
                    room = room * 2 if end == row else room
                    row = end
                    yield found[: scratch.state[1]]

    def links(self, max_similarity: float) -> Iterator[IntArray]:
        """Yield arrays of pairs of positions that join the same texts as `pairs` does, in chains, but are few."""
        free: SimpleQueue[tuple[_Scratch, IntArray]] = SimpleQueue()
        forests = [np.arange(self._size) for _ in self._scratches]
        for own in zip(self._fit(), forests, strict=True):
            free.put(own)

        def work(part: tuple[int, _Texts]) -> None:
            start, texts = part
            scratch, forest = free.get()
            for segment in self._segments:
                target = _target(len(texts), max_similarity)
                self._compare(0, len(texts), texts, target, segment, scratch, start, forest)
            free.put((scratch, forest))

        with ThreadPoolExecutor(self._threads) as executor:
            for start, block in self._blocks():
                cuts = np.linspace(0, len(block), self._threads * _SLICES + 1).astype(int).tolist()
                list(executor.map(work, [(start + a, block.part(a, b)) for a, b in pairwise(cuts)]))
        for forest in forests:
            yield np.stack([np.arange(self._size), forest], axis=1)

    def _blocks(self) -> Iterator[tuple[int, _Texts]]:
        """Yield the pool in parts, each with the position of its first text."""
        start = 0
        while start < self._size:
            enough = np.searchsorted(self._offsets[: self._size], self._offsets[start] + _CHUNK_CHARACTERS)
            end = min(max(int(enough), start + 1), start + _CHUNK_TEXTS, self._size)
            offsets = self._offsets[start : end + 1]
            yield start, self._prepare(offsets - offsets[0], self._tokens[offsets[0] : offsets[-1]])
            start = end

    def _read(self, texts: Sequence[str] | Sequence[list[str]]) -> Iterator[tuple[int, _Texts]]:
        """Yield the texts in chunks, tokenised, each with the position of its first."""
        start = 0
        while start < len(texts):
            end, characters = start, 0
            while end < len(texts) and end - start < _CHUNK_TEXTS and characters < _CHUNK_CHARACTERS:
                characters += len(texts[end])
                end += 1
            offsets, tokens = self._vocabulary.encode(texts[start:end])
            self._learn_order(end - start, tokens)
            yield start, self._prepare(offsets, tokens)
            start = end

    def _learn_order(self, num_texts: int, tokens: Array) -> None:
        """Order tokens by rarity: anew when most texts came after the order was learnt; else new tokens come first."""
        known, size = len(self._rank), len(self._vocabulary)
        if self._size + num_texts < _REORDER * self._ranked_texts:
            self._rank = np.concatenate([self._rank, -1 - np.arange(known, size, dtype=np.int32)])
            return
        counts = np.bincount(tokens, minlength=size) + np.bincount(self._tokens[: self._num_tokens], minlength=size)
        self._rank = np.empty(size, dtype=np.int32)
        self._rank[np.argsort(counts, kind="stable")] = np.arange(size, dtype=np.int32)
        self._ranked_texts = self._size + num_texts
        self._segments = []
        for start, block in self._blocks():
            self._index(block, np.arange(start, start + len(block)))

    def _prepare(self, offsets: Array, tokens: Array) -> _Texts:
        ordered, signatures = np.empty_like(tokens), np.zeros((len(offsets) - 1, 2), dtype=np.uint64)
        kernels.prepare(offsets, tokens, self._rank, ordered, signatures)
        self._longest = max(self._longest, int(np.diff(offsets).max(initial=0)))
        return _Texts(offsets, tokens, ordered, signatures)

    def _fit(self) -> list[_Scratch]:
        for scratch in self._scratches:
            scratch.fit(len(self._rank), self._longest, self._size)
        return self._scratches

    def _compare(
        self,
        start: int,
        end: int,
        texts: _Texts,
        target: searching.Target,
        segment: _Segment,
        scratch: _Scratch,
        own: int = -1,
        parents: Array = _NO_PARENTS,
        pairs: Array = _NO_PAIRS,
    ) -> int:
        pool = (self._offsets, self._tokens)
        fixed = (texts.arrays(), target, segment.postings, pool, scratch.arrays())
        return int(searching.search(start, end, *fixed, own, parents, pairs))

    def _search(self, texts: _Texts, best: FloatArray, nearest: IntArray, floor: float) -> None:
        """Raise `best` and set `nearest` where the pool has something above `floor`."""
        active = np.ones(len(texts), dtype=np.bool_)
        free: SimpleQueue[_Scratch] = SimpleQueue()
        for scratch in self._fit():
            free.put(scratch)
        size = max(-(-len(texts) // (self._threads * _SLICES)), 64)

        def work(start: int) -> None:
            scratch = free.get()
            for limit in [*(limit for limit in _FLOORS if limit > floor and not floor), floor]:
                rows = slice(start, start + size)
                active[rows] = nearest[rows] < 0
                best[rows][active[rows]] = limit
                for segment in self._segments:
                    end = min(start + size, len(texts))
                    self._compare(start, end, texts, (active, best, nearest), segment, scratch)
            free.put(scratch)

        if self._segments:
            with ThreadPoolExecutor(self._threads) as executor:
                list(executor.map(work, range(0, len(texts), size)))

    def _admit(self, block: _Texts, best: FloatArray, nearest: IntArray, max_similarity: float) -> IntArray:
        scratch = self._fit()[0]
        if len(self._heads) < len(self._rank):
            self._heads = np.full(len(self._rank) * 5 // 4, -1, dtype=np.int32)
        numbers = np.full(len(block), -1, dtype=np.int64)
        following, rows, places = (np.empty(len(block.tokens), dtype=np.int32) for _ in range(3))
        target = (np.ones(len(block), dtype=np.bool_), best, nearest)
        own = (scratch.mask, scratch.carry, np.full(len(block), -1, dtype=np.int32), scratch.state)
        fixed = (block.arrays(), target, max_similarity, self._share, self._size)
        searching.admit(*fixed, numbers, self._heads, (following, rows, places), own)
        return numbers

    def _extend(self, texts: _Texts, numbers: IntArray) -> None:
        """Put those texts in the pool that have a number in it."""
        self._index(texts, numbers)
        chosen = numbers >= 0
        lengths = np.diff(texts.offsets)
        tokens = texts.tokens[np.repeat(chosen, lengths)]
        size, num_tokens = self._size + int(chosen.sum()), self._num_tokens + len(tokens)
        self._tokens = grown(self._tokens, num_tokens)
        self._offsets = grown(self._offsets, size + 1)
        self._tokens[self._num_tokens : num_tokens] = tokens
        self._offsets[self._size + 1 : size + 1] = self._num_tokens + np.cumsum(lengths[chosen])
        self._size, self._num_tokens = size, num_tokens

    def _index(self, texts: _Texts, numbers: IntArray) -> None:
        """Make a segment of the texts that have a number, and merge it with those of its size."""
        rows = np.flatnonzero(numbers >= 0)
        if not len(rows):
            return
        rows = rows[np.argsort(np.diff(texts.offsets)[rows], kind="stable")]
        fixed = (rows, numbers[rows], texts.arrays(), self._share)
        counts = np.zeros(len(self._rank), dtype=np.int32)
        postings.build(*fixed, _make_postings(counts, 0), False)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        made = _make_postings(starts, starts[-1])
        postings.build(*fixed, (starts[:-1].copy(), *made[1:]), True)
        segment = _Segment(len(rows), made)
        while self._segments and _should_merge(self._segments[-1], segment):
            other = self._segments.pop()
            merged = _make_postings(np.empty_like(starts), len(other.postings[1]) + len(segment.postings[1]))
            postings.merge(other.postings, segment.postings, merged)
            segment = _Segment(other.size + segment.size, merged)
        self._segments.append(segment)


def _should_merge(older: _Segment, newer: _Segment) -> bool:
    together = older.size + newer.size <= _MAX_SEGMENT
    countable = len(older.postings[1]) + len(newer.postings[1]) <= _MAX_POSTINGS
    return older.size <= 2 * newer.size and together and countable


def _make_postings(starts: Array, size: int) -> postings.Postings:
    return starts, np.empty(size, dtype=np.int32), np.empty(size, dtype=np.uint32), np.empty((size, 2), dtype=np.uint64)


def _target(size: int, similarity: float) -> searching.Target:
    return np.ones(size, dtype=np.bool_), np.full(size, similarity), np.full(size, -1, dtype=np.int64)
