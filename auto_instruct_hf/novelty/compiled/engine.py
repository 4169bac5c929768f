"""The engine of large pools: postings of the rarest tokens in sorted segments. Imports numba, see `kernels`.

A block of texts is compared with the segments by several threads, then admitted one by one, then becomes a segment;
segments of similar size are merged, so that there are few.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from ...core import FloatArray, IntArray
from ..measure import SLACK
from . import kernels
from .kernels import Array
from .postings import Scratch, Segment, Texts, grown, make_scratch, make_segment, push_segment
from .searching import Target, search_segment
from .vocabulary import Vocabulary

# All ours.
_CHUNK_TEXTS, _CHUNK_CHARACTERS = 65_536, 2**25  # tokenized at once
_MIN_BLOCK, _MAX_BLOCK, _BLOCKS = 512, 16_384, 32  # a block is a 32nd of the pool
_BLOCK_TOKENS = 2**17  # a block of long texts has fewer: admission has one thread
_SLICES = 4  # a thread, to balance the load
_REORDER = 8  # times the number of texts from which the order of the tokens was computed
# Where the nearest text is wanted at any distance: limits tried in this order, since a higher limit searches less. Not
# for long texts: there, comparing two takes longer than finding them.
_SHORT = 500
_FLOORS = (0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.15, 0.0)
_NOT_IN_POOL = 2**62
_NO_NUMBERS = np.zeros(0, dtype=np.int64)


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
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._scratches = [make_scratch() for _ in range(self._threads)]

    def __len__(self) -> int:
        return self._size

    def add(self, texts: Sequence[str] | Sequence[list[str]]) -> None:
        """Add texts, or lists of tokens, to the pool."""
        for _, chunk in self._read(texts):
            self._extend(chunk, np.arange(self._size, self._size + chunk.num_texts))

    def search(self, texts: Sequence[str], floor: float) -> tuple[FloatArray, IntArray]:
        """Return for each text the highest similarity in the pool and the first position that has it.

        Where none is above `floor`, they are `floor` and -1.
        """
        best, nearest = np.full(len(texts), floor), np.full(len(texts), -1, dtype=np.int64)
        for start, chunk in self._read(texts):
            rows = slice(start, start + chunk.num_texts)
            self._search(chunk, best[rows], nearest[rows], floor)
        return best, nearest

    def add_novel(self, texts: Sequence[str], max_similarity: float, floor: float) -> tuple[FloatArray, IntArray]:
        """Admit texts one after the other; return what `search` would return just before each is admitted."""
        best, nearest = np.full(len(texts), floor), np.full(len(texts), -1, dtype=np.int64)
        for first, chunk in self._read(texts):
            start = 0
            while start < chunk.num_texts:
                most = min(max(self._size // _BLOCKS, _MIN_BLOCK), _MAX_BLOCK, chunk.num_texts - start)
                enough = np.searchsorted(chunk.offsets[start : start + most], chunk.offsets[start] + _BLOCK_TOKENS)
                size = max(int(enough), 1)
                block = chunk.part(start, start + size)
                rows = slice(first + start, first + start + size)
                self._search(block, best[rows], nearest[rows], floor)
                self._extend(block, self._admit(block, best[rows], nearest[rows], max_similarity))
                start += size
        return best, nearest

    def links(self, max_similarity: float) -> Iterator[IntArray]:
        """Yield pairs of positions that connect, in chains, the same texts as all pairs above `max_similarity` do."""
        scratches = [scratch._replace(parents=np.arange(self._size)) for scratch in self._fit()]
        for begin, block in self._blocks():
            size = block.num_texts
            target = Target(np.ones(size, dtype=np.bool_), np.full(size, max_similarity), np.full(size, -1))
            self._in_threads(lambda *part, own=(block, target, begin): self._compare(*part, *own), size, scratches)
        for scratch in scratches:
            yield np.stack([np.arange(self._size), scratch.parents], axis=1)

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
        """Yield the texts in encoded chunks, each with the position of its first text."""
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
        """Order tokens by rarity: anew when most texts came after the last order; else new tokens come first."""
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
            self._index(block, np.arange(start, start + block.num_texts))

    def _prepare(self, offsets: Array, tokens: Array) -> Texts:
        ordered, signatures = np.empty_like(tokens), np.zeros((len(offsets) - 1, 2), dtype=np.uint64)
        kernels.prepare(offsets, tokens, self._rank, ordered, signatures)
        self._longest = max(self._longest, int(np.diff(offsets).max(initial=0)))
        return Texts(offsets, tokens, ordered, signatures)

    def _fit(self, num_texts: int = 0) -> list[Scratch]:
        sizes = len(self._rank), self._longest, max(self._size, num_texts)
        self._scratches = [scratch.fit(*sizes) for scratch in self._scratches]
        return self._scratches

    def _in_threads(self, work: Callable[[Scratch, int, int], None], size: int, scratches: list[Scratch]) -> None:
        """Call `work` on slices (start, end) of `size` rows, each thread with a scratch of its own."""
        free: SimpleQueue[Scratch] = SimpleQueue()
        for scratch in scratches:
            free.put(scratch)

        def run(start: int, end: int) -> None:
            scratch = free.get()
            work(scratch, start, end)
            free.put(scratch)

        cuts = np.linspace(0, size, self._threads * _SLICES + 1).astype(int).tolist()
        with ThreadPoolExecutor(self._threads) as executor:
            list(executor.map(run, cuts[:-1], cuts[1:]))

    def _compare(self, scratch: Scratch, start: int, end: int, texts: Texts, target: Target, own: int) -> None:
        pool = (self._offsets, self._tokens)
        for segment in self._segments:
            search_segment(start, end, texts, target, segment, pool, scratch, own, _NO_NUMBERS, 0.0)

    def _search(self, texts: Texts, best: FloatArray, nearest: IntArray, floor: float) -> None:
        """Raise `best` and set `nearest` where the pool has something above `floor`."""
        target = Target(np.ones(texts.num_texts, dtype=np.bool_), best, nearest)
        is_short = len(texts.tokens) <= _SHORT * texts.num_texts
        limits = [limit for limit in _FLOORS if limit > floor and not floor and is_short]

        def work(scratch: Scratch, start: int, end: int) -> None:
            rows = slice(start, end)
            for limit in [*limits, floor]:
                target.active[rows] = nearest[rows] < 0
                best[rows][target.active[rows]] = limit
                self._compare(scratch, start, end, texts, target, _NOT_IN_POOL)

        if self._segments:
            self._in_threads(work, texts.num_texts, self._fit())

    def _admit(self, block: Texts, best: FloatArray, nearest: IntArray, max_similarity: float) -> IntArray:
        """Compare the texts of a block with each other; return the number in the pool of each, -1 if not admitted."""
        size = block.num_texts
        segment = make_segment(block, np.arange(size), len(self._rank), self._share)
        target = Target(np.ones(size, dtype=np.bool_), best, nearest)
        numbers = np.append(np.full(size, -1), self._size)
        pool, scratch = (block.offsets, block.tokens), self._fit(size)[0]
        search_segment(0, size, block, target, segment, pool, scratch, 0, numbers, max_similarity)
        return numbers[:-1]

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
        if (numbers >= 0).any():
            push_segment(self._segments, make_segment(texts, numbers, len(self._rank), self._share))
