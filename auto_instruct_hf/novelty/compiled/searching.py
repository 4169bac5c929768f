"""The compiled search for similar texts through the postings of a segment. Imports numba, see `kernels`."""

from typing import NamedTuple

import numpy as np

from ..measure import SLACK
from .kernels import (
    ONE,
    Array,
    WholeNumber,
    compiled,
    compute_f1,
    count_bits,
    first_not_below,
    longest_common,
    prefetch,
)
from .postings import CAP, Scratch, Segment, Texts, count_indexed

_SHORT = 24  # ours
_PREFETCHED = 32  # tokens of a text
_LEAST_LIMIT = 1e-9  # F1 of two texts that share a token is at least 2 / tokens of both


class Target(NamedTuple):
    """What is searched and found for each text."""

    active: Array
    """Whether to search at all."""
    best: Array
    """The similarity to exceed, raised to the highest found."""
    nearest: Array
    """The number of the text with that similarity, the lowest of several; -1: none yet."""


@compiled
def _root(parents: Array, row: WholeNumber) -> WholeNumber:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@compiled
def _prefetch(row: WholeNumber, texts: Texts, share: float, segment: Segment, deep: bool) -> None:
    """Prefetch what the search for a text reads: the starts of its postings, then, if `deep`, the postings."""
    start, end = texts.offsets[row], texts.offsets[row + 1]
    for k in range(start, start + min(count_indexed(end - start, share), _PREFETCHED)):
        token = np.int64(texts.ordered[k])
        if token < segment.starts.size - 1:
            if deep and segment.starts[token] < segment.starts[token + 1]:
                prefetch(segment.keys, np.int64(segment.starts[token]))
                prefetch(segment.bits, np.int64(segment.starts[token]))
            else:
                prefetch(segment.starts, token)


@compiled
def search_segment(
    first: WholeNumber,
    last: WholeNumber,
    texts: Texts,
    target: Target,
    segment: Segment,
    pool: tuple[Array, Array],
    scratch: Scratch,
    own: WholeNumber,
    numbers: Array,
    threshold: float,
) -> None:
    """Search the texts `first` to before `last` in a segment and update the target.

    Args:
        first: The first text to search.
        last: The text to stop before.
        texts: The texts.
        target: Input and output.
        segment: A segment of the pool.
        pool: Offsets and tokens of the texts that the segment's ids refer to.
        scratch: Written to. If it has parents, pairs more similar than the target are joined there; the target stays.
        own: The id of text 0 in the segment, so that a text meets only those before it; larger than all ids if none.
        numbers: Empty, or for admission one by one: the number in the pool of each text of the segment, at first -1
            but for the next free number at the end. A text is admitted, and found by later ones, if its highest
            similarity is not above `threshold`.
        threshold: See `numbers`.
    """
    offsets, tokens, ordered, signatures = texts
    active, best, nearest = target
    _, starts, ids, keys, bits = segment
    pool_offsets, pool_tokens = pool
    mask, carry, seen, state, parents = scratch
    for row in range(first, last):
        if row + 4 < last:
            _prefetch(row + 4, texts, max(best[row + 4] - SLACK, 0.0), segment, False)
        if row + 2 < last:
            _prefetch(row + 2, texts, max(best[row + 2] - SLACK, 0.0), segment, True)
        if not active[row]:
            continue
        start, end = offsets[row], offsets[row + 1]
        m = end - start
        x0, x1 = signatures[row, 0], signatures[row, 1]
        size = np.int64(count_bits(x0) + count_bits(x1))
        is_set = False
        state[0] += 1
        limit = max(best[row] - SLACK, _LEAST_LIMIT)
        shortest: WholeNumber = min(np.int64(limit * m / (2 - limit)), CAP)
        for i in range(m):
            left = m - i
            if 2 * left <= limit * (m + left):  # the highest F1 of a text that shares none of the first i tokens
                break
            token = ordered[start + i]
            if token >= starts.size - 1 or (i and ordered[start + i - 1] == token):
                continue
            at, stop = np.int64(starts[token]), np.int64(starts[token + 1])
            while at < stop:
                # Within a run of postings, bits alone are compared. In a long list a run has one length and ends where
                # the token is too late in the texts; a short list is one run.
                length, run = shortest, stop
                if stop - at > _SHORT:
                    length = np.int64(keys[at]) >> 16
                    if length < shortest:
                        at = first_not_below(keys, at, stop, shortest << 16)
                        continue
                need = np.int64((m + length) * limit * 0.5) + 1
                if need > left:
                    break
                if stop - at > _SHORT and length < CAP:
                    if length - need < np.int64(keys[at]) & CAP:
                        at = first_not_below(keys, at, stop, (length + 1) << 16)
                        continue
                    run = first_not_below(keys, at, stop, ((length << 16) | (length - need)) + 1)
                enough = size - (m - need)  # bits that must be shared
                while at < run:
                    same = np.int64(count_bits(x0 & bits[at, 0]) + count_bits(x1 & bits[at, 1]))
                    at += 1
                    if same < enough:
                        continue
                    other = np.int64(ids[at - 1])
                    n = np.int64(keys[at - 1]) >> 16
                    if n == CAP:
                        n = pool_offsets[other + 1] - pool_offsets[other]
                    need = np.int64((m + n) * limit * 0.5) + 1
                    lacks = np.int64(count_bits(bits[at - 1, 0]) + count_bits(bits[at - 1, 1])) - same
                    late = max(lacks, np.int64(keys[at - 1]) & CAP)
                    if need > left or size - same > m - need or late > n - need or seen[other] == state[0]:
                        continue
                    seen[other] = state[0]
                    if other >= own + row or (numbers.size and numbers[other] < 0):
                        continue
                    if parents.size and _root(parents, other) == _root(parents, own + row):
                        continue
                    if not is_set and m <= 64:
                        for k in range(start, end):
                            mask[tokens[k]] |= ONE << np.uint64(k - start)
                        is_set = True
                    begin = pool_offsets[other]
                    shared = longest_common(tokens, start, end, pool_tokens, begin, begin + n, mask, carry, need)
                    if shared < need:
                        continue
                    found = compute_f1(shared, m, n)
                    number = numbers[other] if numbers.size else other
                    if parents.size:
                        if found > best[row]:
                            parents[_root(parents, own + row)] = _root(parents, other)
                    elif found > best[row] or (found == best[row] and number < nearest[row]):
                        best[row], nearest[row] = found, number
                        limit = max(found - SLACK, _LEAST_LIMIT)
                        shortest = min(np.int64(limit * m / (2 - limit)), CAP)
                        break  # the new limit changes the run
        if is_set:
            for k in range(start, end):
                mask[tokens[k]] = 0
        if numbers.size and not best[row] > threshold:
            numbers[row] = numbers[-1]
            numbers[-1] += 1
