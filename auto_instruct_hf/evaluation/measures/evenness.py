"""How evenly rows fall on clusters, and the rows of a classification task on its labels."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .lengths import describe


def measure_evenness(kinds: Sequence[Hashable], num_kinds: int | None = None) -> dict[str, Any]:
    """Measure how evenly rows fall on kinds, such as clusters.

    Args:
        kinds: The kind of each row.
        num_kinds: How many kinds there might be; None: those that are met.

    Returns:
        `num_rows`; `num_kinds`; `num_met`; `coverage`: the share of the kinds that is met (None without kinds);
        `normalised_entropy`: the entropy by the logarithm of `num_kinds` (Pielou 1966, "The measurement of diversity in
        different types of biological collections"), in [0, 1], 1 where all kinds have as many rows, None where it is
        not defined: for fewer than two kinds, or no rows; `effective_number`: so many kinds of equal size have the same
        entropy, 0 without rows; `largest_share`: of the rows, that of the largest kind.

    Raises:
        ValueError: If more kinds are met than there might be.
    """
    counts = np.array(sorted(Counter(kinds).values()), dtype=np.float64)
    possible = len(counts) if num_kinds is None else num_kinds
    if len(counts) > possible:
        raise ValueError(f"num_kinds is {num_kinds}, but {len(counts)} different ones are met: give at least as many")
    shares = counts / counts.sum()
    # A rounding error must not lift it above the bound.
    entropy = min(max(float(-(shares * np.log(shares)).sum()), 0.0), float(np.log(max(len(counts), 1))))
    return {
        "num_rows": len(kinds),
        "num_kinds": possible,
        "num_met": len(counts),
        "coverage": len(counts) / possible if possible else None,
        "normalised_entropy": entropy / float(np.log(possible)) if possible > 1 and len(counts) else None,
        "effective_number": float(np.exp(entropy)) if len(counts) else 0.0,
        "largest_share": float(shares.max()) if len(counts) else None,
    }


def measure_labels(tasks: Sequence[Hashable], labels: Sequence[Hashable]) -> dict[str, Any]:
    """Measure how evenly the rows of each classification task fall on the labels that it has.

    A label that no row has is not known, so it does not count.

    Args:
        tasks: The task of each row.
        labels: The label of each row.

    Returns:
        `num_tasks`; `num_one_label`: the tasks that teach no choice; `labels_a_task`: their number, and
        `normalised_entropy`: that of the tasks with two labels or more, both as `describe` has it.
    """
    by_task: dict[Hashable, list[Hashable]] = {}
    for task, label in zip(tasks, labels, strict=True):
        by_task.setdefault(task, []).append(label)
    found = [measure_evenness(own) for own in by_task.values()]
    return {
        "num_tasks": len(found),
        "num_one_label": sum(one["num_met"] == 1 for one in found),
        "labels_a_task": describe([one["num_met"] for one in found]),
        "normalised_entropy": describe([one["normalised_entropy"] for one in found if one["num_met"] > 1]),
    }
