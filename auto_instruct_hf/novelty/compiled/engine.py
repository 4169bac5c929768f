"""The engine of large pools: postings of the rarest tokens in sorted segments. Imports numba, see `kernels`.

A block of texts is compared with the segments by several threads, then admitted one by one, then becomes a segment of
its own; segments of like size are merged, so that there are few.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue

import numpy as np

from ...core import FloatArray, IntArray
from ..measure import SLACK
from . import kernels, searching
from .kernels import Array
from .segments import Scratch, Segment, Texts, make_segment, push_segment
from .vocabulary import Vocabulary, grown

# All ours.
_CHUNK_TEXTS, _CHUNK_CHARACTERS = 65_536, 2**25  # tokenised at once
_MIN_BLOCK, _MAX_BLOCK, _BLOCKS = 512, 16_384, 32  # a block is a 32nd of the pool
_BLOCK_TOKENS = 2**17  # a block of long texts has fewer: within a block one thread works
_SLICES = 4  # a thread, to balance the load
_REORDER = 8  # times the texts that the order of the tokens was learnt from
# Where the nearest text is wanted though it is far: limits tried one after the other. The first that finds
# something ends the search, and the higher it is, the less is looked at.
# Not where texts are long: then comparing two takes longer than finding them.
_SHORT = 500
_FLOORS = (0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.15, 0.0)
_NO_PAIRS = np.zeros((0, 2), dtype=np.int64)
_NO_PARENTS = np.zeros(0, dtype=np.int64)


class Compiled:
    """A pool of texts.

    Args:
        tokenizer: A name in TOKENIZERS.
        least: Similarities up to this are never searched; the lower, the larger the index.
    """

    def __init__(self, tokenizer: str, least: float) -> None:
        self._vocabulary = Vocabulary(tokenizer)
        self._share = max(least - SLACK, 0.0)
        self._size = self._num_tokens = self._longest = 0
        self._tokens = np.zeros(0, dtype=np.int32)
        self._offsets = np.zeros(1, dtype=np.int64)
        self._segments: list[Segment] = []
        self._rank = np.zeros(0, dtype=np.int32)
        self._ranked_texts = 0
        self._heads = np.zeros(0, dtype=np.int32)
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._scratches = [Scratch() for _ in range(self._threads)]

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
                most = min(max(self._size // _BLOCKS, _MIN_BLOCK), _MAX_BLOCK, len(chunk) - start)
                enough = np.searchsorted(chunk.offsets[start : start + most], chunk.offsets[start] + _BLOCK_TOKENS)
                size = max(int(enough), 1)
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
        free: SimpleQueue[tuple[Scratch, IntArray]] = SimpleQueue()
        forests = [np.arange(self._size) for _ in self._scratches]
        for own in zip(self._fit(), forests, strict=True):
            free.put(own)

        def work(part: tuple[int, Texts]) -> None:
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

    def _blocks(self) -> Iterator[tuple[int, Texts]]:
        """Yield the pool in parts, each with the position of its first text."""
        start = 0
        while start < self._size:
            enough = np.searchsorted(self._offsets[: self._size], self._offsets[start] + _CHUNK_CHARACTERS)
            end = min(max(int(enough), start + 1), start + _CHUNK_TEXTS, self._size)
            offsets = self._offsets[start : end + 1]
            yield start, self._prepare(offsets - offsets[0], self._tokens[offsets[0] : offsets[-1]])
            start = end

    def _read(self, texts: Sequence[str] | Sequence[list[str]]) -> Iterator[tuple[int, Texts]]:
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

    def _prepare(self, offsets: Array, tokens: Array) -> Texts:
        ordered, signatures = np.empty_like(tokens), np.zeros((len(offsets) - 1, 2), dtype=np.uint64)
        kernels.prepare(offsets, tokens, self._rank, ordered, signatures)
        self._longest = max(self._longest, int(np.diff(offsets).max(initial=0)))
        return Texts(offsets, tokens, ordered, signatures)

    def _fit(self) -> list[Scratch]:
        for scratch in self._scratches:
            scratch.fit(len(self._rank), self._longest, self._size)
        return self._scratches

    def _compare(
        self,
        start: int,
        end: int,
        texts: Texts,
        target: searching.Target,
        segment: Segment,
        scratch: Scratch,
        own: int = -1,
        parents: Array = _NO_PARENTS,
        pairs: Array = _NO_PAIRS,
    ) -> int:
        pool = (self._offsets, self._tokens)
        fixed = (texts.arrays(), target, segment.postings, pool, scratch.arrays())
        return int(searching.search_pool(start, end, *fixed, own, parents, pairs))

    def _search(self, texts: Texts, best: FloatArray, nearest: IntArray, floor: float) -> None:
        """Raise `best` and set `nearest` where the pool has something above `floor`."""
        active = np.ones(len(texts), dtype=np.bool_)
        free: SimpleQueue[Scratch] = SimpleQueue()
        for scratch in self._fit():
            free.put(scratch)
        size = max(-(-len(texts) // (self._threads * _SLICES)), 1)
        is_short = len(texts.tokens) <= _SHORT * len(texts)
        limits = [limit for limit in _FLOORS if limit > floor and not floor and is_short]

        def work(start: int) -> None:
            scratch = free.get()
            for limit in [*limits, floor]:
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

    def _admit(self, block: Texts, best: FloatArray, nearest: IntArray, max_similarity: float) -> IntArray:
        scratch = self._fit()[0]
        if len(self._heads) < len(self._rank):
            self._heads = np.full(len(self._rank) * 5 // 4, -1, dtype=np.int32)
        numbers = np.full(len(block), -1, dtype=np.int64)
        following, rows, places = (np.empty(len(block.tokens), dtype=np.int32) for _ in range(3))
        target = (np.ones(len(block), dtype=np.bool_), best, nearest)
        own = (scratch.mask, scratch.carry, np.full(len(block), -1, dtype=np.int32), scratch.state)
        fixed = (block.arrays(), target, max_similarity, self._share, self._size)
        searching.admit_novel(*fixed, numbers, self._heads, (following, rows, places), own)
        return numbers

    def _extend(self, texts: Texts, numbers: IntArray) -> None:
        """Add the texts that have a number in the pool."""
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

    def _index(self, texts: Texts, numbers: IntArray) -> None:
        segment = make_segment(texts, numbers, len(self._rank), self._share)
        if segment:
            push_segment(self._segments, segment)


def _target(size: int, similarity: float) -> searching.Target:
    return np.ones(size, dtype=np.bool_), np.full(size, similarity), np.full(size, -1, dtype=np.int64)
