"""Postings: the inverted index of a pool. Compiled; imports numba, see `kernels`.

A posting is one token of one text: the text's number, its length and the token's place among its tokens by rarity, the
bits of all its tokens. A token's postings are in the order of length and place, so that what is too short, too long or
has the token too late to be similar is skipped.
"""

import numpy as np

from .kernels import Array, WholeNumber, compiled

CAP = 0xFFFF  # what a key holds of a length and of a place, 16 bits each
TextArrays = tuple[Array, Array, Array, Array]
"""Where each text begins and the last ends; tokens; tokens by rarity; for each text the bits of its tokens, (n, 2)."""
Postings = tuple[Array, Array, Array, Array]
"""Where each token's postings begin and the last end; the texts' numbers; length and place; bits, (n, 2)."""


@compiled
def count_indexed(length: WholeNumber, share: float) -> WholeNumber:
    """Return how many of a text's rarest tokens one that is nearer than `share` must meet: all but what can miss."""
    least = np.int64(share * length / (2 - share)) + 1
    return max(length - least + 1, 0)


@compiled
def build_postings(
    rows: Array, numbers: Array, texts: TextArrays, share: float, postings: Postings, fill: bool
) -> None:
    """Make postings of texts, in two passes.

    Args:
        rows: The texts to take, by length.
        numbers: Their numbers in the pool.
        texts: The texts.
        share: The similarity below which nothing is sought.
        postings: Where they go. In the first pass `starts` counts the postings of each token, in the second it is where
            the next one goes.
        fill: Whether it is the second pass.
    """
    offsets, _, ordered, signatures = texts
    starts, ids, keys, bits = postings
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
                    to = starts[token]
                    ids[to], keys[to] = numbers[k], key
                    bits[to, 0], bits[to, 1] = signatures[rows[k], 0], signatures[rows[k], 1]
                starts[token] += 1
        low = high


@compiled
def merge_postings(older: Postings, newer: Postings, merged: Postings) -> None:
    """Merge postings; the newer have seen all tokens of the older, and perhaps more."""
    to = 0
    for token in range(newer[0].size - 1):
        a = a_end = 0
        if token < older[0].size - 1:
            a, a_end = older[0][token], older[0][token + 1]
        b, b_end = newer[0][token], newer[0][token + 1]
        merged[0][token] = to
        while a < a_end or b < b_end:
            if b == b_end or (a < a_end and older[2][a] <= newer[2][b]):
                merged[1][to], merged[2][to] = older[1][a], older[2][a]
                merged[3][to, 0], merged[3][to, 1] = older[3][a, 0], older[3][a, 1]
                a += 1
            else:
                merged[1][to], merged[2][to] = newer[1][b], newer[2][b]
                merged[3][to, 0], merged[3][to, 1] = newer[3][b, 0], newer[3][b, 1]
                b += 1
            to += 1
    merged[0][newer[0].size - 1] = to
