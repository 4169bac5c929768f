"""Phase 4: clusters of instructions. Embed, reduce with UMAP, fit a Gaussian mixture, name each cluster.

As in Auto-Instruct, but over all instructions: UMAP to 6 dimensions with the cosine distance, a mixture with full
covariances, and the number of components by a rule that gives its reason. Above `fit_sample` instructions a sample is
fitted; the others are assigned by a logistic regression from embedding to cluster.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import ClassLabel, Dataset, Features, List, Value

from ..core import (
    INSTANCES,
    Batch,
    Columns,
    FloatArray,
    IntArray,
    Trace,
    apply,
    from_table,
    list_unique,
    require_columns,
    to_table,
)
from ..embedding import embed
from ..errors import BuildError
from ..prompts import PromptSet
from ..recipe import ClusteringSettings, EmbeddingSettings
from ..teacher import Teacher
from .assign_rest import ASSIGNED, extend, sample_rows
from .cluster_count import choose, measure_curve
from .mixture import fit_mixture, measure_centrality
from .reduction import reduce_vectors
from .topics import name_topics

_UNIQUE = Features(
    {"instruction_id": Value("string"), "instruction": Value("string"), "is_classification": Value("bool")}
)
_PLACE = List(Value("float32"))
_POSITIONS = Features({"instruction_id": Value("string"), "position": _PLACE, "place": _PLACE})


def cluster(
    instances: Dataset,
    teacher: Teacher | None = None,
    *,
    embedding: EmbeddingSettings | None = None,
    settings: ClusteringSettings | None = None,
    seed: int = 42,
    prompts: str | PromptSet | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Cluster the instructions, and label each instance with the cluster of its instruction.

    Args:
        instances: Columns as `schema.INSTANCES`.
        teacher: The model that names the clusters; None: names are keywords.
        embedding: Settings of the embedding model.
        settings: Settings of UMAP and mixture.
        seed: Random seed. The same seed gives the same clusters on the same kind of processor, whatever the order of
            the rows and the number of threads.
        prompts: `default`, `small` or a folder; None: the teacher's default.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the number of clusters, the reason, the silhouette curve, and as table `map` the
            2D position and the cluster of each fitted instruction.

    Returns:
        The same rows with the column `cluster`, a ClassLabel whose names are the topics.
    """
    instances = require_columns(instances, INSTANCES, "cluster", _UNIQUE)
    if not len(instances):
        raise BuildError("there is no instance to cluster")
    settings = settings or ClusteringSettings()
    unique = _unique(instances)
    embedded = embed(unique, settings=embedding, cache_dir=cache_dir)
    sample = sample_rows(np.array(unique["is_classification"][:]), settings.fit_sample, seed)
    known = embedded if len(sample) == len(embedded) else embedded.select(sample)
    reduced = apply(
        known,
        reduce_table,
        phase="reduce",
        features=_POSITIONS,
        settings={"n_components": settings.n_components, "n_neighbors": settings.n_neighbors, "seed": seed},
        batch_size=None,
        form="numpy",
        show_progress=True,
        cache_dir=cache_dir,
    )
    curve = measure_curve(reduced, settings, seed, cache_dir)
    choice = choose(curve, settings)
    fitted = apply(
        reduced,
        assign_table,
        phase="assign",
        features=ASSIGNED,
        settings={
            "num_clusters": min(choice.num_clusters, len(reduced)),
            "n_init": settings.n_init,
            "covariance_type": settings.covariance_type,
            "seed": seed,
        },
        batch_size=None,
        form="numpy",
        show_progress=True,
        cache_dir=cache_dir,
    )
    topics = name_topics(
        unique.select(sample)["instruction"][:],
        fitted["cluster"][:],
        fitted["centrality"][:],
        teacher,
        num_instructions=settings.topic_instructions,
        max_tokens=settings.topic_tokens,
        prompts=prompts,
        cache_dir=cache_dir,
    )
    if trace is not None:
        points = [{"num_clusters": number, "silhouette": silhouette} for number, silhouette in curve]
        trace.facts.update(num_clusters=len(topics), choice=choice.reason, curve=points)
        trace.facts.update(fitted=len(fitted), assigned=len(embedded) - len(fitted))
        trace.tables["map"] = reduced.select_columns(["place"]).add_column("cluster", fitted["cluster"][:])
    found = [fitted, *extend(embedded, known, sample, fitted, cache_dir)]
    ids, labels = (
        np.concatenate([np.array(part[name][:]) for part in found]) for name in ("instruction_id", "cluster")
    )
    order = np.argsort(ids)
    return apply(
        instances,
        label_batch,
        phase="cluster",
        features=Features({**instances.features, "cluster": ClassLabel(names=topics)}),
        depends_on=[part._fingerprint for part in found],
        resources={"ids": ids[order], "labels": labels[order]},
        cache_dir=cache_dir,
    )


def label_batch(batch: Batch, *, ids: npt.NDArray[np.str_], labels: IntArray) -> Columns:
    """Add the column `cluster` to a batch, given the sorted ids of all instructions and their clusters."""
    places = np.searchsorted(ids, np.array(batch["instruction_id"]))
    return {**batch, "cluster": labels[places].tolist()}


def reduce_table(batch: Batch, *, n_components: int, n_neighbors: int, seed: int) -> dict[str, object]:
    """Reduce embeddings of unit length to `position`, of `n_components` dimensions, and `place`, of two (float32)."""
    vectors = np.stack(batch["embedding"]).astype(np.float32)
    position, place = reduce_vectors(vectors, (n_components, 2), n_neighbors=n_neighbors, seed=seed)
    found = {"position": list(position.astype(np.float32)), "place": list(place.astype(np.float32))}
    return {"instruction_id": batch["instruction_id"], **found}


def assign_table(batch: Batch, *, num_clusters: int, n_init: int, covariance_type: str, seed: int) -> dict[str, object]:
    """Fit a mixture to the column `position`, and assign each row to its most probable component.

    Returns columns as ASSIGNED. Clusters are numbered by decreasing size, and none is empty; `centrality` is the
    probability times `measure_centrality`.
    """
    positions = np.stack(batch["position"]).astype(np.float64)
    mixture = fit_mixture(positions, num_clusters, n_init=n_init, seed=seed, covariance_type=covariance_type)
    probabilities: FloatArray = mixture.predict_proba(positions)
    components = probabilities.argmax(axis=1)
    rank_of = np.argsort(np.argsort(-np.bincount(components, minlength=num_clusters), kind="stable"))
    labels: IntArray = rank_of[components]
    return {
        "instruction_id": batch["instruction_id"],
        "cluster": labels.astype(np.int32),
        "centrality": (probabilities.max(axis=1) * measure_centrality(positions, labels)).astype(np.float32),
    }


def _unique(instances: Dataset) -> Dataset:
    """Return each instruction once, sorted by id, so that the order of the rows does not matter."""
    # If spellings or kinds differ for one id, the first in sorting order is kept.
    rows, _ = list_unique(to_table(instances, list(_UNIQUE)), list(_UNIQUE))
    return from_table(rows, _UNIQUE)
