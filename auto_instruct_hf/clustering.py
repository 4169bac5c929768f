"""Phase 4: clusters of instructions. Embed, reduce with UMAP, fit a Gaussian mixture, name each cluster.

As Auto-Instruct does it, but over all instructions: UMAP (McInnes et al. 2018, arXiv:1802.03426) to 6 dimensions under
the cosine distance, a mixture with full covariances, as many components as the elbow of the silhouette (Rousseeuw 1987)
says.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import ClassLabel, Dataset, Features, List, Value

from .embedding import embed
from .errors import BuildError
from .recipe import ClusteringSettings, EmbeddingSettings
from .schema import INSTANCES, require_columns
from .teacher import Teacher
from .topics import name_topics
from .transform import Batch, Trace, apply, from_rows, rows

_UNIQUE = Features({"instruction_id": Value("string"), "instruction": Value("string")})
_POSITIONS = Features({"instruction_id": Value("string"), "position": List(Value("float32"))})
_CURVE = Features({"num_clusters": Value("int32"), "silhouette": Value("float32")})
_ASSIGNED = Features({"instruction_id": Value("string"), "cluster": Value("int32"), "centrality": Value("float32")})
# Ours: up to here every number of clusters is tried, beyond it some, evenly spaced in ratio.
_MOST_TRIED = 12
# Ours: so few instructions hold no cluster worth the name.
_FEWEST_A_CLUSTER = 5

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def cluster(
    instances: Dataset,
    teacher: Teacher | None = None,
    *,
    embedding: EmbeddingSettings | None = None,
    settings: ClusteringSettings | None = None,
    seed: int = 42,
    prompts: str | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Give each instance the cluster of its instruction.

    Args:
        instances: Columns as `schema.INSTANCES`.
        teacher: Who names the clusters; None: they are named by their keywords.
        embedding: The model.
        settings: UMAP and mixture.
        seed: Seeds both. The same seed gives the same clusters.
        prompts: A set of prompts: `default`, `small` or a folder; None: the one that suits the teacher.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the silhouettes, the number chosen, and as table `map` each instruction's place
            on a plane and its cluster.

    Returns:
        The same rows with the column `cluster`, a ClassLabel whose names are the topics.
    """
    instances = require_columns(instances, INSTANCES, "cluster", ("instruction_id", "instruction"))
    if not len(instances):
        raise BuildError("there is no instance to cluster")
    settings = settings or ClusteringSettings()
    texts = dict(zip(instances["instruction_id"], instances["instruction"], strict=True))
    unique = from_rows([{"instruction_id": key, "instruction": text} for key, text in texts.items()], _UNIQUE)
    embedded = embed(unique, settings=embedding, cache_dir=cache_dir)
    positions = _reduce(embedded, settings.neighbours, settings.dimensions, seed, cache_dir)
    curve = _silhouettes(positions, settings, seed, cache_dir)
    chosen = settings.num_clusters or choose_by_elbow(curve["num_clusters"], curve["silhouette"])
    assigned = apply(
        positions,
        assign_table,
        phase="assign",
        features=_ASSIGNED,
        settings={"num_clusters": min(chosen, len(positions)), "restarts": settings.restarts, "seed": seed},
        batch_size=None,
        as_numpy=True,
        show_progress=True,
        cache_dir=cache_dir,
    )
    topics = name_topics(
        list(texts.values()),
        assigned["cluster"][:],
        assigned["centrality"][:],
        teacher,
        num_instructions=settings.topic_instructions,
        prompts=prompts,
        cache_dir=cache_dir,
    )
    if trace is not None:
        trace.facts.update(num_clusters=len(topics), silhouettes=rows(curve[:]))
        flat = _reduce(embedded, settings.neighbours, 2, seed, cache_dir)
        trace.tables["map"] = flat.add_column("cluster", assigned["cluster"][:])
    by_instruction = dict(zip(assigned["instruction_id"], assigned["cluster"], strict=True))
    features = Features({**instances.features, "cluster": ClassLabel(names=topics)})
    return apply(
        instances,
        label_batch,
        phase="cluster",
        features=features,
        settings={"clusters": by_instruction},
        cache_dir=cache_dir,
    )


