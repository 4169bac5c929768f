"""ROUGE-L F1 by the operations of `rouge_score`, the tolerance of bounds on it, and admission one after the other."""

import numpy as np
import numpy.typing as npt

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


def admit_in_order(
    best: FloatArray, nearest: IntArray, among: npt.NDArray[np.floating], limit: float, first: int
) -> list[int]:
    """Admit the rows of a block one after the other, each unless its highest similarity is above a limit.

    Args:
        best: The highest similarity of each row with the pool; raised in place where an earlier admitted row is closer.
        nearest: Its position in the pool; changed in place likewise.
        among: The similarities of the rows with each other, shape (rows, rows).
        limit: The highest similarity at which a row is admitted.
        first: The position in the pool of the first row that is admitted.

    Returns:
        The admitted rows, ascending.
    """
    admitted: list[int] = []
    for row in range(len(best)):
        if admitted:
            closest = int(np.argmax(among[row, admitted]))
            if among[row, admitted[closest]] > best[row]:
                best[row], nearest[row] = among[row, admitted[closest]], first + closest
        if not best[row] > limit:
            admitted.append(row)
    return admitted
