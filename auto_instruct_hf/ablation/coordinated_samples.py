"""Samples of several pools that hold the same instructions as far as their quotas allow.

Each instruction has a permanent random number, the same in every pool, and the lowest ones are sampled (Ohlsson 1995,
"Coordination of samples using permanent random numbers"). Independent samples would share few instructions to compare.
"""

import numpy as np
from datasets import Dataset

from ..core import CLUSTERED, make_id, require_columns
from ..sampling import allocate_by_kind

_NEEDED = ("instance_id", "instruction_id", "is_classification")


def sample_coordinated(
    instances: Dataset, num_rows: int, *, clf_share: float = 0.1, balance: str = "proportional", seed: int = 42
) -> Dataset:
    """Sample like `sampling.stratify`, but with the permanent random numbers of the instructions.

    Reads the columns `instance_id` (unique), `instruction_id` and `is_classification`; with `cluster`, each cluster has
    its quota, else all rows are one cluster. The order of the input rows does not change the result. The rows of an
    instruction are returned together. The instructions are in a random order, the same for all pools: the first ones
    are a sample of the sample.
    """
    require_columns(instances, CLUSTERED, "sample_coordinated", _NEEDED)
    ids, keys, is_clf = (np.array(instances[name][:]) for name in _NEEDED)
    clusters = np.array(instances["cluster"][:]) if "cluster" in instances.column_names else np.zeros(len(ids))
    own, of_instruction = (np.array([make_id(str(seed), key) for key in column]) for column in (ids, keys))
    order = np.lexsort((own, of_instruction))
    columns = (is_clf[order], clusters[order], of_instruction[order])
    num_clf, generator = round(clf_share * num_rows), np.random.default_rng(seed)
    counts = allocate_by_kind(num_rows, num_clf, *columns, generator, balance=balance, shuffle=False)
    sampled = np.repeat(order, counts).tolist()
    # Other random numbers: sorted by the first ones, instructions that only some pools sample would be at the end.
    place = {key: make_id(str(seed), "place", key) for key in keys.tolist()}
    return instances.select(sorted(sampled, key=lambda row: (place[keys[row]], own[row])))


def take_one_each(sample: Dataset, size: int | None = None) -> Dataset:
    """Take one row of each instruction, in their order, of the first `size` instructions (None: all)."""
    first: dict[str, int] = {}
    for row, key in enumerate(sample["instruction_id"][:]):
        first.setdefault(key, row)
    return sample.select(list(first.values())[:size])
