"""The stratified sample has exact counts and the requested shares."""

import math
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import DatasetDict, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import FEATURES, distinct, make_rows

from auto_instruct_hf import stratify
from auto_instruct_hf.core import Trace, from_rows
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.recipe import SamplingSettings
from auto_instruct_hf.sampling.allocation import apportion
from auto_instruct_hf.sampling.stratified_sample import sample_table

BALANCES = ["proportional", "sqrt", "equal"]


def draw(
    rows: list[dict[str, Any]], count: int, num_clf: int = 0, seed: int = 1, balance: Any = "proportional"
) -> list[dict[str, Any]]:
    table = pa.Table.from_pylist(rows)
    found = sample_table(table, num_samples=count, num_clf=num_clf, settings=SamplingSettings(balance), seed=seed)
    draws = zip(found["row"], found["num_draws"], strict=True)
    return [{**rows[row], "num_draws": count} for row, count in draws]


@settings(max_examples=100)
@given(st.integers(1, 30), st.integers(0, 500), st.floats(0, 1), st.integers(0, 5), st.sampled_from(BALANCES))
def test_counts_are_exact(instructions: int, count: int, share: float, seed: int, balance: str) -> None:
    rows = make_rows(distinct(instructions), seed)
    drawn = draw(rows, count, round(share * count), seed, balance)
    assert len(drawn) == count
    if len({row["is_classification"] for row in rows}) == 2:
        assert sum(row["is_classification"] for row in drawn) == round(count * share)
    times = Counter(row["instance_id"] for row in drawn)
    assert all(row["num_draws"] == times[row["instance_id"]] for row in drawn)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any), st.integers(0, 400), st.sampled_from(BALANCES))
def test_clusters_have_the_requested_weight(sizes: list[int], count: int, balance: str) -> None:
    keys = [
        (topic, number, n) for topic, size in enumerate(sizes) for number in range(size) for n in range(1 + number % 3)
    ]
    rows = [
        {"instance_id": str(key), "instruction_id": str(key[:2]), "cluster": key[0], "is_classification": False}
        for key in keys
    ]
    got = Counter(row["cluster"] for row in draw(rows, count, 0, 3, balance))
    weigh = {"proportional": float, "sqrt": math.sqrt, "equal": lambda size: float(size > 0)}[balance]
    assert sum(got.values()) == count
    for topic, size in enumerate(sizes):
        assert abs(got[topic] - count * weigh(size) / sum(map(weigh, sizes))) < 1 + 1e-6


@settings(max_examples=50)
@given(st.integers(1, 30), st.integers(1, 300), st.randoms())
def test_the_order_of_rows_changes_nothing(instructions: int, count: int, shuffler: random.Random) -> None:
    rows = make_rows(distinct(instructions))
    expected = draw(rows, count, count // 3)
    shuffler.shuffle(rows)
    assert draw(rows, count, count // 3) == expected


def test_instructions_of_a_cluster_and_instances_of_an_instruction_are_sampled_evenly() -> None:
    rows = [row for row in make_rows(distinct(400)) if not row["is_classification"]]
    drawn = draw(rows, 3000)
    for part, whole in (("instruction_id", "cluster"), ("instance_id", "instruction_id")):
        members = {row[part]: row[whole] for row in rows}
        times = Counter(row[part] for row in drawn)
        for group in set(members.values()):
            counts = [times[key] for key, one in members.items() if one == group]
            assert max(counts) - min(counts) <= 1


@settings(max_examples=200)
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
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for row in make_rows(distinct(count)):
        parts["test" if row["instruction_id"] < f"i{count // 10:04d}" else "train"].append(row)
    return DatasetDict({name: from_rows(part, FEATURES) for name, part in parts.items()})


def test_five_rows_an_instruction_by_default(tmp_path: Path) -> None:
    splits = splits_of(100)
    sample = stratify(splits, cache_dir=tmp_path)
    assert {name: len(part) for name, part in sample.items()} == {"train": 450, "test": 50}
    assert set(sample["train"]["instruction_id"]).isdisjoint(sample["test"]["instruction_id"])
    assert sum(map(len, stratify(splits, num_samples=77, cache_dir=tmp_path).values())) == 77
    assert sample["train"].features == {**splits["train"].features, "num_draws": Value("int32")}
    assert stratify(splits, seed=7, cache_dir=tmp_path)["train"].to_list() != sample["train"].to_list()


@settings(max_examples=25)
@given(st.integers(20, 60), st.integers(2, 400), st.floats(0, 1), st.integers(0, 3))
def test_all_splits_together_have_the_requested_numbers(count: int, wanted: int, share: float, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        splits = splits_of(count)
        trace = Trace()
        sample = stratify(splits, num_samples=wanted, clf_share=share, seed=seed, cache_dir=Path(folder), trace=trace)
        assert sum(map(len, sample.values())) == wanted
        mixed = [part for name, part in sample.items() if len(set(splits[name]["is_classification"])) == 2]
        assert sum(sum(part["is_classification"]) for part in mixed) == round(share * sum(map(len, mixed)))
        for name, part in sample.items():
            draws = dict(zip(part["instance_id"], part["num_draws"], strict=True))
            assert sum(draws.values()) == len(part)
            assert trace.facts["most_draws"][name] == max(draws.values())


def test_rows_sampled_too_often_are_counted_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = DatasetDict({"train": from_rows(make_rows(distinct(40)), FEATURES)})
    trace, few = Trace(), SamplingSettings(max_draws=4)
    sample = stratify(splits, num_samples=200, clf_share=0.9, settings=few, cache_dir=tmp_path, trace=trace)["train"]
    draws = dict(zip(sample["instance_id"], sample["num_draws"], strict=True)).values()
    often = sum(count > 4 for count in draws)
    assert trace.facts["repeated"] == {"train": often}
    assert f"samples {often} rows more than 4 times, one of them {max(draws)} times" in caplog.text
    caplog.clear()
    stratify(splits, num_samples=40, cache_dir=tmp_path)
    assert not caplog.text


def test_missing_cluster_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="stratify needs the column 'cluster'"):
        stratify(DatasetDict({"train": splits_of(9)["train"].remove_columns("cluster")}), cache_dir=tmp_path)


def test_a_split_of_one_kind_is_filled_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row for row in make_rows(distinct(30)) if not row["is_classification"]]
    sample = stratify(DatasetDict({"train": from_rows(rows, FEATURES)}), num_samples=50, cache_dir=tmp_path)
    assert len(sample["train"]) == 50
    assert "has no classification tasks" in caplog.text


@pytest.mark.parametrize("count", [1, 2])
def test_few_samples_still_fill_each_split(tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int) -> None:
    sample = stratify(splits_of(100), num_samples=count, cache_dir=tmp_path)
    assert [len(part) for part in sample.values()] == [1, 1]
    assert ("1 rows are asked for and there are 2 splits: each gets one" in caplog.text) == (count == 1)
