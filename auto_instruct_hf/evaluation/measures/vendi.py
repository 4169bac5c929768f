"""Embeddings of texts, and their diversity: the Vendi score."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core import Vectors, default_folder
from ...embedding import encode_new, identify, make_encoder
from ...recipe import EmbeddingSettings

_BLOCK = 8192


def embed_texts(
    texts: Sequence[str], settings: EmbeddingSettings | None = None, cache_dir: Path | None = None
) -> Vectors:
    """Embed texts, each different one once, reusing the embeddings in the cache folder.

    Args:
        texts: At least one.
        settings: As for `embedding.embed`.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        float32 of unit length, shape (texts, dimensions).
    """
    settings, folder = settings or EmbeddingSettings(), cache_dir or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    store = folder / f"vectors-{identify(settings)}.sqlite"  # shared with `embed`, which stores a build's instructions
    vectors = encode_new(list(place), encode=make_encoder(settings, folder), store=store)
    return vectors[[place[text] for text in texts]]


def measure_vendi(vectors: npt.NDArray[np.floating]) -> float | None:
    """Measure the Vendi score of order 1 (Friedman and Dieng 2022, arXiv:2210.02410) with the cosine as its kernel.

    It is the exponential of the entropy of the eigenvalues of the kernel matrix divided by the number of rows: 1 for n
    equal rows, n for n orthogonal ones. The matrix of second moments has the same non-zero eigenvalues, so the matrix
    of all pairs is not needed. The score is at most the number of dimensions, however many rows there are.

    Args:
        vectors: Shape (n, d), finite, of any length but 0.

    Returns:
        The score, in [1, min(n, d)]; None without rows.

    Raises:
        ValueError: If a row is zero or not finite: it has no cosine.
    """
    if not len(vectors):
        return None
    size = vectors.shape[1]
    moments = np.zeros((size, size))
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)).reshape(-1))
        if len(bad):
            raise ValueError(f"vector {start + bad[0]} has the length {lengths[bad[0], 0]}: leave it out")
        block /= lengths
        moments += block.T @ block
    values = np.linalg.eigvalsh(moments / len(vectors))
    values = values[values > 0]
    entropy = float(-(values * np.log(values)).sum())
    return float(np.exp(np.clip(entropy, 0.0, np.log(min(len(vectors), size)))))
