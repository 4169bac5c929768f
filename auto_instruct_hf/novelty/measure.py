"""The measure: ROUGE-L F1 by the operations of `rouge_score`, and the tolerance of bounds on it."""

import numpy as np

from ..core import FloatArray, IntArray

# Ours: far above the rounding of the formula (some 1e-16), far below the difference of two distinct values.
SLACK = 1e-9


def f1(lcs: IntArray, candidate_lengths: IntArray, reference_lengths: IntArray) -> FloatArray:
    """Compute ROUGE-L F1 with the operations of `rouge_score`, so that results are bit-identical.

    Args:
        lcs: Lengths of the longest common subsequences, any shape.
        candidate_lengths: Tokens of the candidates, broadcast against `lcs`.
        reference_lengths: Tokens of the references, likewise.

    Returns:
        float64, 0 where nothing is shared.
    """
    precision = lcs / np.maximum(candidate_lengths, 1)
    recall = lcs / np.maximum(reference_lengths, 1)
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros(total.shape), where=total > 0)
