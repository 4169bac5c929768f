"""Data of the compiled engine: encoded texts and the inverted index of a pool in sorted segments.

A posting is one token of one text: the number of the text, its length, the place of the token among its tokens by
rarity, and the bits of all its tokens. The postings of a token are sorted by length and place, so that a search skips
texts that are too short, too long or have the token too late to be similar.
"""

from typing import NamedTuple

import numpy as np

from ...core import IntArray
from .kernels import Array, WholeNumber, compiled

CAP = 0xFFFF  # largest length and place that a key holds, 16 bits each
# Ours.
_MAX_SEGMENT = 2**19  # texts; a merge needs the memory of both segments again
_MAX_POSTINGS = 2**30  # they are counted in 32 bits


class Texts(NamedTuple):
    """Encoded texts."""

    offsets: Array
    """The start of each text, and the end of the last one."""
    tokens: Array
    ordered: Array
    """The tokens of each text by rarity."""
    signatures: Array
    """The bits of the tokens of each text, (n, 2)."""

    @property
    def num_texts(self) -> int:
        """The number of texts."""
        return len(self.offsets) - 1

    def part(self, start: int, end: int) -> "Texts":
        """Return the texts from `start` to before `end`."""
        first, last = self.offsets[start], self.offsets[end]
        own = self.offsets[start : end + 1] - first
        return Texts(own, self.tokens[first:last], self.ordered[first:last], self.signatures[start:end])


class Segment(NamedTuple):
    """Postings of `size` texts."""

    size: int
    starts: Array
    """The first posting of each token, and the end of the last one."""
    ids: Array
    """The number of the text in the pool."""
    keys: Array
    """Length and place."""
    bits: Array
    """The signature of the text, (n, 2)."""


class Scratch(NamedTuple):
    """Buffers of one search thread."""

    mask: Array
    """Zeros, one a token."""
    carry: Array
    """Room for the longest text."""
    seen: Array
    """For each text of the pool the last search that met it."""
    state: Array
    """The number of the last search."""
    parents: Array
    """A forest of texts in which similar texts are joined; empty: none are."""

    def fit(self, num_tokens: int, longest: int, num_texts: int) -> "Scratch":
        """Enlarge the buffers for a vocabulary, the longest text and a pool of these sizes."""
        if self.state[0] > 2**30:
            self.seen[:] = self.state[0] = 0
        mask, carry, seen = grown(self.mask, num_tokens), grown(self.carry, longest), grown(self.seen, num_texts)
        return self._replace(mask=mask, carry=carry, seen=seen)


def make_scratch() -> Scratch:
    """Make buffers without room."""
    mask, carry, seen = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.int32)
    return Scratch(mask, carry, seen, np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64))


def grown(array: Array, size: int) -> Array:
    """Return the array with room for `size` elements, the new ones zero."""
    if len(array) >= size:
        return array
    larger = np.zeros(max(size, len(array) * 5 // 4), dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def make_segment(texts: Texts, numbers: IntArray, num_tokens: int, share: float) -> Segment:
    """Build a segment.

    Args:
        texts: The texts.
        numbers: Their numbers in the pool; -1: left out.
        num_tokens: Size of the vocabulary.
        share: The similarity below which nothing is searched.

    Returns:
        The postings of the texts that have a number.
    """
    rows = np.flatnonzero(numbers >= 0)
    rows = rows[np.argsort(np.diff(texts.offsets)[rows], kind="stable")]
    counts = np.zeros(num_tokens, dtype=np.int32)
    _build_postings(rows, numbers[rows], texts, share, _make_postings(len(rows), counts, 0), False)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    segment = _make_postings(len(rows), starts, starts[-1])
    _build_postings(rows, numbers[rows], texts, share, segment._replace(starts=starts[:-1].copy()), True)
    return segment


def push_segment(segments: list[Segment], segment: Segment) -> None:
    """Append a segment, merged with the last ones of similar size; its vocabulary includes theirs."""
    while segments and segments[-1].size <= 2 * segment.size:
        size, num_postings = segments[-1].size + segment.size, len(segments[-1].ids) + len(segment.ids)
        if size > _MAX_SEGMENT or num_postings > _MAX_POSTINGS:
            break
        merged = _make_postings(size, np.empty_like(segment.starts), num_postings)
        _merge_postings(segments.pop(), segment, merged)
        segment = merged
    segments.append(segment)


def _make_postings(size: int, starts: Array, num: int) -> Segment:
    ids, keys = np.empty(num, dtype=np.int32), np.empty(num, dtype=np.uint32)
    return Segment(size, starts, ids, keys, np.empty((num, 2), dtype=np.uint64))


@compiled
def count_indexed(length: WholeNumber, share: float) -> WholeNumber:
    """Return how many of its rarest tokens a text must index to be found by any text more similar than `share`."""
    least = np.int64(share * length / (2 - share)) + 1
    return max(length - least + 1, 0)


@compiled
def _build_postings(rows: Array, numbers: Array, texts: Texts, share: float, segment: Segment, fill: bool) -> None:
    """Count the postings of each token in `starts`, or, with `fill`, write them where `starts` says.

    `rows` are the texts to take, sorted by length; `numbers` are their numbers in the pool.
    """
    offsets, ordered = texts.offsets, texts.ordered
    low = 0
    while low < rows.size:
        length = offsets[rows[low] + 1] - offsets[rows[low]]
        high = low
        while high < rows.size and offsets[rows[high] + 1] - offsets[rows[high]] == length:
            high += 1
        for place in range(count_indexed(length, share)):
            key = (min(length, CAP) << 16) | min(place, CAP)
            for k in range(low, high):
                at = offsets[rows[k]] + place
                token = ordered[at]
                if place and ordered[at - 1] == token:
                    continue
                if fill:
                    to = segment.starts[token]
                    segment.ids[to], segment.keys[to] = numbers[k], key
                    for half in range(2):
                        segment.bits[to, half] = texts.signatures[rows[k], half]
                segment.starts[token] += 1
        low = high


@compiled
def _merge_postings(older: Segment, newer: Segment, merged: Segment) -> None:
    to = 0
    for token in range(newer.starts.size - 1):
        a = a_end = 0
        if token < older.starts.size - 1:
            a, a_end = older.starts[token], older.starts[token + 1]
        b, b_end = newer.starts[token], newer.starts[token + 1]
        merged.starts[token] = to
        while a < a_end or b < b_end:
            if b == b_end or (a < a_end and older.keys[a] <= newer.keys[b]):
                merged.ids[to], merged.keys[to] = older.ids[a], older.keys[a]
                merged.bits[to, 0], merged.bits[to, 1] = older.bits[a, 0], older.bits[a, 1]
                a += 1
            else:
                merged.ids[to], merged.keys[to] = newer.ids[b], newer.keys[b]
                merged.bits[to, 0], merged.bits[to, 1] = newer.bits[b, 0], newer.bits[b, 1]
                b += 1
            to += 1
    merged.starts[newer.starts.size - 1] = to
