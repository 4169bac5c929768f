"""Whether outputs belong to their instructions, as far as an embedding can tell."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from .lengths import Figures

_NUM_CONTROLS = 1000
_BLOCK = 4096
_TIE = 1e-6  # rounding of a cosine in float32


def join_prompt(instruction: str, given: str) -> str:
    """Return the prompt of an answer: the instruction, and below it the input where there is one."""
    return f"{instruction}\n\n{given}" if given.strip() else instruction


def measure_alignment(
    prompts: npt.NDArray[np.floating],
    outputs: npt.NDArray[np.floating],
    groups: Sequence[Hashable],
    *,
    num_controls: int = _NUM_CONTROLS,
    seed: int = 42,
) -> Figures:
    """Measure how often an output is nearer to its own prompt than to that of a random row of another group.

    Each output ranks its own prompt against the control prompts, so the figure is an area under the ROC curve, averaged
    over rows: 0.5 is chance. If a share s of the outputs is exchanged at random, the excess over 0.5 falls by s. It
    measures subject matter only: a wrong answer about the right subject counts as aligned, and short outputs (a label,
    a number) say little of their prompts. Compare only figures of the same embedding model.

    Args:
        prompts: The embeddings of instruction and input, shape (n, d), of unit length.
        outputs: The embeddings of the outputs, likewise.
        groups: The instruction of each row; rows of one instruction are not controls of each other.
        num_controls: Rows that serve as controls for all others; a random sample where there are more.
        seed: Seed of that sample.

    Returns:
        `auc`; its `standard_error`, as if rows were independent; `share_below_chance`: rows that win against less than
        half of their controls; `own_cosine` and `other_cosine`: the mean cosine of outputs with their own prompt and
        with the controls' prompts; `num_rows` that have a control; `num_controls`. The first five are None if no row
        has a control.
    """
    rows = np.arange(len(prompts))
    if len(rows) > num_controls:
        rows = np.sort(np.random.default_rng(seed).permutation(len(prompts))[:num_controls])
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(one, len(numbers)) for one in groups], dtype=np.int64)
    won, others = np.full(len(prompts), np.nan), np.full(len(prompts), np.nan)
    own = np.zeros(len(prompts))
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
    figures: Figures = dict.fromkeys(("auc", "standard_error", "share_below_chance", "own_cosine", "other_cosine"))
    if has.any():
        won = won[has]
        figures = {
            "auc": float(won.mean()),
            "standard_error": float(won.std(ddof=1) / np.sqrt(len(won))) if len(won) > 1 else None,
            "share_below_chance": float((won < 0.5).mean()),
            "own_cosine": float(own[has].mean()),
            "other_cosine": float(others[has].mean()),
        }
    return {**figures, "num_rows": int(has.sum()), "num_controls": len(rows)}
