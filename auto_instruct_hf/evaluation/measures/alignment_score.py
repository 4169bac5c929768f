"""Whether outputs belong to their instructions, as far as an embedding can tell."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import FloatArray

_NUM_CONTROLS = 1000
_BLOCK = 4096
_TIE = 1e-6  # rounding of a cosine in float32


def join_prompt(instruction: str, given: str) -> str:
    """Return what an answer is given to: the instruction, and below it the input where there is one."""
    return f"{instruction}\n\n{given}" if given.strip() else instruction


def measure_alignment(
    prompts: npt.NDArray[Any],
    outputs: npt.NDArray[Any],
    groups: Sequence[Hashable],
    *,
    num_controls: int = _NUM_CONTROLS,
    seed: int = 42,
) -> dict[str, Any]:
    """Measure how often an output is nearer to its own prompt than to that of a random row of another group.

    Each row is a query with its own prompt against the controls', so the figure is the mean over rows of an area under
    the curve: 0.5 is chance. A share s of outputs dealt to other rows at random brings it down by s times what it is
    above 0.5. It sees subject matter alone: a wrong answer that keeps to the subject counts as a right one, and short
    outputs (a label, a number) say little of their prompts. Compare only figures of one embedding model.

    Args:
        prompts: The embeddings of instruction and input, shape (n, d), of unit length.
        outputs: Those of the outputs, likewise.
        groups: The instruction of each row: rows of one are no controls of each other.
        num_controls: Rows that serve as controls, the same for all; a random sample where there are more rows.
        seed: Decides the controls.

    Returns:
        `auc`; `standard_error` of it, as if rows were independent; `share_below_chance`: of the rows those with less
        than half of their controls beaten, as is half of what is dealt out at random; `own_cosine` and `other_cosine`:
        the mean cosine of outputs with their own and with the controls' prompts; `num_rows` that have a control;
        `num_controls`. The first five are None where no row has one.
    """
    rows = np.arange(len(prompts))
    if len(rows) > num_controls:
        rows = np.sort(np.random.default_rng(seed).permutation(len(prompts))[:num_controls])
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(one, len(numbers)) for one in groups], dtype=np.int64)
    beaten, others = np.full(len(prompts), np.nan), np.full(len(prompts), np.nan)
    own = np.zeros(len(prompts))
    for start in range(0, len(prompts), _BLOCK):
        here = slice(start, start + _BLOCK)
        own[here] = (prompts[here] * outputs[here]).sum(axis=1)
        cosines = outputs[here] @ prompts[rows].T
        margin = own[here, None] - cosines
        is_control = group[here, None] != group[None, rows]
        count = is_control.sum(axis=1)
        wins = ((margin > _TIE) + 0.5 * (np.abs(margin) <= _TIE)).sum(axis=1, where=is_control)
        np.divide(wins, count, out=beaten[here], where=count > 0)
        np.divide(cosines.sum(axis=1, where=is_control), count, out=others[here], where=count > 0)
    has = np.isfinite(beaten)
    return {**_summarise(beaten[has], own[has], others[has]), "num_rows": int(has.sum()), "num_controls": len(rows)}


def _summarise(beaten: FloatArray, own: FloatArray, others: FloatArray) -> dict[str, float | None]:
    if not len(beaten):
        return dict.fromkeys(("auc", "standard_error", "share_below_chance", "own_cosine", "other_cosine"))
    return {
        "auc": float(beaten.mean()),
        "standard_error": float(beaten.std(ddof=1) / np.sqrt(len(beaten))) if len(beaten) > 1 else None,
        "share_below_chance": float((beaten < 0.5).mean()),
        "own_cosine": float(own.mean()),
        "other_cosine": float(others.mean()),
    }
