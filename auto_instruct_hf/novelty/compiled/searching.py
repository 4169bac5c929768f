"""The compiled search: texts against the postings of a pool, and against each other. Imports numba, see `kernels`."""

import numpy as np

from ..measure import SLACK
from .kernels import (
    Array,
    WholeNumber,
    compiled,
    compute_f1,
    count_bits,
    first_not_below,
    longest_common,
    prefetch,
    set_mask,
)
from .postings import CAP, Postings, TextArrays, count_indexed

_SHORT = 24  # ours
_ANNOUNCED = 32  # tokens of a text
_LEAST_LIMIT = 1e-9  # F1 of two texts that share a token is at least 2 / tokens of both

ScratchArrays = tuple[Array, Array, Array, Array]
"""Zeros, one a token; room for the longest text; for each text of the pool the last search that met it; two counts: the
number of the last search, and the pairs found."""
Target = tuple[Array, Array, Array]
"""For each text: whether to compare it at all; the similarity that is to be beaten, raised to the highest found; the
number of the text that has it, the lowest of several, -1 while there is none."""


@compiled
def _root(parents: Array, row: WholeNumber) -> WholeNumber:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@compiled
def _announce(row: WholeNumber, texts: TextArrays, share: float, postings: Postings, deep: bool) -> None:
    """Prefetch what the search for a text will read: where its postings begin, then the postings."""
    start, end = texts[0][row], texts[0][row + 1]
    for k in range(start, start + min(count_indexed(end - start, share), _ANNOUNCED)):
        token = np.int64(texts[2][k])
        if token < postings[0].size - 1:
            if deep and postings[0][token] < postings[0][token + 1]:
                prefetch(postings[2], np.int64(postings[0][token]))
                prefetch(postings[3], np.int64(postings[0][token]))
            else:
                prefetch(postings[0], token)


@compiled
def search_pool(
    first: WholeNumber,
    last: WholeNumber,
    texts: TextArrays,
    target: Target,
    postings: Postings,
    pool: tuple[Array, Array],
    scratch: ScratchArrays,
    own: WholeNumber,
    parents: Array,
    pairs: Array,
) -> WholeNumber:
    """Compare texts with postings.

    Args:
        first: The first of the texts.
        last: The one after the last.
        texts: The texts.
        target: What is sought, and what was found.
        postings: A segment of the pool.
        pool: Where each text of the pool begins, and the tokens.
        scratch: Written in.
        own: Where not negative: the number of text 0 in the pool; all that is nearer than `target` and stands before
            the text itself is then reported as below, and `target` stays.
        parents: Where not empty: such texts are joined in it (a forest of numbers).
        pairs: Else they are written here, as far as there is room for all of a text's.

    Returns:
        The first text that was not compared: `last`, unless there was no room.
    """
    offsets, tokens, ordered, signatures = texts
    active, best, nearest = target
    starts, ids, keys, bits = postings
    pool_offsets, pool_tokens = pool
    mask, carry, seen, state = scratch
    for row in range(first, last):
        if row + 4 < last:
            _announce(row + 4, texts, max(best[row + 4] - SLACK, 0.0), postings, False)
        if row + 2 < last:
            _announce(row + 2, texts, max(best[row + 2] - SLACK, 0.0), postings, True)
        if not active[row]:
            continue
        start, end = offsets[row], offsets[row + 1]
        m = end - start
        x0, x1 = signatures[row, 0], signatures[row, 1]
        size = np.int64(count_bits(x0) + count_bits(x1))
        is_set = False
        state[0] += 1
        begun = state[1]
        limit = max(best[row] - SLACK, _LEAST_LIMIT)
        shortest: WholeNumber = min(np.int64(limit * m / (2 - limit)), CAP)
        for i in range(m):
            left = m - i
            if 2 * left <= limit * (m + left):  # the most that what shares nothing so far can reach
                break
            token = ordered[start + i]
            if token >= starts.size - 1 or (i and ordered[start + i - 1] == token):
                continue
            at, stop = np.int64(starts[token]), np.int64(starts[token + 1])
            while at < stop:
                # A run of postings is told apart by bits alone. In a long list it is of one length and stops where
                # texts are met too late in them; a short list is not worth leaping in.
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
                enough = size - (m - need)  # bits in common; with fewer, too many of the text's tokens are not in it
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
                    if own >= 0 and (
                        other >= own + row or (parents.size and _root(parents, other) == _root(parents, own + row))
                    ):
                        continue
                    if not is_set:
                        set_mask(tokens, start, end, mask)
                        is_set = True
                    begin = pool_offsets[other]
                    shared = longest_common(tokens, start, end, pool_tokens, begin, begin + n, mask, carry, need)
                    if shared < need:
                        continue
                    found = compute_f1(shared, m, n)
                    if own >= 0:
                        if found > best[row] and parents.size:
                            parents[_root(parents, own + row)] = _root(parents, other)
                        elif found > best[row]:
                            if state[1] < pairs.shape[0]:
                                pairs[state[1], 0], pairs[state[1], 1] = other, own + row
                            state[1] += 1
                    elif found > best[row] or (found == best[row] and other < nearest[row]):
                        best[row], nearest[row] = found, other
                        limit = max(found - SLACK, _LEAST_LIMIT)
                        shortest = min(np.int64(limit * m / (2 - limit)), CAP)
                        break  # the run is another now
        if is_set and m <= 64:
            for k in range(start, end):
                mask[tokens[k]] = 0
        if state[1] > pairs.shape[0]:
            state[1] = begun
            return row
    return last


