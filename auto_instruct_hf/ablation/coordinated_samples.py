"""Samples of several pools that hold the same instructions as far as their quotas allow.

Each instruction has a random number of its own, the same in every pool, and the lowest ones are drawn (permanent random
numbers: Ohlsson 1995, "Coordination of samples using permanent random numbers"). Samples of pools that were drawn apart
would differ by chance as well, and few of their rows could be compared with each other.
"""

from typing import Any

import numpy as np
from datasets import Dataset

from ..core import CLUSTERED, make_id, require_columns
from ..sampling import EXPONENTS, apportion

_NEEDED = ("instance_id", "instruction_id", "is_classification")


def draw(
    instances: Dataset, num_rows: int, *, clf_share: float = 0.1, balance: str = "proportional", seed: int = 42
) -> Dataset:
    """Draw a sample by the scheme of `sampling.sample_table`, but with the random numbers of the instructions.

    Args:
        instances: Columns `instance_id` (each once), `instruction_id`, `is_classification`; with `cluster`, each has
            its quota, else all are one.
        num_rows: How many rows to draw; those of an instruction again where there are too few instructions.
        clf_share: Share of classification among them, in [0, 1]; where there are only rows of one kind, all are of it.
        balance: A value of `SamplingSettings.balance`.
        seed: Decides the random numbers.

    Returns:
        The drawn rows, those of an instruction together. The instructions are in a random order, the same for all
        pools: the first ones are a sample of the sample. The order of the rows that come in decides nothing.
    """
    require_columns(instances, CLUSTERED, "draw", _NEEDED)
    ids, keys, kinds = (instances[name][:] for name in _NEEDED)
    clusters = instances["cluster"][:] if "cluster" in instances.column_names else [0] * len(ids)
    number = {key: make_id(str(seed), key) for key in {*ids, *keys}}
    order = sorted(range(len(ids)), key=lambda row: (number[keys[row]], number[ids[row]]))
    num_clf = num_rows if all(kinds) else round(clf_share * num_rows) if any(kinds) else 0
    generator = np.random.default_rng(seed)
    drawn: list[int] = []
    for kind, count in ((False, num_rows - num_clf), (True, num_clf)):
        pools: dict[Any, dict[str, list[int]]] = {}
        for row in order:
            if kinds[row] == kind:
                pools.setdefault(clusters[row], {}).setdefault(keys[row], []).append(row)
        names = sorted(pools)
        weights = np.array([len(pools[name]) for name in names], dtype=float) ** EXPONENTS[balance]
        for name, quota in zip(names, apportion(count, weights, generator), strict=True):
            units = list(pools[name].values())
            for unit, times in zip(units, _deal(int(quota), len(units)), strict=True):
                for row, copies in zip(unit, _deal(times, len(unit)), strict=True):
                    drawn += [row] * copies
    # Other random numbers: by the first ones, those that only some clusters draw would all stand at the end.
    place = {key: make_id(str(seed), "place", key) for key in set(keys)}
    return instances.select(sorted(drawn, key=lambda row: (place[keys[row]], number[ids[row]])))


def _deal(count: int, size: int) -> list[int]:
    """Deal out a count evenly, the remainder to the first ones."""
    return [count // size + (number < count % size) for number in range(size)]


def take_one_each(sample: Dataset, size: int | None = None) -> Dataset:
    """Take one row of each instruction.

    Args:
        sample: As `draw` returns it.
        size: Of the first so many instructions; None: of all.

    Returns:
        The rows, in their order.
    """
    first: dict[str, int] = {}
    for row, key in enumerate(sample["instruction_id"][:]):
        first.setdefault(key, row)
    return sample.select(list(first.values())[:size])
