"""Gaussian mixtures: scikit-learn's, made reproducible."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from ..core import FloatArray, IntArray

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# In units of the positions' variance: keeps the covariance of equal rows invertible.
_REG_COVAR = 1e-5


def fit_mixture(
    positions: FloatArray, num_components: int, *, n_init: int, seed: int, covariance_type: str
) -> "Pipeline":
    """Fit a Gaussian mixture to positions scaled to unit variance.

    Args:
        positions: Shape (rows, dimensions), finite.
        num_components: At most the number of rows.
        n_init: Starts, each by k-means; the one with the highest likelihood is kept.
        seed: Random seed.
        covariance_type: `full`, `tied`, `diag` or `spherical`.

    Returns:
        A fitted estimator with `predict_proba`; the same for the same arguments, whatever the number of threads.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    center, scale = positions.mean(axis=0), float(positions.std()) or 1.0
    mixture = GaussianMixture(
        num_components,
        covariance_type=covariance_type,
        n_init=n_init,
        random_state=seed % 2**32,
        reg_covar=_REG_COVAR,
    )
    model = make_pipeline(FunctionTransformer(_scale, kw_args={"center": center, "scale": scale}), mixture)
    # The order of summation depends on the number of threads, and these matrices are too small to gain from threads.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than components: some stay empty
        # scikit-learn requires two rows.
        return model.fit(positions if len(positions) > 1 else np.repeat(positions, 2, axis=0))


def _scale(positions: FloatArray, *, center: FloatArray, scale: float) -> FloatArray:
    scaled: FloatArray = (positions - center) / scale
    return scaled


def measure_centrality(positions: FloatArray, labels: IntArray) -> FloatArray:
    """Compute a silhouette with cluster means, in [-1, 1]: how much closer a row is to its own mean than to the next.

    With one cluster: 1 at its mean, 0 at the row farthest from it. Labels start at 0 and have no gaps.
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
