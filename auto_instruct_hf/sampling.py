"""Phase 4: the stratified sample, drawn inside each split.

The published scheme: a cluster by its share of the instructions, an instruction of it, an instance of it,
classification lifted to the share asked for. Here the counts are dealt out by largest remainders at each step instead
of drawn one by one: the same expectation, exactly as many rows as asked, and equals never differ by more than one.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DatasetDict

from .schema import CLUSTERED, require_columns
from .transform import Batch, apply

SAMPLES_AN_INSTRUCTION = 5
"""The published ratio: 50k rows of 10k instructions."""
_LOG = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int64]


def stratify(
    splits: DatasetDict,
    *,
    num_samples: int | None = None,
    clf_share: float = 0.1,
    seed: int = 42,
    cache_dir: Path | None = None,
) -> DatasetDict:
    """Draw the sample.

    Args:
        splits: Columns as after `cluster`, split already: so no instruction can leak by being drawn twice.
        num_samples: Rows over all splits; None: SAMPLES_AN_INSTRUCTION times the instructions in them. Each split gets
            its share of the instructions, and at least one row.
        clf_share: Share of classification among the rows of each split that has any, in [0, 1].
        seed: Decides who gets the remainders, and the order of the rows.
        cache_dir: Folder of the cache; None: as in `transform.apply`.

    Returns:
        The same splits and columns; a row may stand in one several times.
    """
    for dataset in splits.values():
        needed = ("instance_id", "instruction_id", "is_classification", "cluster")
        require_columns(dataset, CLUSTERED, "stratify", needed)
    sizes = np.array([len(set(dataset["instruction_id"])) for dataset in splits.values()])
    total = SAMPLES_AN_INSTRUCTION * int(sizes.sum()) if num_samples is None else num_samples
    counts = np.maximum(apportion(total, sizes.astype(float), np.random.default_rng(seed)), 1)
    sample = DatasetDict()
    for (name, dataset), count in zip(splits.items(), counts, strict=True):
        kinds = set(dataset["is_classification"])
        if len(kinds) == 1 and 0 < clf_share < 1:
            _LOG.warning(
                "the split %s holds %s classification tasks: its share cannot be %.0f %%",
                name, "only" if True in kinds else "no", 100 * clf_share,
            )  # fmt: skip
        sample[name] = apply(
            dataset,
            sample_table,
            phase="sample",
            features=dataset.features,
            settings={"num_samples": int(count), "clf_share": clf_share, "seed": seed},
            batch_size=None,
            cache_dir=cache_dir,
        )
    return sample


def sample_table(batch: Batch, *, num_samples: int, clf_share: float, seed: int) -> dict[str, list[Any]]:
    """Draw rows of one split.

    Args:
        batch: All rows; columns as after `cluster`.
        num_samples: How many rows to return.
        clf_share: Share of classification, where there are rows of both kinds.
        seed: Of remainders and order.

    Returns:
        The same columns, `num_samples` rows, shuffled. The order of the rows that come in decides nothing.
    """
    generator = np.random.default_rng(seed)
    order = np.argsort(np.array(batch["instance_id"]), kind="stable")
    is_clf = np.array(batch["is_classification"])[order]
    wanted = {kind: round(num_samples * (clf_share if kind else 1 - clf_share)) for kind in (False, True)}
    wanted[False] = num_samples - wanted[True]
    if is_clf.all() or not is_clf.any():
        wanted = {kind: num_samples if kind == is_clf[0] else 0 for kind in (False, True)}
    drawn = np.zeros(len(order), dtype=np.int64)
    for kind, count in wanted.items():
        rows = np.flatnonzero(is_clf == kind)
        levels = [np.array(batch[name])[order][rows] for name in ("cluster", "instruction_id")]
        drawn[rows] = _deal(count, levels, generator)
    chosen = generator.permutation(np.repeat(order, drawn))
    return {name: [column[row] for row in chosen] for name, column in batch.items()}


def apportion(total: int, weights: npt.NDArray[np.float64], generator: np.random.Generator) -> IntArray:
    """Deal out a whole number by weights, the remainders to the largest fractions (Hamilton's method).

    Args:
        total: What to deal out.
        weights: Not negative; if all are 0, nothing is dealt.
        generator: Decides between equal fractions.

    Returns:
        int64, as many as weights, adding up to `total`.
    """
    if not weights.sum():
        return np.zeros(len(weights), dtype=np.int64)
    exact = total * weights / weights.sum()
    counts: IntArray = np.floor(exact + 1e-9).astype(np.int64)
    ranking = np.lexsort((generator.random(len(weights)), -np.round(exact - counts, 9)))
    counts[ranking[: total - counts.sum()]] += 1
    return counts


def _deal(count: int, levels: list[npt.NDArray[Any]], generator: np.random.Generator) -> IntArray:
    """Deal draws to clusters by their instructions, to the instructions of each, to the instances of each."""
    clusters, instructions = levels
    drawn = np.zeros(len(clusters), dtype=np.int64)
    names = np.unique(clusters)
    members = [np.unique(instructions[clusters == name]) for name in names]
    by_cluster = apportion(count, np.array([len(group) for group in members], dtype=float), generator)
    rows_of: dict[Any, list[int]] = {}
    for row, instruction in enumerate(instructions):
        rows_of.setdefault(instruction, []).append(row)
    for group, cluster_count in zip(members, by_cluster, strict=True):
        for instruction, times in zip(group, apportion(cluster_count, np.ones(len(group)), generator), strict=True):
            drawn[rows_of[instruction]] = apportion(times, np.ones(len(rows_of[instruction])), generator)
    return drawn
