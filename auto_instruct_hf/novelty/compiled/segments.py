"""Data of the compiled engine: encoded texts, and sorted segments of postings."""

from dataclasses import dataclass, field

import numpy as np

from ...core import IntArray
from . import postings, searching
from .kernels import Array

# Ours.
_MAX_SEGMENT = 2**19  # texts; merging takes the memory of what is merged once more
_MAX_POSTINGS = 2**30  # they are counted in 32 bits


@dataclass(frozen=True)
class Texts:
    """Encoded texts; arrays as `postings.TextArrays`."""

    offsets: Array
    tokens: Array
    ordered: Array
    signatures: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, end: int) -> "Texts":
        """Return the texts from `start` to before `end`."""
        first, last = self.offsets[start], self.offsets[end]
        own = self.offsets[start : end + 1] - first
        return Texts(own, self.tokens[first:last], self.ordered[first:last], self.signatures[start:end])

    def arrays(self) -> postings.TextArrays:
        """Return what compiled loops take."""
        return self.offsets, self.tokens, self.ordered, self.signatures


@dataclass(frozen=True)
class Segment:
    """Postings of `size` texts."""

    size: int
    postings: postings.Postings


@dataclass
class Scratch:
    """Buffers of one search thread."""

    mask: Array = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    carry: Array = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    seen: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    state: Array = field(default_factory=lambda: np.zeros(2, dtype=np.int64))

    def arrays(self) -> searching.ScratchArrays:
        """Return what compiled loops take."""
        return self.mask, self.carry, self.seen, self.state

    def fit(self, num_tokens: int, longest: int, num_texts: int) -> None:
        """Enlarge the buffers for a vocabulary, the longest text and a pool of these sizes."""
        if len(self.mask) < num_tokens:
            self.mask = np.zeros(num_tokens * 5 // 4, dtype=np.uint64)
        if len(self.carry) < longest:
            self.carry = np.zeros(longest * 5 // 4, dtype=np.uint8)
        if len(self.seen) < num_texts or self.state[0] > 2**30:
            self.seen = np.zeros(num_texts * 5 // 4, dtype=np.int32)
            self.state[0] = 0


def make_segment(texts: Texts, numbers: IntArray, num_tokens: int, share: float) -> Segment | None:
    """Make a segment.

    Args:
        texts: The texts.
        numbers: Their numbers in the pool; -1: left out.
        num_tokens: Different tokens known.
        share: The similarity below which nothing is sought.

    Returns:
        The segment; None where all are left out.
    """
    rows = np.flatnonzero(numbers >= 0)
    if not len(rows):
        return None
    rows = rows[np.argsort(np.diff(texts.offsets)[rows], kind="stable")]
    fixed = (rows, numbers[rows], texts.arrays(), share)
    counts = np.zeros(num_tokens, dtype=np.int32)
    postings.build_postings(*fixed, _make_postings(counts, 0), False)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    made = _make_postings(starts, starts[-1])
    postings.build_postings(*fixed, (starts[:-1].copy(), *made[1:]), True)
    return Segment(len(rows), made)


def push_segment(segments: list[Segment], segment: Segment) -> None:
    """Append a segment, merged with the last ones of about its size; its vocabulary includes theirs."""
    while segments and _should_merge(segments[-1], segment):
        other = segments.pop()
        starts = np.empty_like(segment.postings[0])
        merged = _make_postings(starts, len(other.postings[1]) + len(segment.postings[1]))
        postings.merge_postings(other.postings, segment.postings, merged)
        segment = Segment(other.size + segment.size, merged)
    segments.append(segment)


def _should_merge(older: Segment, newer: Segment) -> bool:
    together = older.size + newer.size <= _MAX_SEGMENT
    countable = len(older.postings[1]) + len(newer.postings[1]) <= _MAX_POSTINGS
    return older.size <= 2 * newer.size and together and countable


def _make_postings(starts: Array, size: int) -> postings.Postings:
    return starts, np.empty(size, dtype=np.int32), np.empty(size, dtype=np.uint32), np.empty((size, 2), dtype=np.uint64)
