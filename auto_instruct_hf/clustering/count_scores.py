"""How well instructions part into each number of clusters: silhouette, and stability under resampling."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Features, List, Value

from ..core import Batch, FloatArray, IntArray, Vectors, apply, from_rows, rows
from ..recipe import ClusteringSettings
from .count_choice import choose_by_silhouette, numbers_between, numbers_to_try
from .mixture import fit_mixture
from .reduction import reduce_vectors

_RESAMPLED = Features({"resample": Value("int32"), "row": Value("int64"), "position": List(Value("float32"))})
_CURVE = Features({"num_clusters": Value("int32"), "silhouette": Value("float32"), "stability": Value("float32")})
# Of the rows, in a resample.
_SHARE = 0.8
Replicates = list[tuple[IntArray, FloatArray]]
"""Row numbers and positions of each: first of all rows, then of resamples."""


def measure(
    known: Dataset, reduced: Dataset, settings: ClusteringSettings, seed: int, cache_dir: Path | None = None
) -> Dataset:
    """Measure how well the rows part into each number of clusters.

    Where the silhouette decides, numbers between the best are tried as well, without the costly stability.

    Args:
        known: Columns as `EMBEDDED`.
        reduced: The same rows; column `position`.
        settings: What is tried and how; nothing is, where the number is given.
        seed: Of everything random.
        cache_dir: Folder of the cache; None: as in `transform.apply`.

    Returns:
        Columns `num_clusters`, `silhouette` and `stability`, null where it was not measured: for all numbers where the
        elbow decides, for those in between, unless one is chosen, where the silhouette does.
    """
    numbers = [] if settings.num_clusters else numbers_to_try(len(known), settings.max_clusters)
    resamples = 0
    resampled = apply(
        from_rows(({"resample": number, "row": 0, "position": []} for number in range(1, resamples + 1)), _RESAMPLED),
        resample_batch,
        phase="resample",
        features=_RESAMPLED,
        settings={
            "n_components": settings.n_components,
            "n_neighbors": settings.n_neighbors,
            "most_rows": 4000,
            "seed": seed,
        },
        depends_on=known._fingerprint,
        resources={"vectors": cache(lambda: to_array(known, "embedding"))},
        batch_size=1,
        show_progress=True,
        cache_dir=cache_dir,
    )
    whole = cache(lambda: _replicates(reduced, None))
    every = cache(lambda: _replicates(reduced, resampled))

    def fit(numbers: Sequence[int], replicates: Callable[[], Replicates], source: str) -> list[dict[str, Any]]:
        curve = apply(
            from_rows(({"num_clusters": number, "silhouette": 0.0, "stability": 0.0} for number in numbers), _CURVE),
            measure_batch,
            phase="curve",
            features=_CURVE,
            settings={
                "n_init": settings.n_init,
                "covariance_type": settings.covariance_type,
                "most_rows": settings.silhouette_rows,
                "seed": seed,
            },
            depends_on=[reduced._fingerprint, source],
            resources={"replicates": replicates},
            batch_size=1,
            show_progress=True,
            cache_dir=cache_dir,
        )
        return list(rows(curve[:]))

    found = fit(numbers, every, resampled._fingerprint)
    if settings.criterion == "silhouette":
        between = numbers_between(numbers, [row["silhouette"] for row in found])
        found = sorted(found + fit(between, whole, ""), key=lambda row: int(row["num_clusters"]))
        chosen = choose_by_silhouette(*([row[name] for row in found] for name in _CURVE)).num_clusters
        missing = [chosen for row in found if row["num_clusters"] == chosen and row["stability"] is None]
        measured = {row["num_clusters"]: row for row in fit(missing, every, resampled._fingerprint)}
        found = [measured.get(row["num_clusters"], row) for row in found]
    return from_rows(found, _CURVE)


def _replicates(reduced: Dataset, resampled: Dataset | None) -> Replicates:
    whole = (np.arange(len(reduced)), to_array(reduced, "position").astype(np.float64))
    if resampled is None or not len(resampled):
        return [whole]
    numbers, drawn = np.array(resampled["resample"][:]), np.array(resampled["row"][:])
    positions = to_array(resampled, "position").astype(np.float64)
    return [whole, *((drawn[numbers == number], positions[numbers == number]) for number in np.unique(numbers))]


def resample_batch(
    batch: Batch, *, vectors: Callable[[], Vectors], n_components: int, n_neighbors: int, most_rows: int, seed: int
) -> dict[str, list[Any]]:
    """Draw rows and reduce them by themselves, with another seed of UMAP's each time.

    Args:
        batch: Column `resample` (int, from 1).
        vectors: Returns all embeddings.
        n_components: Of the positions.
        n_neighbors: UMAP's n_neighbors.
        most_rows: To draw; four fifths of all where that is fewer.
        seed: Of draws and of UMAP.

    Returns:
        Columns `resample`, `row` and `position`, one row each that was drawn.
    """
    found: dict[str, list[Any]] = {name: [] for name in _RESAMPLED}
    for number in batch["resample"]:
        whole = vectors()
        count = min(most_rows, max(1, round(_SHARE * len(whole))))
        drawn = np.sort(np.random.default_rng([seed, number]).permutation(len(whole))[:count])
        (position,) = reduce_vectors(whole[drawn], (n_components,), n_neighbors=n_neighbors, seed=seed + number)
        found["resample"] += [number] * count
        found["row"] += drawn.tolist()
        found["position"] += list(position.astype(np.float32))
    return found


def measure_batch(
    batch: Batch,
    *,
    replicates: Callable[[], Replicates],
    n_init: int,
    covariance_type: str,
    most_rows: int,
    seed: int,
) -> dict[str, list[Any]]:
    """Fit mixtures for each number of clusters and measure them.

    Args:
        batch: Column `num_clusters` (int).
        replicates: Returns row numbers and positions of each: first of all rows, then of resamples.
        n_init: Of each fit.
        covariance_type: As `mixture.fit_mixture` takes it.
        most_rows: A silhouette (Rousseeuw 1987) is measured on a sample of this size.
        seed: Of fits and samples.

    Returns:
        Columns `num_clusters`; `silhouette` of the first replicate (-1 where only one cluster has members);
        `stability`, the mean adjusted Rand index (Hubert and Arabie 1985) of any two replicates on the rows
        they share, None where there is only one.
    """
    silhouettes: list[float] = []
    stabilities: list[float | None] = []
    whole = replicates()
    for num_clusters in batch["num_clusters"]:
        labels = [
            fit_mixture(
                positions,
                min(num_clusters, len(positions)),
                n_init=n_init,
                seed=seed + 1000 * number,
                covariance_type=covariance_type,
            ).assign(positions)[0]
            for number, (_, positions) in enumerate(whole)
        ]
        silhouettes.append(_silhouette(whole[0][1], labels[0], most_rows, seed))
        pairs = combinations(zip((drawn for drawn, _ in whole), labels, strict=True), 2)
        agreements = [_agree(*one, *other) for one, other in pairs]
        stabilities.append(float(np.mean(agreements)) if agreements else None)
    return {"num_clusters": batch["num_clusters"], "silhouette": silhouettes, "stability": stabilities}


def to_array(dataset: Dataset, column: str) -> npt.NDArray[np.float32]:
    """Return a column of lists of equal length as one array, a row each."""
    return np.stack(dataset.with_format("numpy")[column][:]).astype(np.float32)


def _silhouette(positions: FloatArray, labels: IntArray, most_rows: int, seed: int) -> float:
    from sklearn.metrics import silhouette_score

    sample = np.random.default_rng(seed).permutation(len(positions))[:most_rows]
    found = labels[sample]
    is_split = 1 < len(np.unique(found)) < len(found)
    return float(silhouette_score(positions[sample], found)) if is_split else -1.0


def _agree(rows: IntArray, labels: IntArray, other_rows: IntArray, other_labels: IntArray) -> float:
    from sklearn.metrics import adjusted_rand_score

    _, one, other = np.intersect1d(rows, other_rows, assume_unique=True, return_indices=True)
    return float(adjusted_rand_score(labels[one], other_labels[other])) if len(one) else 0.0
