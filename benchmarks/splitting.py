"""Deal groups of instructions to splits: the package's rule beside scikit-learn's StratifiedGroupKFold.

Instructions are drawn at random: 30 topics of unequal size, 2 % classification, some in groups (near copies) of a heavy
tail, a fifth of whose members stand in a topic of their own. Ten folds give the shares of the recipe: one for
validation, one for test. Printed: seconds, and by how many instructions a split misses its share of a stratum
(classification or not, topic), on the mean and at worst, and its share of the whole at worst.

    python benchmarks/splitting.py --rows 10000
"""

import random
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer
from sklearn.model_selection import StratifiedGroupKFold

from auto_instruct_hf.sampling.stratified_groups import allocate_groups

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
TOPICS = 30
Strata = dict[str, tuple[bool, int]]


def make_groups(rows: int, largest: int, seed: int) -> tuple[list[list[str]], Strata]:
    """Return groups of ids, in random order, and the stratum of each id."""
    draw = random.Random(seed)
    weights = [draw.paretovariate(1) for _ in range(TOPICS)]
    groups: list[list[str]] = []
    strata: Strata = {}
    while len(strata) < rows:
        size = 1 if draw.random() < 0.95 else min(largest, 1 + int(draw.paretovariate(0.8)), rows - len(strata))
        kind, topic = draw.random() < 0.02, draw.choices(range(TOPICS), weights)[0]
        groups.append([f"{len(groups):06d}-{number}" for number in range(size)])
        for key in groups[-1]:
            strata[key] = (kind, topic if draw.random() < 0.8 else draw.choices(range(TOPICS), weights)[0])
    return groups, strata


def deal_ours(groups: list[list[str]], strata: Strata) -> dict[str, str]:
    """Return the split of each id."""
    group_of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    codes = {stratum: code for code, stratum in enumerate(sorted(set(strata.values())))}
    stratum_of = np.array([codes[strata[key]] for group in groups for key in group])
    chosen = allocate_groups(group_of, stratum_of, list(SHARES.values())).tolist()
    return {key: list(SHARES)[split] for group, split in zip(groups, chosen, strict=True) for key in group}


def deal_by_folds(groups: list[list[str]], strata: Strata) -> dict[str, str]:
    """Return the split of each id: the first fold is validation, the second test."""
    ids = [key for group in groups for key in group]
    codes = {stratum: code for code, stratum in enumerate(sorted(set(strata.values())))}
    of = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=0)
    found = dict.fromkeys(ids, "train")
    parts = folds.split(np.zeros(len(ids)), [codes[strata[key]] for key in ids], of)
    for name, (_, rows) in zip(("validation", "test"), parts, strict=False):
        found.update((ids[row], name) for row in rows)
    return found


def deviations(found: dict[str, str], strata: Strata) -> tuple[float, float, float]:
    """Return by how many instructions splits miss their shares: mean and worst over strata, worst over all."""
    sizes, total = Counter(strata.values()), Counter(found.values())
    held = Counter((strata[key], name) for key, name in found.items())
    missed = [abs(held[one, name] - share * size) for one, size in sizes.items() for name, share in SHARES.items()]
    return statistics.mean(missed), max(missed), max(abs(total[n] - share * len(found)) for n, share in SHARES.items())


def main(
    rows: Annotated[int, typer.Option(help="Instructions.")] = 10_000,
    repeats: Annotated[int, typer.Option(help="Draws of the instructions; the table has the means.")] = 3,
) -> None:
    """Print the table."""
    warnings.filterwarnings("ignore", message="The least populated class")
    rules: dict[str, Callable[[list[list[str]], Strata], dict[str, str]]] = {
        "this package": deal_ours,
        "StratifiedGroupKFold": deal_by_folds,
    }
    print(f"{'largest group':>13}  {'rule':20}  {'seconds':>7}  {'mean':>5}  {'worst':>6}  {'whole':>5}")
    for largest in (1, 20, 500):
        for name, rule in rules.items():
            figures = []
            for seed in range(repeats):
                groups, strata = make_groups(rows, largest, seed)
                start = time.perf_counter()
                found = rule(groups, strata)
                figures.append((time.perf_counter() - start, *deviations(found, strata)))
            seconds, mean, worst, whole = (statistics.mean(column) for column in zip(*figures, strict=True))
            print(f"{largest:13}  {name:20}  {seconds:7.2f}  {mean:5.2f}  {worst:6.1f}  {whole:5.1f}")


if __name__ == "__main__":
    typer.run(main)
