"""Samples of several pools that hold the same instructions as far as their quotas allow.

Each instruction has a permanent random number, the same in every pool, and the lowest ones are sampled (Ohlsson 1995,
"Coordination of samples using permanent random numbers"). Independent samples would also differ by chance, and few of
their rows could be compared.
"""

import numpy as np
from datasets import Dataset

from ..core import CLUSTERED, make_id, require_columns
from ..sampling import EXPONENTS, apportion, spread

_NEEDED = ("instance_id", "instruction_id", "is_classification")


def sample_coordinated(
    instances: Dataset, num_rows: int, *, clf_share: float = 0.1, balance: str = "proportional", seed: int = 42
) -> Dataset:
    """Sample like `sampling.stratify`, but with the permanent random numbers of the instructions.

    Args:
        instances: Columns `instance_id` (unique), `instruction_id`, `is_classification`; with `cluster`, each cluster
            has its quota, else all rows are one cluster.
        num_rows: Number of rows; instructions repeat where there are too few.
        clf_share: Share of classification among them, in [0, 1]; ignored if there are only rows of one kind.
        balance: A value of `SamplingSettings.balance`.
        seed: Seed of the random numbers.

    Returns:
        The sampled rows, those of an instruction together. The instructions are in a random order, the same for all
        pools: the first ones are a sample of the sample. The order of the rows that come in does not change the result.
    """
    require_columns(instances, CLUSTERED, "sample_coordinated", _NEEDED)
    ids, keys, kinds = (np.array(instances[name][:]) for name in _NEEDED)
    clusters = np.array(instances["cluster"][:]) if "cluster" in instances.column_names else np.zeros(len(ids))
    own, of_instruction = (np.array([make_id(str(seed), key) for key in column]) for column in (ids, keys))
    order = np.lexsort((own, of_instruction))
    num_clf = num_rows if kinds.all() else round(clf_share * num_rows) if kinds.any() else 0
    generator = np.random.default_rng(seed)
    sampled: list[int] = []
    for kind, count in ((False, num_rows - num_clf), (True, num_clf)):
        rows = order[kinds[order] == kind]
        if not len(rows):
            continue
        # Instructions in the order of their numbers: the first ones get the remainders.
        _, first, instruction_of_row = np.unique(of_instruction[rows], return_index=True, return_inverse=True)
        cluster_of_instruction = np.unique(clusters[rows[first]], return_inverse=True)[1].reshape(-1)
        weights = np.bincount(cluster_of_instruction).astype(float) ** EXPONENTS[balance]
        by_instruction = spread(apportion(count, weights, generator), cluster_of_instruction)
        sampled += np.repeat(rows, spread(by_instruction, instruction_of_row.reshape(-1))).tolist()
    # Other random numbers: sorted by the first ones, instructions that only some pools sample would be at the end.
    place = {key: make_id(str(seed), "place", key) for key in keys.tolist()}
    return instances.select(sorted(sampled, key=lambda row: (place[keys[row]], own[row])))


def take_one_each(sample: Dataset, size: int | None = None) -> Dataset:
    """Take one row of each instruction, in their order, of the first `size` instructions (None: all)."""
    first: dict[str, int] = {}
    for row, key in enumerate(sample["instruction_id"][:]):
        first.setdefault(key, row)
    return sample.select(list(first.values())[:size])
