"""The number of clusters: what is measured for each, the rule that chooses, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core import FloatArray

# Ours: up to here every number of clusters is tried, beyond it some, evenly spaced in ratio.
_MOST_TRIED = 12
# Ours: so few instructions hold no cluster worth the name.
_FEWEST_A_CLUSTER = 5
# Ours: what is no further apart than this is called flat.
_FLAT = 0.02


@dataclass(frozen=True)
class Choice:
    """A number of clusters, and in a sentence why and how sure."""

    num_clusters: int
    reason: str


def numbers_to_try(num_rows: int, most: int) -> list[int]:
    """Return the numbers of clusters to fit: all of a short range, else a dozen evenly spaced in ratio."""
    most = min(most, num_rows // _FEWEST_A_CLUSTER)
    if most < 2:
        return []
    if most - 1 <= _MOST_TRIED:
        return list(range(2, most + 1))
    return sorted({round(float(number)) for number in np.geomspace(2, most, _MOST_TRIED)})


def numbers_between(numbers: Sequence[int], silhouettes: Sequence[float]) -> list[int]:
    """Return numbers of clusters that were left out where the curve is highest: a dozen at most, evenly spaced.

    Args:
        numbers: Those tried, rising.
        silhouettes: One each.

    Returns:
        Numbers between the neighbours of those whose silhouette is within 0.02 of the highest, rising.
    """
    if not len(numbers):
        return []
    high = [place for place, height in enumerate(silhouettes) if height >= max(silhouettes) - _FLAT]
    low, top = numbers[max(high[0] - 1, 0)], numbers[min(high[-1] + 1, len(numbers) - 1)]
    left = sorted(set(range(low, top)) - set(numbers))
    chosen = np.linspace(0, len(left) - 1, min(_MOST_TRIED, len(left)))
    return [left[round(float(place))] for place in chosen]


def choose_by_silhouette(
    numbers: Sequence[int], silhouettes: Sequence[float], stabilities: Sequence[float | None]
) -> Choice:
    """Choose the smallest number of clusters whose silhouette is within 0.02 of the highest.

    The curve is nearly flat near its top, and its highest point differs from seed to seed; the smallest of about equal
    numbers is the simplest (in the spirit of the one-standard-error rule of Breiman et al. 1984). The rule and its
    tolerance are ours: the steadiest of some forty that were tried on one set of 1,000 instructions and one of 175.

    Args:
        numbers: Numbers of clusters, rising.
        silhouettes: One each, in [-1, 1].
        stabilities: One each, in [-1, 1], or None; said, and not counted.

    Returns:
        One of the numbers; 1 where none was tried.
    """
    if not len(numbers):
        return _too_few()
    best = int(np.argmax(silhouettes))
    chosen = next(place for place, height in enumerate(silhouettes) if height >= silhouettes[best] - _FLAT)
    why = f"The smallest number whose silhouette ({silhouettes[chosen]:.2f}) is within {_FLAT} of the highest."
    stability = stabilities[chosen]
    if stability is not None:
        why += f" Fits on resampled instructions agree to {stability:.2f} (1 is full, 0 chance)."
    return Choice(int(numbers[chosen]), why + _doubt(numbers, silhouettes))


def choose_by_elbow(numbers: Sequence[int], silhouettes: Sequence[float]) -> Choice:
    """Choose the number of clusters at the elbow of the silhouette, as published.

    The elbow is the point furthest above the straight line from the first point to the highest (Satopaa et al. 2011,
    "Finding a kneedle in a haystack"): from there on, more clusters bring less than they did before.

    Args:
        numbers: Numbers of clusters, rising.
        silhouettes: One each, in [-1, 1].

    Returns:
        One of the numbers; 1 where none was tried.
    """
    if not len(numbers):
        return _too_few()
    best = int(np.argmax(silhouettes))
    chosen = best
    if best > 0:
        x, y = np.log(np.array(numbers[: best + 1])), np.array(silhouettes[: best + 1])
        above = y - (y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0]))
        chosen = int(np.argmax(above)) if above.max() > 0 else best
    why = f"The elbow of the silhouette ({silhouettes[chosen]:.2f}; the highest is {silhouettes[best]:.2f}"
    return Choice(int(numbers[chosen]), f"{why} at {numbers[best]}).{_doubt(numbers, silhouettes)}")


def choose_by_stability(numbers: Sequence[int], silhouettes: Sequence[float], stabilities: Sequence[float]) -> Choice:
    """Choose the number of clusters with the highest product of silhouette and stability.

    Clusters should be apart, and the same when rows are left out and UMAP draws other numbers (agreement under
    resampling as a guide: Ben-Hur, Elisseeff and Guyon 2002). The product is ours. It is not the default because four
    resamples leave it noisy: on 1,000 instructions of GPT-4o it wavers from seed to seed more than the silhouette.

    Args:
        numbers: Numbers of clusters, rising.
        silhouettes: One each, in [-1, 1].
        stabilities: One each, in [-1, 1].

    Returns:
        One of the numbers; 1 where none was tried.
    """
    if not len(numbers):
        return _too_few()
    scores = np.maximum(silhouettes, 0) * np.maximum(stabilities, 0)
    chosen = int(np.argmax(scores))
    why = f"The highest product of silhouette ({silhouettes[chosen]:.2f}) and stability ({stabilities[chosen]:.2f}: "
    why += "how far fits on resampled instructions agree; 0 is chance)."
    return Choice(int(numbers[chosen]), why + _doubt(numbers, scores))


def _too_few() -> Choice:
    return Choice(1, "Too few instructions to part.")


def _doubt(numbers: Sequence[int], scores: Sequence[float] | FloatArray) -> str:
    """Say what speaks against taking the choice for a finding."""
    doubt = ""
    if len(numbers) > 1 and int(np.argmax(scores)) == len(numbers) - 1:
        doubt += f" The curve still rises at {numbers[-1]}: the limit, not the data, ends it."
    equal = [number for number, score in zip(numbers, scores, strict=True) if score >= max(scores) - _FLAT]
    if len(equal) > 1:
        doubt += f" The curve is flat there: {', '.join(map(str, equal))} lie within {_FLAT} of the highest."
    return doubt
