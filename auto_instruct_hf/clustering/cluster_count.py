"""The number of clusters: silhouettes of several numbers, and the rule that chooses among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Features, Value

from ..core import Batch, Columns, FloatArray, IntArray, apply, from_rows
from ..recipe import ClusteringSettings
from .mixture import fit_mixture

_CURVE = Features({"num_clusters": Value("int32"), "silhouette": Value("float32")})
# Ours: ranges up to this size are tried completely, larger ones at points evenly spaced in ratio.
_MAX_TRIED = 12
# Ours: clusters should hold at least so many instructions on average.
_MIN_ROWS_PER_CLUSTER = 5
# Ours: silhouettes that differ by no more than this count as equal.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Choice:
    """A number of clusters, and a text with the reason and the uncertainty."""

    num_clusters: int
    reason: str


def measure_curve(
    reduced: Dataset, settings: ClusteringSettings, seed: int, cache_dir: Path | None = None
) -> list[tuple[int, float]]:
    """Compute the silhouette for several numbers of clusters.

    A dozen numbers are tried; for the criterion `silhouette`, also up to a dozen more around the maximum.

    Args:
        reduced: Column `position`.
        settings: Numbers to try and parameters of the mixture; if `num_clusters` is set, nothing is computed.
        seed: Random seed.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        Numbers of clusters, rising, with their silhouettes.
    """
    if settings.num_clusters:
        return []
    positions = to_array(reduced, "position").astype(np.float64)

    def score(numbers: Sequence[int]) -> list[tuple[int, float]]:
        curve = apply(
            from_rows(({"num_clusters": number, "silhouette": 0.0} for number in numbers), _CURVE),
            score_batch,
            phase="curve",
            features=_CURVE,
            settings={
                "n_init": settings.n_init,
                "covariance_type": settings.covariance_type,
                "max_rows": settings.silhouette_rows,
                "seed": seed,
            },
            depends_on=reduced._fingerprint,
            resources={"positions": positions},
            batch_size=1,
            show_progress=True,
            cache_dir=cache_dir,
        )
        return list(zip(curve["num_clusters"], curve["silhouette"], strict=True))

    found = score(numbers_to_try(len(reduced), settings.max_clusters))
    if settings.criterion == "silhouette":
        found = sorted(found + score(numbers_between(found)))
    return found


def score_batch(
    batch: Batch, *, positions: FloatArray, n_init: int, covariance_type: str, max_rows: int, seed: int
) -> Columns:
    """Fit a mixture for each number of clusters and compute its silhouette (Rousseeuw 1987).

    The silhouette is that of at most `max_rows` sampled rows; -1 if only one cluster has members.
    """
    from sklearn.metrics import silhouette_score

    sample = np.random.default_rng(seed).permutation(len(positions))[:max_rows]
    silhouettes = []
    for num_clusters in batch["num_clusters"]:
        count = min(num_clusters, len(positions))
        mixture = fit_mixture(positions, count, n_init=n_init, seed=seed, covariance_type=covariance_type)
        labels: IntArray = mixture.predict_proba(positions[sample]).argmax(axis=1)
        is_split = 1 < len(np.unique(labels)) < len(labels)
        silhouettes.append(float(silhouette_score(positions[sample], labels)) if is_split else -1.0)
    return {"num_clusters": batch["num_clusters"], "silhouette": silhouettes}


def to_array(dataset: Dataset, column: str) -> npt.NDArray[np.float32]:
    """Return a column of equally long lists as an array, shape (rows, length)."""
    return np.stack(dataset.with_format("numpy")[column][:]).astype(np.float32)


def numbers_to_try(num_rows: int, max_clusters: int) -> list[int]:
    """Return the numbers of clusters to fit: the whole range if it is short, else a dozen evenly spaced in ratio."""
    top = min(max_clusters, num_rows // _MIN_ROWS_PER_CLUSTER)
    if top < 2:
        return []
    if top - 1 <= _MAX_TRIED:
        return list(range(2, top + 1))
    return sorted({round(float(number)) for number in np.geomspace(2, top, _MAX_TRIED)})


def numbers_between(curve: Sequence[tuple[int, float]]) -> list[int]:
    """Return at most a dozen untried numbers, evenly spaced, around those within 0.02 of the maximum of a curve."""
    if not curve:
        return []
    numbers = [number for number, _ in curve]
    high = [numbers.index(number) for number in _near_maximum(curve)]
    low, top = numbers[max(high[0] - 1, 0)], numbers[min(high[-1] + 1, len(numbers) - 1)]
    left = sorted(set(range(low, top)) - set(numbers))
    chosen = np.linspace(0, len(left) - 1, min(_MAX_TRIED, len(left)))
    return [left[round(float(place))] for place in chosen]


def choose(curve: Sequence[tuple[int, float]], settings: ClusteringSettings) -> Choice:
    """Choose the number of clusters by the recipe: given, or by a criterion from the curve (1 if that is empty)."""
    if settings.num_clusters:
        return Choice(settings.num_clusters, "The number was given by the recipe.")
    if not curve:
        return Choice(1, "Too few instructions for several clusters.")
    return choose_by_elbow(curve) if settings.criterion == "elbow" else choose_by_silhouette(curve)


def choose_by_silhouette(curve: Sequence[tuple[int, float]]) -> Choice:
    """Choose the smallest number of clusters whose silhouette is within 0.02 of the maximum.

    The curve is nearly flat near its maximum, whose place varies with the seed; the smallest of about equal numbers is
    the simplest (in the spirit of the one-standard-error rule of Breiman et al. 1984). Rule and tolerance are ours: the
    most stable of about forty that were tried on one set of 1,000 instructions and one of 175.
    """
    number = _near_maximum(curve)[0]
    reason = f"The smallest number whose silhouette ({dict(curve)[number]:.2f}) is within {_TOLERANCE} of the highest."
    return Choice(number, reason + _uncertainty(curve))


def choose_by_elbow(curve: Sequence[tuple[int, float]]) -> Choice:
    """Choose the number of clusters at the elbow of the silhouette curve, as published.

    The elbow is the point highest above the straight line from the first point to the maximum, with numbers on a
    logarithmic scale (Satopaa et al. 2011, "Finding a kneedle in a haystack").
    """
    numbers, heights = (np.array(values) for values in zip(*curve, strict=True))
    best = int(np.argmax(heights))
    chosen = best
    if best > 0:
        x, y = np.log(numbers[: best + 1]), heights[: best + 1]
        above = y - (y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0]))
        chosen = int(np.argmax(above)) if above.max() > 0 else best
    reason = f"The elbow of the silhouette ({heights[chosen]:.2f}; the highest is {heights[best]:.2f}"
    return Choice(int(numbers[chosen]), f"{reason} at {numbers[best]}).{_uncertainty(curve)}")


def _near_maximum(curve: Sequence[tuple[int, float]]) -> list[int]:
    highest = max(height for _, height in curve)
    return [number for number, height in curve if height >= highest - _TOLERANCE]


def _uncertainty(curve: Sequence[tuple[int, float]]) -> str:
    """Return sentences on how uncertain the choice is."""
    found = ""
    if len(curve) > 1 and curve[-1][1] == max(height for _, height in curve):
        found += f" The curve still rises at {curve[-1][0]}, the largest number tried."
    if len(equal := _near_maximum(curve)) > 1:
        found += f" The curve is flat there: {', '.join(map(str, equal))} are within {_TOLERANCE} of the highest."
    return found
