"""A seeded, stratified sample of a dataset to look at."""

import numpy as np
from datasets import Dataset

from ..core import CLUSTERED, IntArray, require_columns
from .apportionment import apportion


def pick(instances: Dataset, size: int, seed: int = 42) -> Dataset:
    """Pick instances of different instructions; each stratum of cluster and kind gets its share.

    Args:
        instances: Columns `instance_id`, `instruction_id`, `is_classification`; without `cluster` the kinds are the
            strata.
        size: Number of instructions, with one instance each; all where there are fewer.
        seed: Seed of the sample.

    Returns:
        The picked rows in a random order: the first rows are a sample as well. The order of the rows that come in does
        not change the result.
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
    return instances.select(generator.permutation(order[spread(counts, stratum) > 0]))


def spread(counts: IntArray, group_of: IntArray) -> IntArray:
    """Distribute the count of each group evenly over its members.

    Args:
        counts: The count of each group.
        group_of: The group of each member; of a remainder the first members of a group get one each.

    Returns:
        int64, one count per member.
    """
    sizes = np.bincount(group_of, minlength=len(counts))
    by_group = np.argsort(group_of, kind="stable")
    rank = np.empty(len(group_of), dtype=np.int64)
    rank[by_group] = np.arange(len(group_of)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each: IntArray = counts[group_of] // sizes[group_of]
    return each + (rank < counts[group_of] % sizes[group_of])