def label_batch(batch: Batch, *, clusters: dict[str, int]) -> dict[str, list[Any]]:
    """Add the column `cluster` (int) by `instruction_id`."""
    return {**batch, "cluster": [clusters[key] for key in batch["instruction_id"]]}


def reduce_table(batch: Batch, *, dimensions: int, neighbours: int, seed: int) -> dict[str, Any]:
    """Reduce embeddings with UMAP; with principal components where there are too few rows for neighbourhoods.

    Args:
        batch: All rows; columns as `EMBEDDED`, the embeddings of unit length.
        dimensions: Of the positions.
        neighbours: UMAP's n_neighbors.
        seed: UMAP's random_state.

    Returns:
        Columns `instruction_id` and `position` (float32, at most `dimensions`).
    """
    vectors = np.stack(batch["embedding"]).astype(np.float64)
    start = _principal_components(vectors, dimensions)
    if len(vectors) <= neighbours or start.shape[1] < dimensions:
        return {"instruction_id": batch["instruction_id"], "position": list(start.astype(np.float32))}

    import umap  # takes half a minute to import and compile: only where it is used

    noise = np.random.default_rng(seed).normal(scale=1e-4, size=start.shape)
    model = umap.UMAP(
        n_components=dimensions,
        n_neighbors=neighbours,
        metric="cosine",
        min_dist=0.0,  # for clustering, as UMAP's documentation advises
        init=(10 * start / max(np.abs(start).max(), 1e-12) + noise).astype(np.float32),
        precomputed_knn=(*_nearest(vectors, neighbours), None),  # exact, and spares a minute of compilation
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn", module="umap")  # new rows are never transformed
        warnings.filterwarnings("ignore", message="n_jobs value", module="umap")
        position = model.fit_transform(vectors.astype(np.float32))
    return {"instruction_id": batch["instruction_id"], "position": list(position)}


def fit_batch(batch: Batch, *, positions: FloatArray, restarts: int, most_rows: int, seed: int) -> dict[str, list[Any]]:
    """Fit a mixture for each number of clusters and measure it.

    Args:
        batch: Column `num_clusters` (int).
        positions: Shape (rows, dimensions).
        restarts: Of each fit.
        most_rows: The silhouette is measured on a sample of this size.
        seed: Of fits and sample.

    Returns:
        Columns `num_clusters` and `silhouette` (-1 where the mixture left only one cluster with members).
    """
    from sklearn.metrics import silhouette_score

    sample = np.random.default_rng(seed).permutation(len(positions))[:most_rows]
    found = []
    for num_clusters in batch["num_clusters"]:
        labels = _mixture(positions, num_clusters, restarts, seed)[0][sample]
        is_split = 1 < len(np.unique(labels)) < len(labels)
        found.append(float(silhouette_score(positions[sample], labels)) if is_split else -1.0)
    return {"num_clusters": batch["num_clusters"], "silhouette": found}


def assign_table(batch: Batch, *, num_clusters: int, restarts: int, seed: int) -> dict[str, Any]:
    """Assign rows to the components of a mixture.

    Args:
        batch: All rows; columns `instruction_id` and `position`.
        num_clusters: Components to fit.
        restarts: Of the fit.
        seed: Of the fit.

    Returns:
        Columns `instruction_id`, `cluster` (numbered by falling size, none empty) and `centrality` (minus the distance
        to the mean of the cluster).
    """
    positions = np.stack(batch["position"]).astype(np.float64)
    labels, means = _mixture(positions, num_clusters, restarts, seed)
    by_size = np.argsort(-np.bincount(labels, minlength=num_clusters), kind="stable")
    rank = np.empty(num_clusters, dtype=np.int64)
    rank[by_size] = np.arange(num_clusters)
    centrality = -np.linalg.norm(positions - means[labels], axis=1)
    return {
        "instruction_id": batch["instruction_id"],
        "cluster": rank[labels].astype(np.int32),
        "centrality": centrality.astype(np.float32),
    }


def choose_by_elbow(numbers: list[int], silhouettes: list[float]) -> int:
    """Choose the number of clusters at the elbow of the silhouette.

    The elbow is the point furthest above the straight line from the first point to the highest (Satopaa et al. 2011,
    "Finding a kneedle in a haystack"): from there on, more clusters bring less than they did before.

    Args:
        numbers: Numbers of clusters, rising.
        silhouettes: One each, in [-1, 1].

    Returns:
        One of the numbers; 1 where none was tried.
    """
    if not len(numbers):
        return 1
    best = int(np.argmax(silhouettes))
    x, y = np.log(np.array(numbers[: best + 1])), np.array(silhouettes[: best + 1])
    if best == 0:
        return int(numbers[0])
    line = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    above = y - line
    return int(numbers[int(np.argmax(above)) if above.max() > 0 else best])


def numbers_to_try(num_rows: int, most: int) -> list[int]:
    """Return the numbers of clusters to fit: all of a short range, else a dozen evenly spaced in ratio."""
    most = min(most, num_rows // _FEWEST_A_CLUSTER)
    if most < 2:
        return []
    if most - 1 <= _MOST_TRIED:
        return list(range(2, most + 1))
    return sorted({round(float(number)) for number in np.geomspace(2, most, _MOST_TRIED)})


def _reduce(embedded: Dataset, neighbours: int, dimensions: int, seed: int, cache_dir: Path | None) -> Dataset:
    return apply(
        embedded,
        reduce_table,
        phase="reduce",
        features=_POSITIONS,
        settings={"dimensions": dimensions, "neighbours": neighbours, "seed": seed},
        batch_size=None,
        as_numpy=True,
        show_progress=True,
        cache_dir=cache_dir,
    )


def _silhouettes(positions: Dataset, settings: ClusteringSettings, seed: int, cache_dir: Path | None) -> Dataset:
    numbers = [] if settings.num_clusters else numbers_to_try(len(positions), settings.max_clusters)
    return apply(
        from_rows([{"num_clusters": number, "silhouette": 0.0} for number in numbers], _CURVE),
        fit_batch,
        phase="silhouette",
        features=_CURVE,
        settings={
            "restarts": settings.restarts,
            "most_rows": settings.silhouette_rows,
            "seed": seed,
        },
        depends_on=positions._fingerprint,
        resources={"positions": np.array(positions["position"][:], dtype=np.float64)},
        batch_size=1,
        show_progress=True,
        cache_dir=cache_dir,
    )


def _mixture(positions: FloatArray, num_clusters: int, restarts: int, seed: int) -> tuple[IntArray, FloatArray]:
    if num_clusters == 1:
        return np.zeros(len(positions), dtype=np.int64), positions.mean(axis=0, keepdims=True)

    from sklearn.mixture import GaussianMixture

    # The floor under the variances keeps a component of equal positions from collapsing.
    model = GaussianMixture(num_clusters, reg_covar=1e-4, n_init=restarts, random_state=seed)
    return model.fit_predict(positions), model.means_


def _principal_components(vectors: FloatArray, dimensions: int) -> FloatArray:
    centred = vectors - vectors.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    components: FloatArray = left[:, :dimensions] * scale[:dimensions]
    return components


def _nearest(vectors: FloatArray, neighbours: int) -> tuple[IntArray, npt.NDArray[np.float32]]:
    """Return the indices and cosine distances of each row's nearest rows, itself first, shape (rows, neighbours)."""
    indices = np.empty((len(vectors), neighbours), dtype=np.int64)
    distances = np.empty((len(vectors), neighbours), dtype=np.float32)
    for start in range(0, len(vectors), 1024):
        block = 1 - vectors[start : start + 1024] @ vectors.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -1.0  # itself before its equals
        order = np.argsort(block, axis=1, kind="stable")[:, :neighbours]
        indices[start : start + 1024] = order
        distances[start : start + 1024] = np.clip(np.take_along_axis(block, order, axis=1), 0.0, None)
    return indices, distances
