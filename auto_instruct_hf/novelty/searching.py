"""The compiled search: postings of the pool, and texts against them. Imports numba, see `kernels`.

A posting is one token of one text: the text's number, its length and the token's place among its tokens by rarity, the
bits of all its tokens. A token's postings are in the order of length and place, so that what is too short, too long or
stands too late to be near is leapt over.
"""

import numpy as np

from .kernels import Array, compiled, count_bits, f1, first_not_below, longest_common, set_mask
from .measure import SLACK

_LEAST_LIMIT = 1e-9  # F1 of two texts that share one token is at least 2 / tokens of both
_CAP = 0xFFFF  # what a key holds of a length and of a place, 16 bits each


@compiled
def count_indexed(length: int, share: float) -> int:
    """Return how many of a text's rarest tokens one that is nearer than `share` must meet: all but what can miss."""
    least = np.int64(share * length / (2 - share)) + 1
    return max(length - least + 1, 0)


@compiled
def build(
    rows: Array,
    row_ids: Array,
    offsets: Array,
    ordered: Array,
    signatures: Array,
    share: float,
    starts: Array,
    ids: Array,
    keys: Array,
    words: Array,
    fill: bool,
) -> None:
    """Make postings of texts, in two passes.

    Args:
        rows: The texts, by length.
        row_ids: Their numbers in the pool.
        offsets: Where each text begins in `ordered`.
        ordered: The tokens of each text by rarity.
        signatures: Their bits.
        share: The similarity below which nothing is sought.
        starts: First pass: counts the postings of each token. Second: where the next one of each goes.
        ids: Receives the texts' numbers.
        keys: Receives length and place.
        words: Receives the bits.
        fill: Whether it is the second pass.
    """
    low = 0
    while low < rows.size:
        length = offsets[rows[low] + 1] - offsets[rows[low]]
        high = low
        while high < rows.size and offsets[rows[high] + 1] - offsets[rows[high]] == length:
            high += 1
        for place in range(count_indexed(length, share)):
            key = np.uint32((min(length, _CAP) << 16) | min(place, _CAP))
            for k in range(low, high):
                at = offsets[rows[k]] + place
                token = ordered[at]
                if place and ordered[at - 1] == token:
                    continue
                if fill:
                    to = starts[token]
                    ids[to], keys[to] = row_ids[k], key
                    words[to, 0], words[to, 1] = signatures[rows[k], 0], signatures[rows[k], 1]
                starts[token] += 1
        low = high


@compiled
def merge(
    starts_a: Array,
    ids_a: Array,
    keys_a: Array,
    words_a: Array,
    starts_b: Array,
    ids_b: Array,
    keys_b: Array,
    words_b: Array,
    starts: Array,
    ids: Array,
    keys: Array,
    words: Array,
) -> None:
    """Merge the postings a and b; b has seen all tokens of a, and perhaps more."""
    to = 0
    for token in range(starts_b.size - 1):
        a = a_end = 0
        if token < starts_a.size - 1:
            a, a_end = starts_a[token], starts_a[token + 1]
        b, b_end = starts_b[token], starts_b[token + 1]
        starts[token] = to
        while a < a_end or b < b_end:
            if b == b_end or (a < a_end and keys_a[a] <= keys_b[b]):
                ids[to], keys[to], words[to, 0], words[to, 1] = ids_a[a], keys_a[a], words_a[a, 0], words_a[a, 1]
                a += 1
            else:
                ids[to], keys[to], words[to, 0], words[to, 1] = ids_b[b], keys_b[b], words_b[b, 0], words_b[b, 1]
                b += 1
            to += 1
    starts[starts_b.size - 1] = to


