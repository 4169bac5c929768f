"""Measurements of embeddings: the Vendi score, and the alignment of outputs with their prompts."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core import Vectors
from ...embedding import open_encoder
from ...novelty import cosine_groups, nearest_cosines
from ...recipe import MAX_COSINE, EmbeddingSettings
from .distributions import Figures, describe_values

_BLOCK = 4096  # rows, to bound memory
_TIE = 1e-6  # rounding of a cosine in float32


def embed_texts(
    texts: Sequence[str], settings: EmbeddingSettings | None = None, cache_dir: Path | None = None
) -> Vectors:
    """Embed each distinct text once, reusing cached embeddings; return unit vectors, shape (texts, dimensions).

    The cache folder defaults to that of `core.apply`.
    """
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors = open_encoder(settings, cache_dir)(list(place))
    return vectors[[place[text] for text in texts]]


def join_prompt(instruction: str, given: str) -> str:
    """Join an instruction and its input, if there is one, as the prompt of an answer."""
    return f"{instruction}\n\n{given}" if given.strip() else instruction


def measure_alignment(
    prompts: npt.NDArray[np.floating],
    outputs: npt.NDArray[np.floating],
    groups: Sequence[Hashable],
    *,
    num_controls: int = 1000,
    seed: int = 42,
) -> Figures:
    """Measure how often an output is nearer to its own prompt than to that of a random row of another group.

    `prompts` and `outputs` are embeddings of unit length, shape (n, d). Each output ranks its own prompt against those
    of the controls, at most `num_controls` random rows; rows of the same group (instruction) are not controls of each
    other. If a share s of the outputs is exchanged at random, the excess of `auc` over 0.5 falls by s. It measures
    subject matter only: a wrong answer on the right subject counts as aligned, and short outputs (a label, a number)
    say little of their prompts. Compare only figures of the same embedding model.

    `auc` is the area under the ROC curve, averaged over rows, 0.5 for chance; `standard_error` is as if rows were
    independent; `share_below_chance` counts rows that win against less than half of their controls; `own_cosine` and
    `other_cosine` are mean cosines of outputs with their own prompt and with those of the controls; `num_rows` have a
    control. Without any all but the counts are None.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(prompts))[:num_controls])
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(one, len(numbers)) for one in groups], dtype=np.int64)
    own, won, others = (np.full(len(prompts), np.nan) for _ in range(3))
    for start in range(0, len(prompts), _BLOCK):
        block = slice(start, start + _BLOCK)
        own[block] = (prompts[block] * outputs[block]).sum(axis=1)
        cosines = outputs[block] @ prompts[rows].T
        margin = own[block, None] - cosines
        is_control = group[block, None] != group[None, rows]
        count = is_control.sum(axis=1)
        wins = ((margin > _TIE) + 0.5 * (np.abs(margin) <= _TIE)).sum(axis=1, where=is_control)
        np.divide(wins, count, out=won[block], where=count > 0)
        np.divide(cosines.sum(axis=1, where=is_control), count, out=others[block], where=count > 0)
    has = np.isfinite(won)
    size, won = int(has.sum()), won[has]
    return {
        "auc": float(won.mean()) if size else None,
        "standard_error": float(won.std(ddof=1) / np.sqrt(size)) if size > 1 else None,
        "share_below_chance": float((won < 0.5).mean()) if size else None,
        "own_cosine": float(own[has].mean()) if size else None,
        "other_cosine": float(others[has].mean()) if size else None,
        "num_rows": size,
        "num_controls": len(rows),
    }


def measure_meaning(vectors: Vectors, threshold: float = MAX_COSINE) -> Figures:
    """Measure how near each text is in meaning to the nearest other of the set, exactly.

    Args:
        vectors: Embeddings of unit length, shape (texts, dimensions).
        threshold: A cosine in (0, 1]; only the default of the default embedding model was calibrated.

    Returns:
        `num_texts`; `cosine`, the distribution of the cosines with the nearest other text; `num_unique` and
        `share_unique`, the texts for which it is at most the `threshold` (the share is None without texts);
        `num_groups`, the groups that chains of pairs above it make.
    """
    cosines = nearest_cosines(vectors)
    is_unique = cosines <= threshold
    return {
        "num_texts": len(vectors),
        "cosine": describe_values(cosines),
        "num_unique": int(is_unique.sum()),
        "share_unique": float(is_unique.mean()) if len(vectors) else None,
        "num_groups": len(np.unique(cosine_groups(vectors, threshold))),
        "threshold": threshold,
    }


def measure_vendi(vectors: npt.NDArray[np.floating]) -> float | None:
    """Measure the Vendi score of order 1 (Friedman and Dieng 2022, arXiv:2210.02410) with the cosine as its kernel.

    It is the exponential of the entropy of the eigenvalues of the kernel matrix divided by n: 1 for n equal rows, n for
    n orthogonal ones, None without rows. It is computed from the matrix of second moments, which has the same non-zero
    eigenvalues. `vectors` has the shape (n, d); a row that is zero or not finite raises ValueError.
    """
    if not len(vectors):
        return None
    size = vectors.shape[1]
    moments = np.zeros((size, size))
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if len(bad):
            raise ValueError(f"vector {start + bad[0]} has the length {lengths[bad[0], 0]}: leave it out")
        block /= lengths
        moments += block.T @ block
    values = np.linalg.eigvalsh(moments / len(vectors))
    values = values[values > 0]
    entropy = float(-(values * np.log(values)).sum())
    return float(np.exp(np.clip(entropy, 0.0, np.log(min(len(vectors), size)))))
