"""Clusters must come out the same every time, and from any data: ten rows, one row, equal rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from auto_instruct_hf import cluster
from auto_instruct_hf.clustering.assign_rest import sample_rows
from auto_instruct_hf.clustering.cluster_count import (
    choose,
    choose_by_elbow,
    choose_by_silhouette,
    numbers_between,
    numbers_to_try,
    score_batch,
)
from auto_instruct_hf.clustering.phase import assign_table, reduce_table
from auto_instruct_hf.clustering.reduction import _principal_components, find_neighbors
from auto_instruct_hf.core.schema import CLUSTERED, INSTANCES
from auto_instruct_hf.core.transform import Trace, from_rows
from auto_instruct_hf.recipe import ClusteringSettings

TOPICS = {
    "recipe": ["soup", "bread", "cake", "salad", "stew", "pancakes", "curry", "rice"],
    "program": ["sorting", "searching", "parsing", "logging", "caching", "hashing", "testing", "graphs"],
    "football": ["goals", "penalties", "referees", "strikers", "defenders", "corners", "leagues", "coaches"],
}


def instances(texts: list[str]) -> Dataset:
    row = {"is_classification": False, "attribute": "", "input": "", "output": "x"}
    rows = [
        {**row, "instance_id": f"x{n}-{twin}", "instruction_id": f"i{n}", "instruction": text}
        for n, text in enumerate(texts)
        for twin in range(2)
    ]
    return from_rows(rows, INSTANCES)


@pytest.fixture(scope="module")
def by_topic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Trace]:
    texts = [
        {
            "recipe": f"Write a recipe for {word} to cook for dinner",
            "program": f"Write a Python program for {word}",
        }.get(topic, f"Explain the rules of football about {word}")
        for topic, words in TOPICS.items()
        for word in words
    ]
    trace = Trace()
    return cluster(instances(texts), cache_dir=tmp_path_factory.mktemp("cache"), trace=trace), trace


def test_real_embeddings_find_the_topics(by_topic: tuple[Dataset, Trace]) -> None:
    data, trace = by_topic
    assert trace.facts["num_clusters"] == 3
    groups = [set(data["cluster"][start : start + 16]) for start in (0, 16, 32)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_cluster_is_a_class_label_named_by_keywords_without_a_teacher(by_topic: tuple[Dataset, Trace]) -> None:
    data, _ = by_topic
    feature = data.features["cluster"]
    assert isinstance(feature, ClassLabel)
    names = [feature.names[data["cluster"][row]] for row in (0, 16, 32)]
    assert "recipe" in names[0]
    assert "python" in names[1]
    assert "football" in names[2]


def test_instances_of_an_instruction_share_its_cluster(by_topic: tuple[Dataset, Trace]) -> None:
    data, _ = by_topic
    assert data["cluster"][::2] == data["cluster"][1::2]
    assert data.column_names == [*CLUSTERED]


def vectors(count: int, seed: int = 0, width: int = 16) -> dict[str, Any]:
    made = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return {"instruction_id": np.array([f"i{n}" for n in range(count)]), "embedding": made}


def test_umap_repeats_to_the_bit() -> None:
    batch = vectors(60)
    first, second = (reduce_table(batch, n_components=3, n_neighbors=10, seed=1) for _ in range(2))
    assert np.array_equal(first["position"], second["position"])
    assert np.shape(first["position"]) == (60, 3)
    assert np.shape(first["place"]) == (60, 2)
    other = reduce_table(batch, n_components=3, n_neighbors=10, seed=2)["position"]
    assert not np.array_equal(first["position"], other)


def test_nearest_neighbors_are_exact_across_blocks() -> None:
    made = vectors(1100)["embedding"]
    indices, distances = find_neighbors(made, made, 5, is_self=True)
    exact = np.argsort(1 - made.astype(float) @ made.T.astype(float), axis=1, kind="stable")[:, :5]
    assert (indices[:, 0] == np.arange(1100)).all()
    assert (np.sort(indices) == np.sort(exact)).all()
    assert np.allclose(distances, np.take_along_axis(1 - made @ made.T, indices, axis=1), atol=1e-6)


def test_mixtures_repeat() -> None:
    draw = np.random.default_rng(3)
    positions = draw.normal(size=(200, 4))  # no clusters at all: another start would give others
    batch = {"instruction_id": np.arange(200), "position": positions}
    found = [assign_table(batch, num_clusters=6, n_init=1, covariance_type="full", seed=4) for _ in range(2)]
    assert np.array_equal(found[0]["cluster"], found[1]["cluster"])
    options: dict[str, Any] = {"n_init": 1, "covariance_type": "full", "max_rows": 150, "seed": 4}
    first, second = (score_batch({"num_clusters": [5, 6]}, positions=positions, **options) for _ in range(2))
    assert first == second


def test_the_same_clusters_with_another_number_of_threads() -> None:
    batch = vectors(1500, width=384)  # wide enough that the sums of two threads differ from those of one
    starts, found = [], []
    for threads in (1, 2):
        with threadpool_limits(threads):
            starts.append(_principal_components(batch["embedding"], 6))
            reduced = reduce_table(batch, n_components=6, n_neighbors=15, seed=1)
            found.append(assign_table(reduced, num_clusters=9, n_init=1, covariance_type="full", seed=1))
    assert np.array_equal(*starts)
    assert np.array_equal(found[0]["cluster"], found[1]["cluster"])
    assert np.array_equal(found[0]["centrality"], found[1]["centrality"])


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(1, 8),
    st.sampled_from(["full", "tied", "diag", "spherical"]),
    st.sampled_from([0.0, 1e-9, 1.0, 1e6]),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_every_row_has_a_cluster_and_none_is_empty(
    count: int, wanted: int, covariance_type: str, scale: float, distinct: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    positions = (scale * draw.normal(size=(distinct, 3)))[draw.integers(0, distinct, count)]
    batch = {"instruction_id": np.arange(count), "position": positions}
    options: dict[str, Any] = {"num_clusters": min(wanted, count), "n_init": 1, "covariance_type": covariance_type}
    found = assign_table(batch, seed=seed, **options)
    assert set(found["cluster"]) == set(range(found["cluster"].max() + 1))
    sizes = np.bincount(found["cluster"])
    assert len(sizes) <= wanted
    assert ((found["centrality"] >= -1) & (found["centrality"] <= 1)).all()
    again = assign_table(batch, seed=seed, **options)
    assert np.array_equal(found["cluster"], again["cluster"])


def test_the_order_of_the_rows_decides_nothing(tmp_path: Path) -> None:
    texts = [f"Explain matter {n} of kind {n % 4} in plain words" for n in range(60)]
    data = instances(texts)
    mixed = data.select(np.random.default_rng(0).permutation(len(data)))
    found = []
    for name, rows in (("one", data), ("other", mixed)):
        made = cluster(rows, cache_dir=tmp_path / name)
        names = made.features["cluster"].names
        found.append({row["instance_id"]: names[row["cluster"]] for row in made})
    assert found[0] == found[1]


def test_more_instructions_than_are_fitted_are_all_assigned(tmp_path: Path) -> None:
    texts = [f"{'Bake a cake' if n % 2 else 'Sort a list in Python'} with number {n} in it" for n in range(150)]
    trace = Trace()
    few = ClusteringSettings(fit_sample=100, num_clusters=2)
    data = cluster(instances(texts), settings=few, cache_dir=tmp_path, trace=trace)
    assert (trace.facts["fitted"], trace.facts["assigned"]) == (100, 50)
    assert len(trace.tables["map"]) == 100
    before = set(tmp_path.iterdir())
    again = cluster(instances(texts), settings=few, cache_dir=tmp_path)
    assert again["cluster"][:] == data["cluster"][:]
    assert set(tmp_path.iterdir()) == before  # nothing was computed again
    kinds = [{row["cluster"] for row in data if ("Bake" in row["instruction"]) == kind} for kind in (True, False)]
    assert [len(kind) for kind in kinds] == [1, 1]


@settings(max_examples=100)
@given(st.lists(st.booleans(), min_size=1, max_size=300), st.integers(2, 300), st.integers(0, 99))
def test_a_sample_holds_both_kinds_by_their_shares(kinds: list[bool], most: int, seed: int) -> None:
    found = sample_rows(np.array(kinds), most, seed)
    assert len(found) == len(set(found.tolist())) == min(most, len(kinds))
    assert (np.diff(found) > 0).all()
    share = sum(kinds[row] for row in found)
    assert abs(share - len(found) * sum(kinds) / len(kinds)) <= 1
    assert (share > 0) == any(kinds)
    assert (share < len(found)) == (not all(kinds))


def test_curves_belong_to_their_positions(tmp_path: Path) -> None:
    traces = [Trace(), Trace()]
    for number, trace in enumerate(traces):
        texts = [f"Explain matter {n} of kind {n % (2 + 3 * number)} in words" for n in range(20)]
        cluster(instances(texts), cache_dir=tmp_path, trace=trace)
    assert traces[0].facts["curve"] != traces[1].facts["curve"]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 15])
def test_few_rows_are_reduced_and_assigned_without_umap(count: int) -> None:
    reduced = reduce_table(vectors(count), n_components=6, n_neighbors=15, seed=1)
    found = assign_table(reduced, num_clusters=min(2, count), n_init=1, covariance_type="full", seed=1)
    assert set(found["cluster"]) <= {0, 1}
    assert np.isfinite(np.stack(reduced["position"])).all()


def test_equal_rows_do_not_break_it(tmp_path: Path) -> None:
    data = cluster(instances(["Explain the same old thing once more"] * 30), cache_dir=tmp_path)
    assert len(data) == 60


@pytest.mark.parametrize("count", [1, 2, 10])
def test_tiny_datasets(tmp_path: Path, count: int) -> None:
    texts = [f"Explain matter number {n} in words" for n in range(count)]
    assert len(cluster(instances(texts), cache_dir=tmp_path)) == 2 * count


def test_number_of_clusters_can_be_set(tmp_path: Path) -> None:
    texts = [f"Explain matter number {n} in words" for n in range(12)]
    data = cluster(instances(texts), settings=ClusteringSettings(num_clusters=4), cache_dir=tmp_path)
    assert len(set(data["cluster"])) == 4


def test_clusters_are_numbered_by_size() -> None:
    position = np.concatenate([np.full((5, 2), 9.0), np.full((20, 2), 0.0), np.full((9, 2), -9.0)])
    position += np.random.default_rng(0).normal(scale=0.1, size=position.shape)
    batch = {"instruction_id": np.arange(34), "position": position}
    found = assign_table(batch, num_clusters=3, n_init=3, covariance_type="full", seed=0)
    assert found["cluster"].tolist() == [2] * 5 + [0] * 20 + [1] * 9


@pytest.mark.parametrize(
    ("numbers", "silhouettes", "chosen"),
    [
        ([2, 3, 4, 5], [0.2, 0.6, 0.5, 0.4], 3),  # a peak
        ([2, 4, 8, 16, 32], [0.1, 0.4, 0.55, 0.58, 0.6], 8),  # rises ever more slowly: the bend
        ([2, 3, 4], [0.5, 0.4, 0.3], 2),  # falls from the start
        ([2, 4, 8], [0.1, 0.2, 0.3], 8),  # a straight line has no bend
        ([2], [-1.0], 2),
    ],
)
def test_elbow(numbers: list[int], silhouettes: list[float], chosen: int) -> None:
    assert choose_by_elbow(list(zip(numbers, silhouettes, strict=True))).num_clusters == chosen


@pytest.mark.parametrize(
    ("silhouettes", "chosen"),
    [
        ([0.3, 0.4, 0.8, 0.4, 0.3], 8),  # a peak
        ([0.3, 0.585, 0.6, 0.59, 0.6], 4),  # about level from 4 on
        ([0.6] * 5, 2),
        ([0.1, 0.2, 0.4, 0.6, 0.8], 32),
        ([-1.0] * 5, 2),
    ],
)
def test_silhouette(silhouettes: list[float], chosen: int) -> None:
    assert choose_by_silhouette(list(zip([2, 4, 8, 16, 32], silhouettes, strict=False))).num_clusters == chosen


def test_the_number_of_clusters_is_given_or_chosen_by_a_criterion() -> None:
    curve = [(2, 0.5), (4, 0.6), (8, 0.61)]
    assert choose(curve, ClusteringSettings()) == choose_by_silhouette(curve)
    assert choose(curve, ClusteringSettings(criterion="elbow")) == choose_by_elbow(curve)
    assert choose([], ClusteringSettings(num_clusters=7)).num_clusters == 7
    assert choose([], ClusteringSettings()).num_clusters == 1


@pytest.mark.parametrize("by", [choose_by_silhouette, choose_by_elbow])
def test_a_choice_states_its_uncertainty(by: Any) -> None:
    assert "still rises at 16" in by([(2, 0.1), (4, 0.2), (8, 0.3), (16, 0.6)]).reason
    assert "flat there: 2, 4, 8, 16" in by([(2, 0.5), (4, 0.5), (8, 0.5), (16, 0.5)]).reason
    certain = by([(2, 0.1), (4, 0.2), (8, 0.9), (16, 0.2)]).reason
    assert "rises" not in certain
    assert "flat" not in certain


def test_numbers_tried_stay_within_the_data() -> None:
    assert numbers_to_try(9, 50) == []
    assert numbers_to_try(10, 50) == [2]
    assert numbers_to_try(40, 50) == [2, 3, 4, 5, 6, 7, 8]
    many = numbers_to_try(10_000, 50)
    assert (many[0], many[-1], len(many)) == (2, 50, 12)
    assert numbers_between([(2, 0.1), (5, 0.5), (9, 0.3)]) == [3, 4, 6, 7, 8]
