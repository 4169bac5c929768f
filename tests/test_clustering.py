"""Clusters must come out the same every time, and from any data: ten rows, one row, equal rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from stub_teacher import StubTeacher

from auto_instruct_hf import Teacher, cluster
from auto_instruct_hf.clustering import (
    _nearest,
    assign_table,
    choose_by_elbow,
    fit_batch,
    numbers_to_try,
    reduce_table,
)
from auto_instruct_hf.embedding import EMBEDDED, embed
from auto_instruct_hf.errors import BuildError
from auto_instruct_hf.recipe import ClusteringSettings, EmbeddingSettings
from auto_instruct_hf.schema import INSTANCES
from auto_instruct_hf.topics import _make_unique, find_keywords, name_topics
from auto_instruct_hf.transform import Trace, from_rows

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
    assert data.column_names == [*INSTANCES, "cluster"]


def vectors(count: int, seed: int = 0) -> dict[str, Any]:
    made = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return {"instruction_id": np.array([f"i{n}" for n in range(count)]), "embedding": made}


def test_umap_repeats_to_the_bit() -> None:
    batch = vectors(60)
    first, second = (reduce_table(batch, dimensions=3, neighbours=10, seed=1)["position"] for _ in range(2))
    assert np.array_equal(first, second)
    assert np.shape(first) == (60, 3)
    other = reduce_table(batch, dimensions=3, neighbours=10, seed=2)["position"]
    assert not np.array_equal(first, other)


def test_nearest_neighbours_are_exact_across_blocks() -> None:
    made = vectors(1100)["embedding"].astype(float)
    indices, distances = _nearest(made, 5)
    exact = np.argsort(1 - made @ made.T, axis=1, kind="stable")[:, :5]
    assert (indices[:, 0] == np.arange(1100)).all()
    assert (np.sort(indices) == np.sort(exact)).all()
    assert np.allclose(distances, np.take_along_axis(1 - made @ made.T, indices, axis=1), atol=1e-6)


def test_mixtures_repeat() -> None:
    draw = np.random.default_rng(3)
    positions = draw.normal(size=(200, 4))  # no clusters at all: another start would give others
    batch = {"instruction_id": np.arange(200), "position": positions}
    first, second = (assign_table(batch, num_clusters=6, restarts=1, seed=4)["cluster"] for _ in range(2))
    assert np.array_equal(first, second)
    options = {"positions": positions, "restarts": 1, "most_rows": 150, "seed": 4}
    assert fit_batch({"num_clusters": [5, 6]}, **options) == fit_batch({"num_clusters": [5, 6]}, **options)


def test_silhouettes_belong_to_their_positions(tmp_path: Path) -> None:
    traces = [Trace(), Trace()]
    for number, trace in enumerate(traces):
        texts = [f"Explain matter {n} of kind {n % (2 + 3 * number)} in words" for n in range(20)]
        cluster(instances(texts), cache_dir=tmp_path, trace=trace)
    assert traces[0].facts["silhouettes"] != traces[1].facts["silhouettes"]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 15])
def test_few_rows_are_reduced_and_assigned_without_umap(count: int) -> None:
    reduced = reduce_table(vectors(count), dimensions=6, neighbours=15, seed=1)
    found = assign_table(reduced, num_clusters=min(2, count), restarts=1, seed=1)
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
    found = assign_table(batch, num_clusters=3, restarts=3, seed=0)
    assert found["cluster"].tolist() == [2] * 5 + [0] * 20 + [1] * 9


@pytest.mark.parametrize(
    ("numbers", "silhouettes", "chosen"),
    [
        ([2, 3, 4, 5], [0.2, 0.6, 0.5, 0.4], 3),  # a peak
        ([2, 4, 8, 16, 32], [0.1, 0.4, 0.55, 0.58, 0.6], 8),  # rises ever more slowly: the bend
        ([2, 3, 4], [0.5, 0.4, 0.3], 2),  # falls from the start
        ([2, 4, 8], [0.1, 0.2, 0.3], 8),  # a straight line has no bend
        ([2], [-1.0], 2),
        ([], [], 1),
    ],
)
def test_elbow(numbers: list[int], silhouettes: list[float], chosen: int) -> None:
    assert choose_by_elbow(numbers, silhouettes) == chosen


def test_numbers_tried_stay_within_the_data() -> None:
    assert numbers_to_try(9, 50) == []
    assert numbers_to_try(10, 50) == [2]
    assert numbers_to_try(40, 50) == [2, 3, 4, 5, 6, 7, 8]
    many = numbers_to_try(10_000, 50)
    assert (many[0], many[-1], len(many)) == (2, 50, 12)


def test_topics_from_the_teacher_are_unique(
    teacher: Teacher, stub: StubTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stub_teacher

    monkeypatch.setattr(stub_teacher, "reply_to", lambda body, digest: {"topic": ' "Daily  life." '})
    texts = ["Bake a bread", "Bake a cake", "Kick a ball", "Kick a can", "Sing a song"]
    names = name_topics(texts, [0, 0, 1, 1, 2], [0.0, -1.0, -2.0, 0.0, 0.0], teacher, cache_dir=tmp_path)
    assert names[0] == "Daily life"
    assert len({name.casefold() for name in names}) == 3
    assert all(name.startswith("Daily life") for name in names)
    shown = next(text for body in stub.answered if "Kick" in (text := body["messages"][-1]["content"]))
    assert shown.index("Kick a can") < shown.index("Kick a ball")  # the more central one first


def test_a_failed_topic_falls_back_on_keywords(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    stub.faults = {"refused": 1.0}
    names = name_topics(["Bake bread", "Kick ball"], [0, 1], [0.0, 0.0], teacher, cache_dir=tmp_path)
    assert names == ["bake, bread", "ball, kick"]


def test_names_stay_unique_whatever_the_teacher_says() -> None:
    assert _make_unique(["A (3)", "A", "A"], [[], [], []]) == ["A (3)", "A", "A (4)"]
    assert _make_unique(["Bread", "Bread"], [["bread"], ["bread", "oven"]]) == ["Bread", "Bread (oven)"]


def test_keywords_of_texts_without_words() -> None:
    assert find_keywords([["12 + 3"], ["the of"]]) == [[], []]
    assert name_topics(["1", "2"], [0, 1], [0.0, 0.0], None) == ["cluster 1", "cluster 2"]


def test_embeddings_are_of_unit_length_and_in_order(tmp_path: Path) -> None:
    data = embed(instances(["A cat sat.", "Quantum fields."]).select([0, 2]), cache_dir=tmp_path)
    assert data.features == EMBEDDED
    made = np.array(data["embedding"][:])
    assert made.shape == (2, 384)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert data["instruction_id"][:] == ["i0", "i1"]


def test_embeddings_of_another_model_are_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auto_instruct_hf import embedding

    used = []
    monkeypatch.setattr(embedding, "_encode", lambda model, size, texts: used.append(model) or np.ones((len(texts), 2)))
    for model in ("one", "two", "one"):
        embed(instances(["A cat sat."]), settings=EmbeddingSettings(model=model), cache_dir=tmp_path)
    assert used == ["one", "two"]


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot load the embedding model nobody/nothing"):
        embed(instances(["A cat."]), settings=EmbeddingSettings(model="nobody/nothing"), cache_dir=tmp_path)
