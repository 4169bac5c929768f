"""The sample is what people train on: its counts are exact, its shares are those asked for."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st
from test_splitting import FEATURES, distinct, make_rows

from auto_instruct_hf import stratify
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.sampling import apportion, sample_table
from auto_instruct_hf.transform import from_rows


def draw(rows: list[dict[str, Any]], count: int, clf_share: float = 0.1, seed: int = 1) -> list[dict[str, Any]]:
    batch = {name: [row[name] for row in rows] for name in rows[0]}
    found = sample_table(batch, num_samples=count, clf_share=clf_share, seed=seed)
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(0, 500), st.floats(0, 1), st.integers(0, 5))
def test_counts_are_exact(instructions: int, count: int, share: float, seed: int) -> None:
    rows = make_rows(distinct(instructions), seed)
    drawn = draw(rows, count, share, seed)
    assert len(drawn) == count
    kinds = {row["is_classification"] for row in rows}
    if len(kinds) == 2:
        assert sum(row["is_classification"] for row in drawn) == round(count * share)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(1, 300), st.randoms())
def test_order_of_rows_decides_nothing(instructions: int, count: int, shuffler: random.Random) -> None:
    rows = make_rows(distinct(instructions))
    expected = Counter(row["instance_id"] for row in draw(rows, count))
    shuffler.shuffle(rows)
    assert Counter(row["instance_id"] for row in draw(rows, count)) == expected


def test_clusters_by_their_instructions_then_instructions_then_instances_evenly() -> None:
    rows = [row for row in make_rows(distinct(400)) if not row["is_classification"]]
    drawn = draw(rows, 3000, clf_share=0.0)
    ids = {row["instruction_id"]: row["cluster"] for row in rows}
    sizes, got = Counter(ids.values()), Counter(row["cluster"] for row in drawn)
    for topic, size in sizes.items():
        assert abs(got[topic] - 3000 * size / len(ids)) < 1
    for topic in sizes:
        times = Counter(row["instruction_id"] for row in drawn if row["cluster"] == topic)
        assert max(times.values()) - min(times.values()) <= 1
        assert len(times) == sizes[topic]
    for key in ids:
        times = Counter(row["instance_id"] for row in drawn if row["instruction_id"] == key)
        assert max(times.values()) - min(times.values()) <= 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1000), st.lists(st.floats(0, 100), min_size=1, max_size=20), st.integers(0, 3))
def test_apportion_is_exact_and_fair(total: int, weights: list[float], seed: int) -> None:
    found = apportion(total, np.array(weights), np.random.default_rng(seed))
    if sum(weights) == 0:
        assert not found.any()
        return
    assert found.sum() == total
    exact = total * np.array(weights) / sum(weights)
    assert (np.abs(found - exact) < 1 + 1e-6).all()


def splits_of(count: int) -> DatasetDict:
    rows = make_rows(distinct(count))
    parts = {"train": [], "test": []}  # type: dict[str, list[dict[str, Any]]]
    for row in rows:
        parts["test" if row["instruction_id"] < f"i{count // 10:04d}" else "train"].append(row)
    return DatasetDict({name: from_rows(part, FEATURES) for name, part in parts.items()})


def test_five_rows_an_instruction_unless_told(tmp_path: Path) -> None:
    splits = splits_of(100)
    sample = stratify(splits, cache_dir=tmp_path)
    assert {name: len(part) for name, part in sample.items()} == {"train": 450, "test": 50}
    sample = stratify(splits, num_samples=77, cache_dir=tmp_path)
    assert sum(map(len, sample.values())) == 77
    assert sample["train"].features == splits["train"].features


def test_missing_cluster_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="stratify needs the column 'cluster'"):
        stratify(DatasetDict({"train": splits_of(9)["train"].remove_columns("cluster")}), cache_dir=tmp_path)


def test_no_instruction_crosses_over(tmp_path: Path) -> None:
    sample = stratify(splits_of(100), cache_dir=tmp_path)
    assert set(sample["train"]["instruction_id"]).isdisjoint(sample["test"]["instruction_id"])


def test_same_seed_same_rows(tmp_path: Path) -> None:
    one, two, other = (
        stratify(splits_of(60), seed=seed, cache_dir=tmp_path / str(number)) for number, seed in enumerate((1, 1, 2))
    )
    assert one["train"].to_list() == two["train"].to_list()
    assert one["train"].to_list() != other["train"].to_list()


def test_a_split_of_one_kind_is_filled_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row for row in make_rows(distinct(30)) if not row["is_classification"]]
    sample = stratify(DatasetDict({"train": from_rows(rows, FEATURES)}), num_samples=50, cache_dir=tmp_path)
    assert len(sample["train"]) == 50
    assert "holds no classification tasks" in caplog.text


def test_few_samples_still_fill_each_split(tmp_path: Path) -> None:
    sample = stratify(splits_of(100), num_samples=2, cache_dir=tmp_path)
    assert all(isinstance(part, Dataset) and len(part) for part in sample.values())
