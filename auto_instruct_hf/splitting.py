"""Phase 4: train, validation and test, such that no instruction and no near copy of one stands in two of them."""

import logging
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value

from .novelty import choose_tokeniser, near_groups
from .recipe import SplittingSettings
from .schema import CLUSTERED, require_columns
from .texts import make_id
from .transform import Batch, apply

_LOG = logging.getLogger(__name__)
_SPLIT = Features({"split": Value("string")})


def split(
    instances: Dataset,
    *,
    settings: SplittingSettings | None = None,
    seed: int = 42,
    cache_dir: Path | None = None,
) -> DatasetDict:
    """Split by whole groups of instructions.

    A group is one instruction with all its near copies (ROUGE-L above `max_similarity`, linked in chains). Groups are
    dealt out in the order of their strata (classification or not, cluster), each to the split that lacks most, so that
    every split has its share of each stratum as far as whole groups allow.

    Args:
        instances: Columns `instruction_id`, `instruction`, `is_classification` and `cluster`.
        settings: Shares of the splits.
        seed: Decides which group comes first within its stratum. The order of the rows decides nothing.
        cache_dir: Folder of the cache; None: as in `transform.apply`.

    Returns:
        `train`, and `validation` and `test` where their share is above 0 and there is a group for them. None is empty.
    """
    needed = ("instruction_id", "instruction", "is_classification", "cluster")
    instances = require_columns(instances, CLUSTERED, "split", needed)
    settings = settings or SplittingSettings()
    shares = {
        "train": 1 - settings.validation - settings.test,
        "validation": settings.validation,
        "test": settings.test,
    }
    assigned = apply(
        instances.select_columns(list(needed)),
        split_table,
        phase="split",
        features=_SPLIT,
        settings={"shares": shares, "max_similarity": settings.max_similarity, "seed": seed},
        batch_size=None,
        show_progress=True,
        cache_dir=cache_dir,
    )["split"][:]
    splits = DatasetDict()
    for name, share in shares.items():
        chosen = [row for row, found in enumerate(assigned) if found == name]
        if chosen:
            splits[name] = instances.select(chosen)
        elif share > 0:
            _LOG.warning("no instruction is left for the split %s: more instructions are needed to fill it", name)
    return splits


def split_table(batch: Batch, *, shares: dict[str, float], max_similarity: float, seed: int) -> dict[str, list[Any]]:
    """Assign each row to a split.

    Args:
        batch: All rows; columns `instruction_id`, `instruction`, `is_classification`, `cluster`.
        shares: Split -> its share of the instructions; they add up to 1.
        max_similarity: Instructions more alike than this (ROUGE-L F1) stay together.
        seed: Decides the order within a stratum.

    Returns:
        Column `split`.
    """
    first = {key: row for row, key in reversed(list(enumerate(batch["instruction_id"])))}
    ids = sorted(first)
    groups = _group(ids, [batch["instruction"][first[key]] for key in ids], max_similarity)

    def stratum(group: list[str]) -> tuple[bool, int, str]:
        row = first[group[0]]
        return batch["is_classification"][row], batch["cluster"][row], make_id(str(seed), group[0])

    groups.sort(key=stratum)
    chosen: list[str] = []
    lacking = dict.fromkeys(shares, 0.0)
    for group in groups:
        for name, share in shares.items():
            lacking[name] += share * len(group)
        best = max(shares, key=lambda name: lacking[name])
        lacking[best] -= len(group)
        chosen.append(best)
    _fill_empty(chosen, shares)
    by_id = {key: name for group, name in zip(groups, chosen, strict=True) for key in group}
    return {"split": [by_id[key] for key in batch["instruction_id"]]}


def _fill_empty(chosen: list[str], shares: dict[str, float]) -> None:
    """Give each empty split the last group of the fullest, as long as that leaves it one."""
    for name, share in shares.items():
        fullest = max(shares, key=chosen.count)
        if share > 0 and name not in chosen and chosen.count(fullest) > 1:
            chosen[len(chosen) - 1 - chosen[::-1].index(fullest)] = name


def _group(ids: list[str], instructions: list[str], max_similarity: float) -> list[list[str]]:
    labels = near_groups(instructions, max_similarity, choose_tokeniser(instructions))
    groups: dict[int, list[str]] = {}
    for key, label in zip(ids, labels.tolist(), strict=True):
        groups.setdefault(label, []).append(key)
    return list(groups.values())
