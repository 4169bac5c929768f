"""Phase 4: the stratified sample of each split, and random picks of different instructions."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, Value

from ..core import CLUSTERED, IntArray, Trace, apply, rank, require_columns, to_table
from ..recipe import SamplingSettings
from .allocation import allocate_by_kind, apportion, spread

SAMPLES_AN_INSTRUCTION = 5
"""The published ratio: 50k rows of 10k instructions."""
_LOG = logging.getLogger(__name__)
_NEEDED = ("instance_id", "instruction_id", "is_classification", "cluster")
_DRAWN = Features({"row": Value("int64"), "num_draws": Value("int32")})


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
    """Sample each split.

    Args:
        splits: Columns as after `cluster`. Split first: an instruction that is sampled twice must not leak.
        num_samples: Rows over all splits; None: SAMPLES_AN_INSTRUCTION per instruction. Each split gets its share of
            the instructions, and at least one row.
        clf_share: Share of classification, in [0, 1], among the rows of the splits with both kinds: exact over these
            splits together, and within one row in each.
        settings: The weights of clusters, and the number of samples of a row that causes a warning.
        seed: Seed of remainders and of the order of rows.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives by split `most_draws`, the maximum number of samples of a row, and `repeated`, the
            number of rows sampled more than `settings.max_draws` times.

    Returns:
        The same splits and columns, and `num_draws` (int32): how often the row is in its split.
    """
    for dataset in splits.values():
        require_columns(dataset, CLUSTERED, "stratify", _NEEDED)
    settings = settings or SamplingSettings()
    counts = _count_rows(splits, num_samples, seed)
    clf_counts = _count_clf(splits, counts, clf_share, seed)
    sample, most, repeated = DatasetDict(), {}, {}
    for name, dataset in splits.items():
        drawn = apply(
            dataset.select_columns(list(_NEEDED)),
            sample_table,
            phase="draw",
            features=_DRAWN,
            settings={"num_samples": counts[name], "num_clf": clf_counts[name], "settings": settings, "seed": seed},
            batch_size=None,
            form="arrow",
            cache_dir=cache_dir,
        )
        sample[name] = apply(
            drawn,
            take_batch,
            phase="sample",
            features=Features({**dataset.features, "num_draws": Value("int32")}),
            resources={"dataset": dataset.with_format("arrow")},
            depends_on=dataset._fingerprint,
            form="arrow",
            cache_dir=cache_dir,
        )
        rows, draws = (column.to_numpy() for column in to_table(drawn, list(_DRAWN)).columns)
        most[name] = int(draws.max(initial=0))
        repeated[name] = len(np.unique(rows[draws > settings.max_draws]))
        if repeated[name]:
            _LOG.warning(
                "the split %s samples %d rows more than %d times, one of them %d times: ask for fewer samples, or for "
                "another share of classification", name, repeated[name], settings.max_draws, most[name],
            )  # fmt: skip
    if trace is not None:
        trace.facts.update({"most_draws": most, "repeated": repeated})
    return sample


def sample_table(
    table: pa.Table, *, num_samples: int, num_clf: int, settings: SamplingSettings, seed: int
) -> dict[str, IntArray]:
    """Sample the rows of one split.

    `table` has the columns `instance_id`, `instruction_id`, `is_classification` and `cluster` of all rows, each
    `instance_id` once, in any order. Returns the sampled rows, shuffled: `row`, the position in the table, and
    `num_draws`. `num_clf` of the `num_samples` are classification, unless all rows are of one kind.
    """
    generator = np.random.default_rng(seed)
    order = pc.sort_indices(table["instance_id"]).to_numpy().astype(np.int64)
    is_clf, clusters = (table[name].to_numpy()[order] for name in ("is_classification", "cluster"))
    instructions = rank(table["instruction_id"])[order]
    counts = allocate_by_kind(
        num_samples, num_clf, is_clf, clusters, instructions, generator, balance=settings.balance, shuffle=True
    )
    chosen = generator.permutation(np.repeat(np.arange(len(order)), counts))
    return {"row": order[chosen], "num_draws": counts[chosen]}


def take_batch(batch: pa.Table, *, dataset: Dataset) -> pa.Table:
    """Return the rows of `dataset`, whose format is Arrow, at the positions in the column `row`, with `num_draws`."""
    return dataset[batch["row"].to_numpy()].append_column("num_draws", batch["num_draws"])


def pick(instances: Dataset, size: int, seed: int = 42) -> Dataset:
    """Pick instances of different instructions; each stratum of cluster and kind gets its share.

    Args:
        instances: Columns `instance_id`, `instruction_id`, `is_classification`, and `cluster` if there are clusters.
        size: Number of instructions, with one instance each; all if there are fewer.
        seed: Seed of the sample.

    Returns:
        The picked rows in a random order: the first rows are a sample as well. The order of the input rows does not
        change the result.
    """
    require_columns(instances, CLUSTERED, "pick", ("instance_id", "instruction_id", "is_classification"))
    generator = np.random.default_rng(seed)
    names = [name for name in ("is_classification", "cluster") if name in instances.column_names]
    table = to_table(instances, ["instance_id", "instruction_id", *names])
    order = pc.sort_indices(table["instance_id"]).to_numpy().astype(np.int64)
    order = order[generator.permutation(len(order))]
    order = order[np.sort(np.unique(rank(table["instruction_id"])[order], return_index=True)[1])]
    strata = np.column_stack([table[name].to_numpy()[order] for name in names])
    stratum = np.unique(strata, axis=0, return_inverse=True)[1].reshape(-1)
    counts = apportion(min(size, len(order)), np.bincount(stratum).astype(float), generator)
    return instances.select(generator.permutation(order[spread(counts, stratum) > 0]))


def _count_rows(splits: DatasetDict, num_samples: int | None, seed: int) -> dict[str, int]:
    """Return the rows of each split, by its instructions, at least one."""
    ids = [to_table(dataset, ["instruction_id"])["instruction_id"] for dataset in splits.values()]
    sizes = np.array([pc.count_distinct(column).as_py() for column in ids])
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
    """Return the classification rows of each split: the share of the rows of all splits with both kinds."""
    tables = {name: to_table(dataset, ["is_classification"]) for name, dataset in splits.items()}
    kinds = {name: set(pc.unique(table["is_classification"]).to_pylist()) for name, table in tables.items()}
    faults = [
        f"{name} has {'only' if True in found else 'no'} classification tasks"
        for name, found in kinds.items()
        if len(found) == 1 and 0 < clf_share < 1
    ]
    if faults:
        _LOG.warning(
            "the share of classification is not %.0f %% in each split (%s): bootstrap more instructions, or hold out a "
            "larger share (splitting in a recipe)",
            100 * clf_share,
            ", ".join(faults),
        )
    mixed = [name for name, found in kinds.items() if len(found) == 2]
    sizes = np.array([counts[name] for name in mixed], dtype=float)
    allocated = apportion(round(clf_share * sizes.sum()), sizes, np.random.default_rng(seed)).tolist()
    return {name: counts[name] if True in found else 0 for name, found in kinds.items()} | dict(
        zip(mixed, allocated, strict=True)
    )
