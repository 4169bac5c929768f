"""Compiled loops on single texts. Importing this module imports numba, so only large pools do.

A text is an array of token numbers. Sorted by rarity, two similar texts share one of their rarest tokens (prefix filter
with positions, Xiao et al. 2008, "Efficient Similarity Joins for Near Duplicate Detection"); bit signatures of the
tokens bound the overlap; the remaining candidates are verified by the bit-parallel longest common subsequence of Hyyro
2004.

Each bound is `SLACK` below the similarity to exceed, so a filter never drops a match. The decision uses the formula of
`rouge_score` on the exact length.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Array = npt.NDArray[Any]  # of any type of number
WholeNumber = Any  # Python's or numpy's

SEPARATOR = 0xFF  # a byte that never occurs in UTF-8
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile with numba; cache the result in NUMBA_CACHE_DIR, beside this file or in the user's cache."""
    try:
        return njit(function, cache=True, nogil=True)
    except RuntimeError:  # none of these folders is writable
        return njit(function, nogil=True)


def _count_bits(_context, _word):  # type: ignore[no-untyped-def]  # numba's API
    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]  # numba's API
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


count_bits: Any = intrinsic(_count_bits)


def _prefetch(_context, _array, _index):  # type: ignore[no-untyped-def]  # numba's API
    """Prefetch an element of a one-dimensional array, or the first of a row of a two-dimensional one."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # numba's API
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.mul(arguments[1], ir.Constant(arguments[1].type, signature.args[0].ndim))
        address = builder.bitcast(builder.gep(array.data, [place]), cgutils.voidptr_t)
        number = ir.IntType(32)
        insert: Any = cgutils.get_or_insert_function
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = insert(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(_array, types.int64), generate


prefetch: Any = intrinsic(_prefetch)


@compiled
def encode(
    data: Array,
    is_token: Array,
    table: Array,
    hashes: Array,
    ends: Array,
    arena: Array,
    out: Array,
    offsets: Array,
    state: Array,
) -> None:
    """Number the tokens of UTF-8 texts, as far as the tables have room.

    Args:
        data: The bytes of the texts, a SEPARATOR between each two.
        is_token: For each byte, whether it is part of a token.
        table: Hash table of token numbers, a power of two in size, -1 where free. All free: it is filled anew.
        hashes: The hash of each token.
        ends: Where in `arena` each token ends; it begins where the one before ends.
        arena: The bytes of the tokens.
        out: Receives the token numbers.
        offsets: Receives where each text begins in `out`, and where the last ends.
        state: The next byte, the text it stands in, tokens written, tokens known, whether to fill the table.
    """
    position, row, written, known = state[0], state[1], state[2], state[3]
    last = np.uint64(table.size - 1)
    if state[4]:
        state[4] = 0
        for number in range(known):
            place = np.int64(hashes[number] & last)
            while table[place] >= 0:
                place = (place + 1) & np.int64(last)
            table[place] = number
    while position < data.size:
        if data[position] == SEPARATOR:
            row += 1
            offsets[row] = written
        if not is_token[data[position]]:
            position += 1
            continue
        end = position
        digest = np.uint64(0xCBF29CE484222325)  # FNV-1a
        while end < data.size and is_token[data[end]]:
            digest = (digest ^ np.uint64(data[end])) * np.uint64(0x100000001B3)
            end += 1
        digest ^= digest >> np.uint64(29)
        size = end - position
        place = np.int64(digest & last)
        token = np.int64(table[place])
        while token >= 0:
            first = ends[token - 1] if token else 0
            if hashes[token] == digest and ends[token] - first == size:
                same = 0
                while same < size and arena[first + same] == data[position + same]:
                    same += 1
                if same == size:
                    break
            place = (place + 1) & np.int64(last)
            token = np.int64(table[place])
        if token < 0:
            used = ends[known - 1] if known else 0
            if 2 * known >= table.size or known >= ends.size or used + size > arena.size:
                break
            token = known
            table[place] = token
            hashes[token] = digest
            ends[token] = used + size
            for k in range(size):
                arena[used + k] = data[position + k]
            known += 1
        out[written] = token
        written += 1
        position = end
    offsets[row + 1] = written
    state[0], state[1], state[2], state[3] = position, row, written, known


@compiled
def prepare(offsets: Array, tokens: Array, rank: Array, ordered: Array, signatures: Array) -> None:
    """Sort the tokens of each text by rank into `ordered` (Shell sort); set their bits in `signatures`.

    Each further occurrence of a token sets another bit, so that the bits bound the overlap of multisets of tokens.
    """
    for row in range(offsets.size - 1):
        start, end = offsets[row], offsets[row + 1]
        for k in range(start, end):
            ordered[k] = tokens[k]
        gap = 1
        while gap < (end - start) // 3:
            gap = 3 * gap + 1
        while gap >= 1:
            for k in range(start + gap, end):
                token, at = ordered[k], k
                while at >= start + gap and rank[ordered[at - gap]] > rank[token]:
                    ordered[at] = ordered[at - gap]
                    at -= gap
                ordered[at] = token
            gap //= 3
        occurrence = np.uint64(0)
        for k in range(start, end):
            occurrence = occurrence + ONE if k > start and ordered[k] == ordered[k - 1] else np.uint64(0)
            mixed = np.uint64(ordered[k]) + ONE + occurrence * np.uint64(0xC2B2AE3D27D4EB4F)
            mixed *= np.uint64(0x9E3779B97F4A7C15)
            signatures[row, np.int64(mixed >> np.uint64(63))] |= ONE << ((mixed >> np.uint64(40)) & np.uint64(63))


@compiled
def longest_common(
    a: Array,
    a0: WholeNumber,
    a1: WholeNumber,
    b: Array,
    b0: WholeNumber,
    b1: WholeNumber,
    mask: Array,
    carry: Array,
    least: WholeNumber,
) -> WholeNumber:
    """Return the length of the longest common subsequence of a[a0:a1] and b[b0:b1]; 0 if it must be below `least`.

    `mask` holds the positions of the tokens of a[a0:a1] if there are at most 64, else zeros.
    """
    total: WholeNumber = 0
    if a1 - a0 <= 64:
        v = _FULL
        for k in range(b0, b1):
            u = v & mask[b[k]]
            v = (v + u) | (v - u)
        return np.int64(count_bits(~v))
    for k in range(a0, a1):
        mask[a[k]] += ONE
    for k in range(b0, b1):
        if mask[b[k]]:
            mask[b[k]] -= ONE
            total += 1
        carry[k - b0] = 0
    for k in range(a0, a1):
        mask[a[k]] = 0
    if total < least:
        return 0
    total = 0
    for block in range(a0, a1, 64):
        end = min(block + 64, a1)
        for k in range(block, end):
            mask[a[k]] |= ONE << np.uint64(k - block)
        v = _FULL
        for k in range(b0, b1):
            u = v & mask[b[k]]
            low = v + u
            both = low + np.uint64(carry[k - b0])
            carry[k - b0] = low < v or both < low
            v = both | (v - u)
        if end - block < 64:
            v |= _FULL << np.uint64(end - block)
        total += np.int64(count_bits(~v))
        for k in range(block, end):
            mask[a[k]] = 0
        if total + a1 - end < least:
            return 0
    return total


@compiled
def compute_f1(common: WholeNumber, m: WholeNumber, n: WholeNumber) -> float:
    """Return ROUGE-L F1 by the operations of `measure.f1`."""
    precision = common / m
    recall = common / n
    found: float = 2 * precision * recall / (precision + recall)
    return found


@compiled
def first_not_below(keys: Array, low: WholeNumber, end: WholeNumber, goal: WholeNumber) -> WholeNumber:
    """Return the first index after `low` with a key of at least `goal`, by galloping search; keys[low] is below it."""
    step = 1
    while low + step < end and np.int64(keys[low + step]) < goal:
        low += step
        step *= 2
    high = min(low + step, end)
    while high - low > 1:
        middle = (low + high) >> 1
        if np.int64(keys[middle]) < goal:
            low = middle
        else:
            high = middle
    return high
