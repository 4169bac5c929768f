"""A split that leaks makes every figure measured on it worthless."""

import random
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import FEATURES, distinct, make_rows
from rouge_score.rouge_scorer import RougeScorer

from auto_instruct_hf import split
from auto_instruct_hf.core.texts import normalise
from auto_instruct_hf.core.transform import Trace, from_rows
from auto_instruct_hf.recipe import SplittingSettings
from auto_instruct_hf.sampling.splits import measure_table, split_table

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def assign(rows: list[dict[str, Any]], seed: int = 1) -> list[str]:
    batch = {name: [row[name] for row in rows] for name in rows[0]}
    return split_table(batch, settings=SplittingSettings(), seed=seed)["split"]


WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8)


@st.composite
def texts_with_copies(draw: st.DrawFn) -> list[str]:
    """Texts of few words, some of them near copies of others: a word changed, added or left out."""
    texts = draw(st.lists(WORDS, min_size=1, max_size=25))
    for _ in range(draw(st.integers(0, 15))):
        copy = list(draw(st.sampled_from(texts)))
        place = draw(st.integers(0, len(copy) - 1))
        copy[place : place + draw(st.integers(0, 1))] = draw(st.lists(st.sampled_from("abcdefgh"), max_size=1))
        texts.append(copy or ["a"])
    return [" ".join(words) for words in draw(st.permutations(texts))]


def highest_across(rows: list[dict[str, Any]], found: list[str]) -> float:
    """Return by brute force, with the package that defines it, the highest ROUGE-L across splits."""
    scorer = RougeScorer(["rougeL"])
    placed = sorted({(row["instruction"], name) for row, name in zip(rows, found, strict=True)})
    pairs = [(one, other) for (one, here), (other, there) in combinations(placed, 2) if here != there]
    return max((scorer.score(one, other)["rougeL"].fmeasure for one, other in pairs), default=0.0)


@settings(max_examples=100)
@given(texts_with_copies(), st.integers(0, 9))
def test_no_near_copy_leaks_and_what_is_measured_is_what_brute_force_finds(texts: list[str], seed: int) -> None:
    rows = make_rows(texts)
    found = assign(rows, seed=seed)
    where: dict[str, set[str]] = {}
    for row, name in zip(rows, found, strict=True):
        where.setdefault(row["instruction_id"], set()).add(name)
    assert all(len(names) == 1 for names in where.values())
    highest = highest_across(rows, found)
    assert not highest > 0.7
    batch = {"instruction": [row["instruction"] for row in rows], "split": found}
    measured = measure_table(batch, seed=seed, max_pairs=10**6)
    assert measured["similarity"] == [highest]
    assert measured["compared"] == measured["held_out"]


@settings(max_examples=50)
@given(texts_with_copies(), st.randoms(), st.integers(1, 300))
def test_a_leak_is_measured_whatever_made_it(texts: list[str], chance: random.Random, max_pairs: int) -> None:
    rows = make_rows(texts)
    found = [chance.choice(list(SHARES)) for _ in rows]
    batch = {"instruction": [row["instruction"] for row in rows], "split": found}
    highest = highest_across(rows, found)
    assert measure_table(batch, seed=1, max_pairs=10**6)["similarity"] == [highest]
    some = measure_table(batch, seed=1, max_pairs=max_pairs)
    assert some["similarity"][0] <= highest
    assert some["compared"][0] == min(
        some["held_out"][0],
        max(
            1,
            max_pairs
            // sum(
                len({text for text, name in zip(batch["instruction"], found, strict=True) if name == split})
                for split in SHARES
            ),
        ),
    )


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["x", "", "y"]), st.sampled_from(["", " ", "One", "two", "three"])), min_size=1),
    st.integers(0, 9),
)
def test_whoever_shares_an_input_and_its_attribute_stays_together(given: list[tuple[str, str]], seed: int) -> None:
    rows = make_rows(distinct(30))
    chance = random.Random(seed)
    for attribute, text in given:
        row = chance.choice(rows)
        row.update(attribute=attribute, input=chance.choice([text, text.upper(), f" {text}"]))
    found = assign(rows, seed=seed)
    where: dict[tuple[str, str], set[str]] = {}
    for row, name in zip(rows, found, strict=True):
        where.setdefault((row["attribute"], normalise(row["input"])), set()).add(name)
    assert all(len(names) == 1 for (_, text), names in where.items() if text)


