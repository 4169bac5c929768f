"""Phase 4: train, validation and test, such that no instruction and no near copy of one stands in two of them."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value

from ..core import CLUSTERED, Batch, Columns, Trace, apply, make_id, normalise, require_columns
from ..novelty import choose_tokenizer, highest_similarity, near_groups
from ..recipe import SplittingSettings
from .stratified_groups import allocate_groups

_LOG = logging.getLogger(__name__)
_SPLIT = Features({"split": Value("string"), "group": Value("string")})
_NEEDED = ("instruction_id", "instruction", "is_classification", "attribute", "input", "cluster")
_LEAK = Features({"similarity": Value("float64"), "compared": Value("int64"), "held_out": Value("int64")})
# Pairs of instructions that are compared to find the nearest across splits: seconds, and all there are below about
# 50,000 instructions in the shares of the recipe.
_MAX_PAIRS = 500_000_000

Stratum = tuple[bool, int]


def split(
    instances: Dataset,
    *,
    settings: SplittingSettings | None = None,
    seed: int = 42,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> DatasetDict:
    """Split by whole groups of instructions.

    Two instructions are in one group if they are the same, or near copies (ROUGE-L above `max_similarity`), or if an
    instance of each has the same attribute and the same input, not empty; groups that share an instruction are one.
    Every split has its share of each stratum (classification or not, cluster) as far as whole groups allow.

    Args:
        instances: Columns `instruction_id`, `instruction`, `is_classification`, `attribute`, `input` and `cluster`.
        settings: Shares of the splits.
        seed: Decides which group comes first among equals. The order of the rows decides nothing.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Where given, it receives the number of groups, the size of the largest, and the highest similarity of
            two instructions in different splits (`measure_table`).

    Returns:
        `train`, and `validation` and `test` where their share is above 0 and there is a group for them. None is empty.
    """
    instances = require_columns(instances, CLUSTERED, "split", _NEEDED)
    settings = settings or SplittingSettings()
    shares = {
        "train": 1 - settings.validation - settings.test,
        "validation": settings.validation,
        "test": settings.test,
    }
    needed = instances.select_columns(list(_NEEDED))
    assigned = apply(
        needed,
        split_table,
        phase="split",
        features=_SPLIT,
        settings={"shares": shares, "max_similarity": settings.max_similarity, "seed": seed},
        batch_size=None,
        show_progress=True,
        cache_dir=cache_dir,
    )
    names = assigned["split"][:]
    if trace is not None and names:
        trace.facts.update(_count_groups(instances["instruction_id"][:], assigned["group"][:]))
        trace.facts["nearest"] = _measure(needed["instruction"][:], names, assigned._fingerprint, seed, cache_dir)
    splits = DatasetDict()
    for name, share in shares.items():
        chosen = [row for row, found in enumerate(names) if found == name]
        if chosen:
            splits[name] = instances.select(chosen)
        elif share > 0:
            _LOG.warning("no instruction is left for the split %s: more instructions are needed to fill it", name)
    return splits


def split_table(batch: Batch, *, shares: dict[str, float], max_similarity: float, seed: int) -> Columns:
    """Assign each row to a split.

    Args:
        batch: All rows; the columns that `split` reads.
        shares: Split -> its share of the instructions; they add up to 1.
        max_similarity: Instructions more alike than this (ROUGE-L F1) stay together.
        seed: Decides the order of equal groups.

    Returns:
        Columns `split` and `group`: the lowest `instruction_id` of the row's group.
    """
    # The lowest text and stratum of an id, should it have several: the first one met would depend on the order.
    strata: dict[str, Stratum] = {}
    texts: dict[str, str] = {}
    for key, text, *stratum in zip(
        *(batch[name] for name in ("instruction_id", "instruction", "is_classification", "cluster")), strict=True
    ):
        texts[key] = min(texts.get(key, text), text)
        strata[key] = min(strata.get(key, (stratum[0], stratum[1])), (stratum[0], stratum[1]))
    groups = _group(batch, texts, max_similarity)
    groups.sort(key=lambda group: make_id(str(seed), group[0]))
    wanted = {name: share for name, share in shares.items() if share > 0}
    chosen = allocate_groups(groups, strata, wanted)
    by_id = {key: (name, group[0]) for group, name in zip(groups, chosen, strict=True) for key in group}
    return {
        "split": [by_id[key][0] for key in batch["instruction_id"]],
        "group": [by_id[key][1] for key in batch["instruction_id"]],
    }


def measure_table(batch: Batch, *, seed: int, max_pairs: int) -> Columns:
    """Find the highest ROUGE-L F1 of two instructions that stand in different splits.

    All pairs are compared where they are at most `max_pairs`. Above that, each of a random sample of the held-out
    instructions (those of all splits but the largest) is compared with all instructions of the other splits.

    Args:
        batch: All rows; columns `instruction` and `split`.
        seed: Of the sample.
        max_pairs: How many pairs may be compared.

    Returns:
        One row: `similarity`; `compared`, how many held-out instructions were; `held_out`, how many there are.
    """
    texts: dict[str, set[str]] = {}
    for text, name in zip(batch["instruction"], batch["split"], strict=True):
        texts.setdefault(name, set()).add(text)
    largest, *others = sorted(texts, key=lambda name: (-len(texts[name]), name))
    held_out = sorted(
        ((name, text) for name in others for text in texts[name]), key=lambda one: make_id(str(seed), *one)
    )
    compared = held_out[: max(1, max_pairs // max(1, sum(map(len, texts.values()))))]
    tokenizer = choose_tokenizer(sorted(set().union(*texts.values())))
    highest = 0.0
    for number, name in enumerate(others):
        mine = [text for other, text in compared if other == name]
        # Where all are compared, a pair of two held-out splits is looked at from one side.
        rest = others[:number] if len(compared) == len(held_out) else [other for other in others if other != name]
        theirs = sorted(set().union(*(texts[one] for one in (largest, *rest))))
        highest = max(highest, highest_similarity(mine, theirs, tokenizer))
    return {"similarity": [highest], "compared": [len(compared)], "held_out": [len(held_out)]}


def _measure(
    instructions: list[str], names: list[str], assigned: str, seed: int, cache_dir: Path | None
) -> dict[str, Any]:
    placed = Dataset.from_dict({"instruction": instructions, "split": names})
    placed._fingerprint = assigned  # it depends on the very rows
    measured = apply(
        placed,
        measure_table,
        phase="leak",
        features=_LEAK,
        settings={"seed": seed, "max_pairs": _MAX_PAIRS},
        batch_size=None,
        cache_dir=cache_dir,
    )
    return dict(measured[0])


def _count_groups(ids: list[str], groups: list[str]) -> dict[str, int]:
    sizes = Counter(dict(zip(ids, groups, strict=True)).values())
    return {"groups": len(sizes), "largest_group": max(sizes.values(), default=0)}


def _group(batch: Batch, texts: dict[str, str], max_similarity: float) -> list[list[str]]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids = sorted(texts)
    position = {key: row for row, key in enumerate(ids)}
    instructions = [texts[key] for key in ids]
    near = near_groups(instructions, max_similarity, choose_tokenizer(instructions)).tolist()
    first_near: dict[int, int] = {}
    links = [(first_near.setdefault(label, row), row) for row, label in enumerate(near)]
    first: dict[tuple[str, ...], int] = {}
    same: list[tuple[tuple[str, ...], str]] = [((normalise(texts[key]),), key) for key in ids]
    same += [
        ((normalise(attribute), normalise(given)), key)
        for key, attribute, given in zip(batch["instruction_id"], batch["attribute"], batch["input"], strict=True)
        if normalise(given)
    ]
    links += [(first.setdefault(shared, position[key]), position[key]) for shared, key in same]
    pairs = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(ids), len(ids)))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[str]] = {}
    for key, label in zip(ids, labels.tolist(), strict=True):
        groups.setdefault(label, []).append(key)
    return list(groups.values())
