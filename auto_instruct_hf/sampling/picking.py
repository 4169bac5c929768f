"""The instances that are looked at: a seeded, stratified sample of a dataset."""

import numpy as np
from datasets import Dataset

from ..core import CLUSTERED, require_columns
from .apportionment import apportion


def pick(instances: Dataset, size: int, seed: int = 42) -> Dataset:
    """Pick instances of different instructions, each stratum of cluster and classification by its share.

    Args:
        instances: Columns `instance_id`, `instruction_id`, `is_classification`; with `cluster`, its strata as well.
        size: How many; all instructions where there are fewer. Each gives one instance.
        seed: Decides which.

    Returns:
        The picked rows, in a random order: its first rows are a sample as well. The order of the rows that come in
        decides nothing.
    """
    require_columns(instances, CLUSTERED, "pick", ("instance_id", "instruction_id", "is_classification"))
    generator = np.random.default_rng(seed)
    ids = np.array(instances["instance_id"][:])
    order = np.argsort(ids, kind="stable")
    order = order[generator.permutation(len(order))]
    instructions = np.array(instances["instruction_id"][:])[order]
    order = order[np.sort(np.unique(instructions, return_index=True)[1])]
    kinds = [np.array(instances["is_classification"][:])[order]]
    if "cluster" in instances.column_names:
        kinds.append(np.array(instances["cluster"][:])[order])
    _, stratum = np.unique(np.column_stack(kinds), axis=0, return_inverse=True)
    stratum = stratum.reshape(-1)
    counts = apportion(min(size, len(order)), np.bincount(stratum).astype(float), generator)
    rank = np.empty(len(order), dtype=np.int64)
    by_stratum = np.argsort(stratum, kind="stable")
    starts = np.cumsum(np.bincount(stratum)) - np.bincount(stratum)
    rank[by_stratum] = np.arange(len(order)) - starts[stratum[by_stratum]]
    return instances.select(generator.permutation(order[rank < counts[stratum]]))