def test_groups_are_chained_through_every_kind_of_link() -> None:
    texts = ["a b c d e f g h", "a b c d e f g x", "A  b c d e f g X", "one two three", "four five six"]
    rows = make_rows([*texts, *distinct(40)])
    by_text = {row["instruction"]: row for row in rows}
    by_text[texts[2]].update(input="Shared.", attribute="label")
    by_text[texts[3]].update(input="shared.", attribute="label")
    by_text[texts[4]].update(input="shared.", attribute="another label")
    batch = {name: [row[name] for row in rows] for name in rows[0]}
    found = split_table(batch, settings=SplittingSettings(), seed=1)
    groups = {row["instruction"]: group for row, group in zip(rows, found["group"], strict=True)}
    assert len({groups[text] for text in texts[:4]}) == 1
    assert groups[texts[4]] != groups[texts[0]]


def test_the_measure_is_told(tmp_path: Path) -> None:
    trace = Trace()
    split(from_rows(make_rows(distinct(50)), FEATURES), cache_dir=tmp_path, trace=trace)
    assert trace.facts == {
        "groups": 50,
        "largest_group": 1,
        "nearest": {"similarity": 0.0, "compared": 10, "held_out": 10},
    }


@settings(max_examples=40)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=60), st.integers(0, 9))
def test_shares_hold_as_far_as_groups_allow(sizes: list[int], seed: int) -> None:
    texts = [f"alpha{g} beta{g} gamma{g} delta{g} x{n}" for g, size in enumerate(sizes) for n in range(size)]
    rows = make_rows(texts, seed)
    by_id = {row["instruction_id"]: name for row, name in zip(rows, assign(rows, seed=seed), strict=True)}
    for name, share in SHARES.items():
        assert abs(Counter(by_id.values())[name] - share * len(texts)) <= 3 * max(sizes)


@settings(max_examples=30)
@given(st.integers(1, 60), st.randoms())
def test_order_of_rows_decides_nothing(count: int, shuffler: random.Random) -> None:
    rows = make_rows(distinct(count))
    expected = {row["instance_id"]: name for row, name in zip(rows, assign(rows), strict=True)}
    shuffler.shuffle(rows)
    assert {row["instance_id"]: name for row, name in zip(rows, assign(rows), strict=True)} == expected


def test_shares_hold_over_all_and_within_strata() -> None:
    rows = make_rows(distinct(1000))
    found = assign(rows)
    by_id = {
        row["instruction_id"]: (name, row["is_classification"], row["cluster"])
        for row, name in zip(rows, found, strict=True)
    }
    total = Counter(name for name, _, _ in by_id.values())
    assert total == {"train": 800, "validation": 100, "test": 100}
    strata = Counter((kind, topic) for _, kind, topic in by_id.values())
    held = Counter((kind, topic) for name, kind, topic in by_id.values() if name == "test")
    for stratum, size in strata.items():
        assert abs(held[stratum] - 0.1 * size) <= 2


@pytest.mark.parametrize("count", range(1, 12))
def test_no_split_is_empty(tmp_path: Path, count: int, caplog: pytest.LogCaptureFixture) -> None:
    splits = split(from_rows(make_rows(distinct(count)), FEATURES), cache_dir=tmp_path)
    assert list(splits) == ["train", "validation", "test"][:count]
    assert all(len(part) for part in splits.values())
    assert ("no instruction is left" in caplog.text) == (count < 3)


def test_splits_without_a_share_are_not_made(tmp_path: Path) -> None:
    data = from_rows(make_rows(distinct(20)), FEATURES)
    splits = split(data, settings=SplittingSettings(validation=0.0, test=0.5), cache_dir=tmp_path)
    assert list(splits) == ["train", "test"]


def test_rows_are_all_there_once(tmp_path: Path) -> None:
    data: Dataset = from_rows(make_rows(distinct(50)), FEATURES)
    splits = split(data, cache_dir=tmp_path)
    assert sorted(key for part in splits.values() for key in part["instance_id"]) == sorted(data["instance_id"])
    assert all(part.features == data.features for part in splits.values())


def test_seed_moves_groups() -> None:
    rows = make_rows(distinct(200))
    assert assign(rows, seed=1) != assign(rows, seed=2)
    assert assign(rows, seed=1) == assign(rows, seed=1)