@compiled
def _root(parents: Array, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@compiled
def search(
    first: int,
    last: int,
    offsets: Array,
    tokens: Array,
    ordered: Array,
    signatures: Array,
    best: Array,
    nearest: Array,
    starts: Array,
    ids: Array,
    keys: Array,
    words: Array,
    pool_offsets: Array,
    pool_tokens: Array,
    mask: Array,
    carry: Array,
    seen: Array,
    state: Array,
    own: int,
    parents: Array,
    pairs: Array,
) -> int:
    """Compare texts with postings.

    Args:
        first: The first of the texts.
        last: The one after the last.
        offsets: Where each text begins in `tokens` and `ordered`.
        tokens: Their tokens.
        ordered: The same by rarity.
        signatures: Their bits.
        best: The similarity that is to be beaten; raised to the highest found.
        nearest: The number of the text that has it, the lowest of several; -1 while there is none.
        starts: Where the postings of each token begin.
        ids: Postings: the texts' numbers.
        keys: Postings: length and place.
        words: Postings: bits.
        pool_offsets: Where each text of the pool begins in `pool_tokens`.
        pool_tokens: The tokens of the pool.
        mask: Zeros, one a token.
        carry: As long as the longest text.
        seen: For each text of the pool, the last search that met it.
        state: The number of the last search; pairs found.
        own: Where not negative: the number of text 0 in the pool; all that is nearer than `best` and before the text
            itself is then reported as below, and `best` stays.
        parents: Where not empty: such texts are joined in it (a forest of numbers).
        pairs: Else: they are written here, as far as there is room for all of a text's.

    Returns:
        The first text that was not compared: `last`, unless there was no room.
    """
    known = starts.size - 1
    for row in range(first, last):
        start, end = offsets[row], offsets[row + 1]
        m = end - start
        bits, more_bits = signatures[row, 0], signatures[row, 1]
        is_set = False
        state[0] += 1
        begun = state[1]
        limit = max(best[row] - SLACK, _LEAST_LIMIT)
        shortest = min(np.int64(limit * m / (2 - limit)), _CAP)
        for i in range(m):
            left = m - i
            if 2 * left <= limit * (m + left):  # all that shares nothing so far
                break
            token = ordered[start + i]
            if token >= known or (i and ordered[start + i - 1] == token):
                continue
            at, stop = np.int64(starts[token]), np.int64(starts[token + 1])
            n, need = -1, 0
            while at < stop:
                key = np.int64(keys[at])
                length = key >> 16
                if length < shortest:
                    at = first_not_below(keys, at, stop, shortest << 16)
                    continue
                if length == _CAP:
                    length = pool_offsets[ids[at] + 1] - pool_offsets[ids[at]]
                if length != n:
                    n = length
                    need = np.int64((m + n) * limit * 0.5) + 1
                if need > left:
                    if n < _CAP:
                        break
                    at += 1
                    continue
                if need > n - (key & _CAP):
                    # Texts beyond the cap are not in the order of their places.
                    at = first_not_below(keys, at, stop, (n + 1) << 16) if n < _CAP else at + 1
                    continue
                lacks = np.int64(count_bits(bits & ~words[at, 0]) + count_bits(more_bits & ~words[at, 1]))
                lacks_other = np.int64(count_bits(words[at, 0] & ~bits) + count_bits(words[at, 1] & ~more_bits))
                other = np.int64(ids[at])
                at += 1
                if m - lacks < need or n - lacks_other < need or seen[other] == state[0]:
                    continue
                seen[other] = state[0]
                if own >= 0:
                    if other >= own + row:
                        continue
                    if parents.size and _root(parents, other) == _root(parents, own + row):
                        continue
                if not is_set:
                    set_mask(tokens, start, end, mask)
                    is_set = True
                begin = pool_offsets[other]
                shared = longest_common(tokens, start, end, pool_tokens, begin, begin + n, mask, carry, need)
                if shared < need:
                    continue
                found = f1(shared, m, n)
                if own >= 0:
                    if found > best[row]:
                        if parents.size:
                            parents[_root(parents, own + row)] = _root(parents, other)
                        else:
                            if state[1] < pairs.shape[0]:
                                pairs[state[1], 0], pairs[state[1], 1] = other, own + row
                            state[1] += 1
                elif found > best[row] or (found == best[row] and 0 <= other < nearest[row]):
                    best[row], nearest[row] = found, other
                    limit = max(found - SLACK, _LEAST_LIMIT)
                    shortest = min(np.int64(limit * m / (2 - limit)), _CAP)
                    n = -1
        if is_set and m <= 64:
            for k in range(start, end):
                mask[tokens[k]] = 0
        if state[1] > pairs.shape[0]:
            state[1] = begun
            return row
    return last


@compiled
def admit(
    offsets: Array,
    tokens: Array,
    ordered: Array,
    signatures: Array,
    best: Array,
    nearest: Array,
    threshold: float,
    share: float,
    base: int,
    numbers: Array,
    heads: Array,
    following: Array,
    entry_rows: Array,
    entry_places: Array,
    mask: Array,
    carry: Array,
    seen: Array,
) -> int:
    """Judge texts one after the other against those admitted before, having been compared with the pool.

    Args:
        offsets: As for `search`, and so are the next five.
        tokens: See there.
        ordered: See there.
        signatures: See there.
        best: See there.
        nearest: See there.
        threshold: A text whose highest similarity is above this is not admitted.
        share: The similarity below which nothing is sought.
        base: The number in the pool of the first that is admitted.
        numbers: Receives the number in the pool of each text, -1 if not admitted.
        heads: -1 a token; the first entry of each token's chain.
        following: The next entry of the chain.
        entry_rows: The text of each entry.
        entry_places: The place of the entry's token among the text's by rarity.
        mask: As for `search`.
        carry: As for `search`.
        seen: For each of the texts, below 0.

    Returns:
        How many were admitted.
    """
    admitted = entries = 0
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
                lacks = lacks_other = 0
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
                found = f1(shared, m, n)
                if found > best[row] or (found == best[row] and 0 <= numbers[other] < nearest[row]):
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
                following[entries], entry_rows[entries], entry_places[entries] = heads[token], row, i
                heads[token] = entries
                entries += 1
    for entry in range(entries):
        heads[ordered[offsets[entry_rows[entry]] + entry_places[entry]]] = -1
    return admitted
