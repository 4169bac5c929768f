"""Gaussian mixtures by expectation and maximisation, each step one matrix product.

The log density of a Gaussian is linear in 1, x and the products of x's coordinates: the densities of all rows are one
product, the sums of the maximisation another. Starts and stopping rule are those of scikit-learn's GaussianMixture, of
which this gives the labels in a tenth of the time or less (`benchmarks/clustering.py`).
"""

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ..core import FloatArray, IntArray

# In units of the positions' spread: keeps a component of equal rows from collapsing.
_FLOOR = 1e-5
_TOLERANCE = 1e-3
_MOST_STEPS = 100


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture: the linear form of its weighted log densities, and what positions are scaled by first."""

    coefficients: FloatArray
    """Shape (features, components)."""
    centre: FloatArray
    scale: float
    log_likelihood: float
    """Mean over the rows it was fitted on."""

    def log_densities(self, positions: FloatArray) -> FloatArray:
        """Return the logarithm of weight times density, shape (rows, components)."""
        found: FloatArray = _expand((positions - self.centre) / self.scale) @ self.coefficients
        return found

    def assign(self, positions: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the most probable component of each row, and its probability."""
        logs = self.log_densities(positions)
        labels = logs.argmax(axis=1)
        best = logs[np.arange(len(logs)), labels]
        return labels, 1 / np.exp(logs - best[:, None]).sum(axis=1)

    def keep(self, components: IntArray) -> "Mixture":
        """Return the mixture of some components, in that order; probabilities are then shared among them alone."""
        return Mixture(self.coefficients[:, components], self.centre, self.scale, self.log_likelihood)


def fit_mixture(positions: FloatArray, num_components: int, *, n_init: int, seed: int, covariance_type: str) -> Mixture:
    """Fit a mixture; the best of several starts by likelihood.

    Args:
        positions: Shape (rows, dimensions), finite.
        num_components: At most as many as there are rows.
        n_init: Starts, each by k-means from another draw.
        seed: Of the draws.
        covariance_type: `full`, `tied`, `diag` or `spherical`.

    Returns:
        The mixture; the same for the same arguments, whatever the number of threads.
    """
    centre = positions.mean(axis=0)
    scale = float(np.sqrt(np.mean((positions - centre) ** 2))) or 1.0
    scaled = (positions - centre) / scale
    features = _expand(scaled)
    # Sums over threads depend on their number, in the last digit; and these matrices are too small to gain by threads.
    with threadpool_limits(1):
        fits = [
            _climb(features, _start(scaled, num_components, seed + start), positions.shape[1], covariance_type)
            for start in range(n_init)
        ]
    coefficients, likelihood = max(fits, key=lambda fit: fit[1])
    return Mixture(coefficients, centre, scale, likelihood)


def measure_centrality(positions: FloatArray, labels: IntArray) -> FloatArray:
    """Return how much nearer each row is to the mean of its own cluster than to the next one's, in [-1, 1].

    A silhouette to the means; where there is one cluster, 1 at its mean and 0 where it is widest.

    Args:
        positions: Shape (rows, dimensions).
        labels: From 0, none left out.

    Returns:
        One a row.
    """
    means = np.stack([positions[labels == number].mean(axis=0) for number in range(labels.max() + 1)])
    distances = np.linalg.norm(positions[:, None] - means, axis=2)
    own = distances[np.arange(len(labels)), labels]
    if len(means) == 1:
        alone: FloatArray = 1 - own / max(float(own.max()), 1e-12)
        return alone
    distances[np.arange(len(labels)), labels] = np.inf
    other = distances.min(axis=1)
    found: FloatArray = (other - own) / np.maximum(np.maximum(other, own), 1e-12)
    return found


def _expand(positions: FloatArray) -> FloatArray:
    """Return 1, each coordinate, each product of two: shape (rows, 1 + d + d (d + 1) / 2)."""
    row, column = np.triu_indices(positions.shape[1])
    ones = np.ones((len(positions), 1))
    return np.concatenate([ones, positions, positions[:, row] * positions[:, column]], axis=1)


def _start(positions: FloatArray, num_components: int, seed: int) -> IntArray:
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than components: some stay empty
        labels: IntArray = KMeans(num_components, n_init=1, random_state=seed % 2**32).fit(positions).labels_
    return labels


def _climb(features: FloatArray, labels: IntArray, dimensions: int, covariance_type: str) -> tuple[FloatArray, float]:
    shares = np.zeros((len(features), int(labels.max()) + 1))
    shares[np.arange(len(features)), labels] = 1.0
    likelihood = -np.inf
    for _ in range(_MOST_STEPS):
        coefficients = _maximise(shares.T @ features, dimensions, covariance_type)
        shares = features @ coefficients
        highest = shares.max(axis=1, keepdims=True)
        shares -= highest
        np.exp(shares, out=shares)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        before, likelihood = likelihood, float((highest + np.log(total)).mean())
        if abs(likelihood - before) < _TOLERANCE:
            break
    return coefficients, likelihood


def _maximise(sums: FloatArray, dimensions: int, covariance_type: str) -> FloatArray:
    """Return the coefficients from the sums of the features by component, shape (components, features)."""
    sizes = sums[:, 0] + 10 * np.finfo(float).eps
    means = sums[:, 1 : dimensions + 1] / sizes[:, None]
    row, column = np.triu_indices(dimensions)
    spread = np.empty((len(sums), dimensions, dimensions))
    spread[:, row, column] = spread[:, column, row] = sums[:, dimensions + 1 :] / sizes[:, None]
    spread -= means[:, :, None] * means[:, None, :]
    unit = np.eye(dimensions)
    if covariance_type == "tied":
        spread = np.broadcast_to(np.einsum("c,cij->ij", sizes / sizes.sum(), spread), spread.shape)
    elif covariance_type == "diag":
        spread = spread * unit
    elif covariance_type == "spherical":
        spread = np.einsum("cii->c", spread)[:, None, None] / dimensions * unit
    # Of an empty component the difference above may be below zero by rounding.
    precision = np.linalg.inv(spread + _FLOOR * unit)
    pull = np.einsum("cij,cj->ci", precision, means)
    constant = np.log(sizes / sizes.sum()) + 0.5 * (
        np.linalg.slogdet(precision)[1] - dimensions * np.log(2 * np.pi) - (pull * means).sum(axis=1)
    )
    products = -precision[:, row, column] * np.where(row == column, 0.5, 1.0)
    return np.concatenate([constant[:, None], pull, products], axis=1).T
