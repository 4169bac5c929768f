"""Allocate whole groups to splits, so that each split has its share of every stratum."""

from collections import Counter
from collections.abc import Mapping, Sequence

Shares = Mapping[str, float]
Stratum = tuple[bool, int]
"""Whether classification, and the cluster."""


def allocate_groups(groups: Sequence[Sequence[str]], strata: Mapping[str, Stratum], shares: Shares) -> list[str]:
    """Assign each group to a split.

    Groups of several go first, the largest before the others, each to the split where the deviations from the quotas of
    its strata grow least (squared, relative to the quota: chi-square). The quotas of the whole weigh as much as those
    of all strata together if there are only such groups, and less by the fourth power of their share otherwise (by
    trial): single instructions can correct these. Single instructions then fill each stratum, the smallest first; the
    remainder of a stratum is carried to the next.

    scikit-learn's StratifiedGroupKFold follows a similar rule. At 10,000 instructions with groups of up to 20 it misses
    the quotas of the strata by 0.54 instructions on average and by 6.5 at worst, in 3 to 6 s; this by 0.38 and 1.6, in
    less than 0.1 s (`benchmarks/splitting.py`). Its shares are also bound to whole folds, and it refuses small data.

    Args:
        groups: Ids, each in one group; their order decides between equals.
        strata: Id -> its stratum.
        shares: Split -> its share, above 0; they add up to 1.

    Returns:
        One split per group. None is empty while there are as many groups as splits.
    """
    sizes = Counter(strata.values())
    lacking = {one: {name: share * size for name, share in shares.items()} for one, size in sizes.items()}
    chosen = _allocate_large(groups, strata, lacking, sizes, shares)
    singles: dict[Stratum, list[int]] = {stratum: [] for stratum in sorted(sizes, key=lambda one: (sizes[one], one))}
    for row, group in enumerate(groups):
        if len(group) == 1:
            singles[strata[group[0]]].append(row)
    # The quotas of strata without single instructions are filled up in the others.
    carried = {name: sum(lacking[one][name] for one, rows in singles.items() if not rows) for name in shares}
    for stratum, rows in singles.items():
        if rows:
            carried = {name: carried[name] + lacks for name, lacks in lacking[stratum].items()}
        for row in rows:
            chosen[row] = max(shares, key=carried.__getitem__)
            carried[chosen[row]] -= 1
    for name in shares:  # an empty split takes the smallest group of the split with most groups
        fullest = max(shares, key=chosen.count)
        if name not in chosen and chosen.count(fullest) > 1:
            own = (row for row, other in enumerate(chosen) if other == fullest)
            chosen[min(own, key=lambda row: len(groups[row]))] = name
    return chosen


def _allocate_large(
    groups: Sequence[Sequence[str]],
    strata: Mapping[str, Stratum],
    lacking: Mapping[Stratum, dict[str, float]],
    sizes: Mapping[Stratum, int],
    shares: Shares,
) -> list[str]:
    """Return the splits of groups of several, "" for the others; update what each stratum lacks in each split."""
    chosen = [""] * len(groups)
    large = sorted((row for row, group in enumerate(groups) if len(group) > 1), key=lambda row: -len(groups[row]))
    whole = {name: share * len(strata) for name, share in shares.items()}
    weight = len(sizes) * (sum(len(groups[row]) for row in large) / max(1, len(strata))) ** 4
    for row in large:
        counts = Counter(strata[key] for key in groups[row])
        parts = [(lacking[one], sizes[one], count, 1.0) for one, count in counts.items()]
        parts.append((whole, len(strata), len(groups[row]), weight))
        increase = {
            name: sum(
                times * (count * (count - 2 * lacks[name]) / (share * size)) for lacks, size, count, times in parts
            )
            for name, share in shares.items()
        }
        chosen[row] = min(shares, key=increase.__getitem__)
        for lacks, _, count, _ in parts:
            lacks[chosen[row]] -= count
    return chosen
