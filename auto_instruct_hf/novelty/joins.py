"""Near duplicates within one set of texts, or between two."""

from collections.abc import Iterable, Sequence

import numpy as np

from ..core import IntArray
from . import index
from .index import NoveltyIndex, Verdicts

# Thresholds to search large sets with, tried in this order: a higher one is faster.
_FLOORS = (0.6, 0.4, 0.2, 1e-6)


def near_groups(texts: Sequence[str], max_similarity: float, tokenizer: str = "rouge") -> IntArray:
    """Group texts so that near duplicates share a group.

    Args:
        texts: Texts to compare.
        max_similarity: In (0, 1].
        tokenizer: A name in TOKENIZERS.

    Returns:
        The group of each text, numbered from 0 by first occurrence. Texts are in one group if a chain of pairs with
        ROUGE-L F1 above `max_similarity` connects them.
    """
    return connect(len(texts), _filled(texts, max_similarity, tokenizer).links())


def connect(count: int, links: Iterable[IntArray]) -> IntArray:
    """Return the group of each of `count` positions, numbered from 0 by first occurrence.

    `links` are arrays of pairs of positions, shape (n, 2), that are in one group. About `count` pairs are held at once.
    """
    groups = np.arange(count)
    pending: list[IntArray] = []
    size = 0
    for pairs in links:
        pending.append(pairs)
        size += len(pairs)
        if size >= count:
            groups, pending, size = _merge(groups, pending), [], 0
    return np.unique(_merge(groups, pending), return_inverse=True)[1].astype(np.int64)


def _merge(groups: IntArray, links: list[IntArray]) -> IntArray:
    """Return the groups that more pairs make, each the lowest of its positions."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = np.concatenate([*links, np.stack([np.arange(len(groups)), groups], axis=1)])
    graph = coo_array((np.ones(len(joined), dtype=np.bool_), (joined[:, 0], joined[:, 1])), shape=(len(groups),) * 2)
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse]


def near_copies(
    texts: Sequence[str], references: Sequence[str], max_similarity: float = 0.7, tokenizer: str = "rouge"
) -> Verdicts:
    """Find texts that are near duplicates of references, such as a benchmark or another split.

    Args:
        texts: Texts to compare.
        references: What they are compared with.
        max_similarity: In (0, 1].
        tokenizer: A name in TOKENIZERS.

    Returns:
        One verdict per text; if it is not novel, `nearest` is the position of the most similar reference.
    """
    return _filled(references, max_similarity, tokenizer).compare(texts)


def highest_similarity(texts: Sequence[str], references: Sequence[str], tokenizer: str = "rouge") -> float:
    """Return the highest ROUGE-L F1 of any text with any reference, exactly; 0 if none share a token."""
    is_small = len(texts) + len(references) <= index.MAX_PAIRWISE
    for floor in _FLOORS:
        pool = NoveltyIndex(floor, tokenizer, nearest=is_small)
        pool.add(references)
        found = pool.compare(texts).similarity
        highest = float(np.max(found[~np.isnan(found)], initial=0.0))
        if highest or is_small:
            return highest
    return 0.0


def _filled(texts: Sequence[str], max_similarity: float, tokenizer: str) -> NoveltyIndex:
    pool = NoveltyIndex(max_similarity, tokenizer, nearest=False)
    pool.add(texts)
    return pool
