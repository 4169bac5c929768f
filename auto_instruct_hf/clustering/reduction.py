"""Reduce embeddings to few dimensions with UMAP.

UMAP (McInnes et al. 2018, arXiv:1802.03426) starts from exact nearest neighbors and principal components. With a seed
it runs on one thread. All matrix products here run on one thread too, since float sums depend on the number of threads:
results are the same for any number of threads. On another kind of processor the last digits can differ, and with them
the clusters.
"""

import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from ..core import FloatArray, IntArray, Vectors

# Rows per block: against 50,000 rows, a block takes 100 MB.
_BLOCK = 512
_EPOCHS = 200


def reduce_vectors(vectors: Vectors, sizes: tuple[int, ...], *, n_neighbors: int, seed: int) -> list[FloatArray]:
    """Reduce embeddings, once for each requested number of dimensions.

    Args:
        vectors: Shape (rows, dimensions), of unit length.
        sizes: Numbers of dimensions.
        n_neighbors: UMAP's n_neighbors. With no more rows than that, the positions are principal components.
        seed: UMAP's random_state.

    Returns:
        Positions, each of shape (rows, size), finite; the same whatever the number of threads.
    """
    starts = _principal_components(vectors, max(sizes))
    if len(vectors) <= n_neighbors or np.ptp(starts) == 0:
        return [starts[:, :size] for size in sizes]

    import umap  # takes seconds to import: only where it is used

    near = find_neighbors(vectors, vectors, n_neighbors, is_self=True)
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=starts.shape)
    starts = (10 * starts / np.abs(starts).max() + noise).astype(np.float32)
    found = []
    for size in sizes:
        model = umap.UMAP(
            n_components=size,
            n_neighbors=n_neighbors,
            n_epochs=_EPOCHS,
            metric="cosine",
            min_dist=0.0,  # for clustering, as UMAP's documentation advises
            init=starts[:, :size],
            precomputed_knn=(*near, None),  # exact, and saves a minute of compilation
            random_state=seed,
            n_jobs=1,
        )
        with warnings.catch_warnings():
            # New rows are never transformed; disconnected rows get their principal components below.
            for message in ("precomputed_knn", "n_jobs value", "A few of your vertices were disconnected"):
                warnings.filterwarnings("ignore", message=message, module="umap")
            position = np.asarray(model.fit_transform(vectors), dtype=np.float64)
        # UMAP returns NaN for rows without a neighbor at a cosine distance below 1: use their principal components.
        found.append(np.where(np.isfinite(position), position, starts[:, :size]))
    return found


def find_neighbors(vectors: Vectors, known: Vectors, count: int, *, is_self: bool = False) -> tuple[IntArray, Vectors]:
    """Find the exact nearest known rows of each row by cosine distance, in blocks; all vectors have unit length.

    Returns indices and distances, shape (rows, count), nearest first, ties by index. With `is_self` the rows are the
    known ones, and each is its own first neighbor.
    """
    indices = np.empty((len(vectors), count), dtype=np.int64)
    distances = np.empty((len(vectors), count), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        with threadpool_limits(1):
            block = 1 - vectors[start : start + _BLOCK] @ known.T
        if is_self:
            block[np.arange(len(block)), np.arange(start, start + len(block))] = -1.0
        part = np.argpartition(block, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(block, part, axis=1)
        order = np.lexsort((part, values), axis=1)
        indices[start : start + _BLOCK] = np.take_along_axis(part, order, axis=1)
        distances[start : start + _BLOCK] = np.clip(np.take_along_axis(values, order, axis=1), 0.0, None)
    return indices, distances


def _principal_components(vectors: Vectors, dimensions: int) -> FloatArray:
    """Return the first principal components, padded with zeros; signs are fixed by the largest coordinate."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    with threadpool_limits(1):
        square = sum(
            (block := vectors[start : start + 8192] - mean).T @ block for start in range(0, len(vectors), 8192)
        )
        axes = np.linalg.eigh(square)[1][:, ::-1][:, :dimensions]
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
        found = np.zeros((len(vectors), dimensions))
        found[:, : axes.shape[1]] = (vectors - mean) @ axes
    return found
