"""Novelty in meaning: what is computed in blocks equals brute force."""

import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_instruct_hf import filter_novel
from auto_instruct_hf.core import Trace, Vectors
from auto_instruct_hf.embedding import phase
from auto_instruct_hf.novelty import CosineIndex, cosine, cosine_groups, nearest_cosines

# Of unit length, and their products are multiples of 1/4: no rounding, and many ties.
HALVES = np.array([signs for signs in product((-0.5, 0.0, 0.5), repeat=5) if np.abs(signs).sum() == 2], np.float32)
VECTORS = st.lists(st.integers(0, len(HALVES) - 1), max_size=20).map(lambda rows: HALVES[rows])
THRESHOLD = st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0])
BRUTE = settings(max_examples=100)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "_ROWS", 3)
        patch.setattr(cosine, "_COLUMNS", 4)
        yield


@BRUTE
@given(VECTORS, THRESHOLD, st.integers(0, 20))
def test_decisions_and_nearest_are_those_of_brute_force(vectors: Vectors, threshold: float, cut: int) -> None:
    index = CosineIndex(threshold)
    parts = [index.add_novel(vectors[:cut]), index.add_novel(vectors[cut:])]
    found = [row for one in parts for row in zip(one.is_novel, one.similarity, one.nearest, strict=True)]
    pool: list[Vectors] = []
    for vector, verdict in zip(vectors, found, strict=True):
        cosines = [float(earlier @ vector) for earlier in pool]
        highest = max(cosines, default=0.0)
        assert verdict == (not highest > threshold, highest, cosines.index(highest) if cosines else -1)
        if not highest > threshold:
            pool.append(vector)
    assert len(index) == len(pool)


@BRUTE
@given(VECTORS, VECTORS)
def test_comparing_admits_nothing(vectors: Vectors, references: Vectors) -> None:
    index = CosineIndex(0.5)
    index.add(references)
    found = index.compare(vectors)
    assert len(index) == len(references)
    if len(references) and len(vectors):
        assert found.similarity.tolist() == (vectors @ references.T).max(axis=1).tolist()


@BRUTE
@given(VECTORS, THRESHOLD)
def test_groups_are_chains_of_near_pairs(vectors: Vectors, threshold: float) -> None:
    group = list(range(len(vectors)))
    for later in range(len(vectors)):
        for earlier in range(later):
            if float(vectors[earlier] @ vectors[later]) > threshold:
                group = [group[earlier] if one == group[later] else one for one in group]
    order = list(dict.fromkeys(group))
    assert cosine_groups(vectors, threshold).tolist() == [order.index(one) for one in group]


@BRUTE
@given(VECTORS)
def test_each_vector_and_its_nearest_other(vectors: Vectors) -> None:
    cosines = vectors @ vectors.T - 9 * np.eye(len(vectors), dtype=np.float32)
    expected = cosines.max(axis=1) if len(vectors) > 1 else np.zeros(len(vectors))
    assert nearest_cosines(vectors).tolist() == expected.tolist()


def test_equal_vectors_are_not_above_one_however_they_are_rounded() -> None:
    vectors = np.tile(np.random.default_rng(1).normal(size=384).astype(np.float32), (4, 1))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) * 0.99999
    assert CosineIndex(1.0).add_novel(vectors).is_novel.all()


@pytest.mark.parametrize("threshold", [0, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="max_cosine"):
        CosineIndex(threshold)


MEANINGS = {"Name three colours": [1, 0], "List a few hues": [0.96, 0.28], "Write a haiku": [0, 1]}


def test_rows_near_in_meaning_go_to_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(texts: list[str]) -> Vectors:
        return np.array([MEANINGS[text] for text in texts], dtype=np.float32)

    monkeypatch.setattr(phase, "make_encoder", lambda *_: encode)
    data = Dataset.from_dict({"instruction": ["Name three colours", "Name three colours!", *list(MEANINGS)[1:]]})
    for _ in range(2):  # the second time from the cache
        trace = Trace()
        kept = filter_novel(data, max_cosine=0.9, cache_dir=tmp_path, trace=trace)
        assert kept["instruction"][:] == ["Name three colours", "Write a haiku"]
        assert trace.rejected is not None
        assert trace.rejected["nearest_row"][:] == [0, 0]
        assert trace.rejected["similarity"][:] == pytest.approx([1.0, 0.96])
        assert trace.rejected["rejected"][:] == [
            "ROUGE-L above 0.7 with an earlier row", "cosine above 0.9 with an earlier row",
        ]  # fmt: skip
    assert len(filter_novel(data, cache_dir=tmp_path)) == 3


def test_meanings_in_a_script_that_the_model_does_not_know_are_not_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = Dataset.from_dict({"instruction": ["บอกชื่อสีสามสี", "เขียนบทกวีเกี่ยวกับทะเล", "แปลประโยคนี้"]})
    assert len(filter_novel(data, max_cosine=0.9, cache_dir=tmp_path)) == 3
    assert "does not know the script of these texts" in caplog.text


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("abcd ", min_size=1, max_size=12), min_size=1, max_size=25), st.integers(2, 6))
def test_shards_decide_as_one_index(monkeypatch: pytest.MonkeyPatch, texts: list[str], num_shards: int) -> None:
    def encode(texts: list[str]) -> Vectors:
        return np.array([HALVES[sum(map(ord, text)) % len(HALVES)] for text in texts])

    monkeypatch.setattr(phase, "make_encoder", lambda *_: encode)
    data = Dataset.from_dict({"instruction": texts, "row": list(range(len(texts)))})
    kept = []
    for shards in (1, num_shards):
        trace = Trace()
        with tempfile.TemporaryDirectory() as folder:
            options = {"max_cosine": 0.75, "num_shards": shards, "cache_dir": Path(folder)}
            kept.append(filter_novel(data, threshold=0.5, trace=trace, **options)["row"][:])
        assert trace.rejected is not None
        assert all(row > near for row, near in zip(trace.rejected["row"], trace.rejected["nearest_row"], strict=True))
    assert kept[0] == kept[1]