@compiled
def admit_novel(
    texts: TextArrays,
    target: Target,
    threshold: float,
    share: float,
    base: WholeNumber,
    numbers: Array,
    heads: Array,
    entries: tuple[Array, Array, Array],
    scratch: ScratchArrays,
) -> None:
    """Judge texts one after the other against those admitted before, having been compared with the pool.

    Args:
        texts: The texts.
        target: As for `search_pool`; all are compared.
        threshold: A text whose highest similarity is above this is not admitted.
        share: The similarity below which nothing is sought.
        base: The number in the pool of the first that is admitted.
        numbers: Receives the number in the pool of each text, -1 if it is not admitted.
        heads: -1 for each token; the first entry of its chain.
        entries: For each entry: the next of its chain; its text; its token's place among the text's by rarity.
        scratch: As for `search_pool`, but for texts of this block.
    """
    offsets, tokens, ordered, signatures = texts
    _, best, nearest = target
    following, entry_rows, entry_places = entries
    mask, carry, seen, _ = scratch
    admitted = count = 0
    for row in range(numbers.size):
        start, end = offsets[row], offsets[row + 1]
        m = end - start
        is_set = False
        limit = max(best[row] - SLACK, _LEAST_LIMIT)
        for i in range(m):
            left = m - i
            if 2 * left <= limit * (m + left):
                break
            token = ordered[start + i]
            entry = heads[token] if not i or ordered[start + i - 1] != token else -1
            while entry >= 0:
                other, place = entry_rows[entry], entry_places[entry]
                entry = following[entry]
                begin = offsets[other]
                n = offsets[other + 1] - begin
                need = np.int64((m + n) * limit * 0.5) + 1
                if need > left or need > n - place or seen[other] == row:
                    continue
                seen[other] = row
                lacks, lacks_other = np.int64(0), np.int64(0)
                for k in range(2):
                    lacks += np.int64(count_bits(signatures[row, k] & ~signatures[other, k]))
                    lacks_other += np.int64(count_bits(signatures[other, k] & ~signatures[row, k]))
                if m - lacks < need or n - lacks_other < need:
                    continue
                if not is_set:
                    set_mask(tokens, start, end, mask)
                    is_set = True
                shared = longest_common(tokens, start, end, tokens, begin, begin + n, mask, carry, need)
                if shared < need:
                    continue
                found = compute_f1(shared, m, n)
                if found > best[row] or (found == best[row] and numbers[other] < nearest[row]):
                    best[row], nearest[row] = found, numbers[other]
                    limit = max(found - SLACK, _LEAST_LIMIT)
        if is_set and m <= 64:
            for k in range(start, end):
                mask[tokens[k]] = 0
        numbers[row] = -1
        if best[row] > threshold:
            continue
        numbers[row] = base + admitted
        admitted += 1
        for i in range(count_indexed(m, share)):
            token = ordered[start + i]
            if not i or ordered[start + i - 1] != token:
                following[count], entry_rows[count], entry_places[count] = heads[token], row, i
                heads[token] = count
                count += 1
    for entry in range(count):
        heads[ordered[offsets[entry_rows[entry]] + entry_places[entry]]] = -1
