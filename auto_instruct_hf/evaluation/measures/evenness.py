"""How evenly rows are distributed over clusters, and the rows of a classification task over its labels."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from .lengths import Figures, describe_values


def measure_evenness(kinds: Sequence[Hashable], num_kinds: int | None = None) -> Figures:
    """Measure how evenly rows are distributed over kinds, such as clusters.

    Args:
        kinds: The kind of each row.
        num_kinds: The number of possible kinds; None: those that occur.

    Returns:
        `num_rows`; `num_kinds`; `num_met`, the kinds that occur; `coverage`: their share (None without kinds);
        `normalised_entropy`: the entropy divided by log(`num_kinds`) (Pielou 1966, "The measurement of diversity in
        different types of biological collections"), in [0, 1], 1 where all kinds have as many rows, None for fewer than
        two kinds or no rows; `effective_number`: the number of equally large kinds with the same entropy, 0 without
        rows; `largest_share`: the share of rows in the largest kind.

    Raises:
        ValueError: If more kinds occur than are possible.
    """
    counts = np.array(sorted(Counter(kinds).values()), dtype=np.float64)
    possible = len(counts) if num_kinds is None else num_kinds
    if len(counts) > possible:
        raise ValueError(f"num_kinds is {num_kinds}, but {len(counts)} different ones are met: give at least as many")
    shares = counts / counts.sum()
    # A rounding error must not exceed the bound.
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


def measure_labels(tasks: Sequence[Hashable], labels: Sequence[Hashable]) -> Figures:
    """Measure how evenly the rows of each classification task are distributed over its labels.

    Labels without rows are unknown and do not count.

    Args:
        tasks: The task of each row.
        labels: The label of each row.

    Returns:
        `num_tasks`; `num_one_label`: tasks with a single label; `labels_a_task`, and the `normalised_entropy` of tasks
        with two labels or more, both as `describe_values` returns them.
    """
    by_task: dict[Hashable, list[Hashable]] = {}
    for task, label in zip(tasks, labels, strict=True):
        by_task.setdefault(task, []).append(label)
    found = [measure_evenness(own) for own in by_task.values()]
    return {
        "num_tasks": len(found),
        "num_one_label": sum(one["num_met"] == 1 for one in found),
        "labels_a_task": describe_values([one["num_met"] for one in found]),
        "normalised_entropy": describe_values([one["normalised_entropy"] for one in found if one["num_met"] > 1]),
    }
