"""Phase 4: the stratified sample, drawn inside each split.

The published scheme: a cluster by its share of the instructions, an instruction of it, an instance of it,
classification oversampled to the given share. Here the counts are allocated by largest remainders at each step instead
of drawn one by one: the same expectation, exactly as many rows as asked, and equals never differ by more than one.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import DatasetDict, Features, Value

from ..core import CLUSTERED, Batch, Columns, IntArray, Trace, apply, require_columns
from ..recipe import SamplingSettings
from .apportionment import apportion
from .picking import spread

SAMPLES_AN_INSTRUCTION = 5
"""The published ratio: 50k rows of 10k instructions."""
_LOG = logging.getLogger(__name__)
EXPONENTS = {"proportional": 1.0, "sqrt": 0.5, "equal": 0.0}
"""By `SamplingSettings.balance`: of the number of a cluster's instructions, for its weight."""


def stratify(
    splits: DatasetDict,
    *,
    num_samples: int | None = None,
    clf_share: float = 0.1,
    settings: SamplingSettings | None = None,
    seed: int = 42,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> DatasetDict:
    """Draw the sample.

    Args:
        splits: Columns as after `cluster`, split already: so no instruction can leak by being drawn twice.
        num_samples: Rows over all splits; None: SAMPLES_AN_INSTRUCTION times the instructions in them. Each split gets
            its share of the instructions, and at least one row: more rows than asked only if there are fewer than
            splits.
        clf_share: Share of classification among the rows of the splits that have rows of both kinds, in [0, 1]: exact
            to the row over these splits together, and to less than a row in each.
        settings: How clusters are weighed, and from which number of draws on to warn.
        seed: Decides who gets the remainders, and the order of the rows.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Where given, it receives `most_draws`, the highest number of draws of a row, and `repeated`, how many
            rows were drawn more than `settings.max_draws` times; both by split.

    Returns:
        The same splits; their columns and `num_draws` (int32), how often the row was drawn in its split: in so many
        rows it stands there.
    """
    for dataset in splits.values():
        needed = ("instance_id", "instruction_id", "is_classification", "cluster")
        require_columns(dataset, CLUSTERED, "stratify", needed)
    settings = settings or SamplingSettings()
    counts = _count_rows(splits, num_samples, seed)
    clf_counts = _count_clf(splits, counts, clf_share, seed)
    sample = DatasetDict()
    for name, dataset in splits.items():
        sample[name] = apply(
            dataset,
            sample_table,
            phase="sample",
            features=Features({**dataset.features, "num_draws": Value("int32")}),
            settings={
                "num_samples": counts[name],
                "num_clf": clf_counts[name],
                "balance": settings.balance,
                "seed": seed,
            },
            batch_size=None,
            cache_dir=cache_dir,
        )
    _tell_repeats(sample, settings.max_draws, trace)
    return sample


def sample_table(batch: Batch, *, num_samples: int, num_clf: int, balance: str, seed: int) -> Columns:
    """Draw rows of one split.

    Args:
        batch: All rows; columns as after `cluster`, each `instance_id` once.
        num_samples: How many rows to return.
        num_clf: How many of them are classification; where there are only rows of one kind, all are of it.
        balance: A value of `SamplingSettings.balance`.
        seed: Of remainders and order.

    Returns:
        The same columns and `num_draws`; `num_samples` rows, shuffled. The order of the rows that come in decides
        nothing.
    """
    generator = np.random.default_rng(seed)
    order = np.argsort(np.array(batch["instance_id"]), kind="stable")
    is_clf = np.array(batch["is_classification"], dtype=np.bool_)[order]
    if is_clf.all() or not is_clf.any():
        num_clf = num_samples if is_clf.all() else 0
    drawn = np.zeros(len(order), dtype=np.int64)
    for kind, count in ((False, num_samples - num_clf), (True, num_clf)):
        rows = np.flatnonzero(is_clf == kind)
        clusters, instructions = (np.array(batch[name])[order][rows] for name in ("cluster", "instruction_id"))
        drawn[rows] = _allocate(count, clusters, instructions, EXPONENTS[balance], generator)
    chosen = generator.permutation(np.repeat(np.arange(len(order)), drawn))
    positions = order[chosen].tolist()
    return {
        **{name: [column[row] for row in positions] for name, column in batch.items()},
        "num_draws": drawn[chosen].tolist(),
    }


def _count_rows(splits: DatasetDict, num_samples: int | None, seed: int) -> dict[str, int]:
    """Return the rows of each split: by its instructions, none without one."""
    sizes = np.array([len(set(dataset["instruction_id"][:])) for dataset in splits.values()])
    total = SAMPLES_AN_INSTRUCTION * int(sizes.sum()) if num_samples is None else num_samples
    if total < len(sizes):
        _LOG.warning("%d rows are asked for and there are %d splits: each gets one", total, len(sizes))
    counts = apportion(total, sizes.astype(float), np.random.default_rng(seed))
    for empty in np.flatnonzero(counts == 0):
        counts[empty] = 1
        if counts.max() > 1:
            counts[counts.argmax()] -= 1
    return dict(zip(splits, counts.tolist(), strict=True))


def _count_clf(splits: DatasetDict, counts: dict[str, int], clf_share: float, seed: int) -> dict[str, int]:
    """Return the classification rows of each split, adding up to the share over those that have both kinds."""
    kinds = {name: set(dataset["is_classification"][:]) for name, dataset in splits.items()}
    for name, found in kinds.items():
        if len(found) == 1 and 0 < clf_share < 1:
            _LOG.warning(
                "the split %s holds %s classification tasks: its share cannot be %.0f %%",
                name, "only" if True in found else "no", 100 * clf_share,
            )  # fmt: skip
    mixed = [name for name, found in kinds.items() if len(found) == 2]
    sizes = np.array([counts[name] for name in mixed], dtype=float)
    allocated = apportion(round(clf_share * sizes.sum()), sizes, np.random.default_rng(seed))
    return {
        **{name: counts[name] if True in found else 0 for name, found in kinds.items()},
        **dict(zip(mixed, allocated.tolist(), strict=True)),
    }


def _allocate(
    count: int,
    clusters: npt.NDArray[Any],
    instructions: npt.NDArray[Any],
    exponent: float,
    generator: np.random.Generator,
) -> IntArray:
    """Allocate samples to clusters by weight, evenly to the instructions of each, and to the instances of each."""
    if not len(clusters):
        return np.zeros(0, dtype=np.int64)
    cluster_of_row = np.unique(clusters, return_inverse=True)[1]
    instruction_of_row = np.unique(instructions, return_inverse=True)[1]
    pairs, unit_of_row = np.unique(np.column_stack([cluster_of_row, instruction_of_row]), axis=0, return_inverse=True)
    cluster_of_unit = pairs[:, 0]
    weights = np.bincount(cluster_of_unit).astype(float) ** exponent
    by_cluster = apportion(count, weights, generator)
    by_unit = _spread_randomly(by_cluster, cluster_of_unit, generator)
    return _spread_randomly(by_unit, unit_of_row.reshape(-1), generator)


def _spread_randomly(counts: IntArray, group_of: IntArray, generator: np.random.Generator) -> IntArray:
    """Distribute the count of each group evenly over its members, the remainder at random."""
    order = np.argsort(generator.random(len(group_of)))
    found = np.empty(len(group_of), dtype=np.int64)
    found[order] = spread(counts, group_of[order])
    return found


def _tell_repeats(sample: DatasetDict, max_draws: int, trace: Trace | None) -> None:
    most, repeated = {}, {}
    for name, part in sample.items():
        draws = np.array(part["num_draws"][:])
        _, first = np.unique(np.array(part["instance_id"][:]), return_index=True)
        most[name] = int(draws.max(initial=0))
        repeated[name] = int((draws[first] > max_draws).sum())
        if repeated[name]:
            _LOG.warning(
                "the split %s draws %d rows more than %d times, one of them %d times: ask for fewer samples, or for "
                "another share of classification", name, repeated[name], max_draws, most[name],
            )  # fmt: skip
    if trace is not None:
        trace.facts.update({"most_draws": most, "repeated": repeated})
