"""Splits have no instruction or near duplicate in common, and their shares of every stratum."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import FEATURES, distinct, make_rows
from rouge_score.rouge_scorer import RougeScorer

from auto_instruct_hf import split
from auto_instruct_hf.core import Trace, Vectors, from_rows, normalise
from auto_instruct_hf.embedding import phase
from auto_instruct_hf.recipe import SplittingSettings
from auto_instruct_hf.sampling.splits import measure_cosines_table, measure_table, split_table

IN_WORDS = SplittingSettings(max_cosine=None)
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def assign(rows: list[dict[str, Any]], seed: int = 1) -> list[str]:
    return split_table(pa.Table.from_pylist(rows), settings=SplittingSettings(), seed=seed)["split"].to_pylist()


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


def are_in_one_split(keys: Iterable[Any], found: list[str]) -> bool:
    """Return whether all rows with the same key, not empty, are in the same split."""
    first: dict[Any, str] = {}
    return all(first.setdefault(key, name) == name for key, name in zip(keys, found, strict=True) if key)


@settings(max_examples=100)
@given(texts_with_copies(), st.integers(0, 9))
def test_no_near_duplicate_leaks_and_the_measure_equals_brute_force(texts: list[str], seed: int) -> None:
    rows = make_rows(texts)
    found = assign(rows, seed=seed)
    assert are_in_one_split((row["instruction_id"] for row in rows), found)
    highest = highest_across(rows, found)
    assert not highest > 0.7
    table = pa.table({"instruction": [row["instruction"] for row in rows], "split": found})
    measured = measure_table(table, seed=seed, max_pairs=10**6)
    assert measured["similarity"] == [highest]
    assert measured["compared"] == measured["held_out"]


@settings(max_examples=50)
@given(texts_with_copies(), st.randoms(), st.integers(1, 300))
def test_a_leak_is_measured_in_any_assignment(texts: list[str], chance: random.Random, max_pairs: int) -> None:
    rows = make_rows(texts)
    found = [chance.choice(list(SHARES)) for _ in rows]
    table = pa.table({"instruction": [row["instruction"] for row in rows], "split": found})
    highest = highest_across(rows, found)
    assert measure_table(table, seed=1, max_pairs=10**6)["similarity"] == [highest]
    some = measure_table(table, seed=1, max_pairs=max_pairs)
    assert some["similarity"][0] <= highest
    num_texts = len(set(zip((row["instruction"] for row in rows), found, strict=True)))
    assert some["compared"][0] == min(some["held_out"][0], max(1, max_pairs // num_texts))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["x", "", "y"]), st.sampled_from(["", " ", "One", "two", "three"])), min_size=1),
    st.integers(0, 9),
)
def test_instances_with_the_same_input_and_attribute_stay_together(given: list[tuple[str, str]], seed: int) -> None:
    rows = make_rows(distinct(30))
    chance = random.Random(seed)
    for attribute, text in given:
        chance.choice(rows).update(attribute=attribute, input=chance.choice([text, text.upper(), f" {text}"]))
    inputs = [normalise(row["input"]) for row in rows]
    keys = [text and (row["attribute"], text) for row, text in zip(rows, inputs, strict=True)]
    assert are_in_one_split(keys, assign(rows, seed=seed))


def test_groups_are_chained_through_every_kind_of_link() -> None:
    texts = ["a b c d e f g h", "a b c d e f g x", "A  b c d e f g X", "one two three", "four five six"]
    rows = make_rows([*texts, *distinct(40)])
    by_text = {row["instruction"]: row for row in rows}
    by_text[texts[2]].update(input="Shared.", attribute="label")
    by_text[texts[3]].update(input="shared.", attribute="label")
    by_text[texts[4]].update(input="shared.", attribute="another label")
    found = split_table(pa.Table.from_pylist(rows), settings=SplittingSettings(), seed=1)
    groups = {row["instruction"]: group for row, group in zip(rows, found["group"].to_pylist(), strict=True)}
    assert len({groups[text] for text in texts[:4]}) == 1
    assert groups[texts[4]] != groups[texts[0]]


def test_all_rows_are_split_and_groups_and_the_nearest_pair_are_reported(tmp_path: Path) -> None:
    trace = Trace()
    data = from_rows(make_rows(distinct(50)), FEATURES)
    splits = split(data, settings=IN_WORDS, cache_dir=tmp_path, trace=trace)
    assert sorted(key for part in splits.values() for key in part["instance_id"]) == sorted(data["instance_id"])
    assert all(part.features == data.features for part in splits.values())
    nearest = {"similarity": 0.0, "compared": 10, "held_out": 10}
    assert trace.facts == {"groups": 50, "largest_group": 1, "nearest": nearest}


# Of unit length; their products are multiples of 1/4, so that no cosine is rounded.
HALVES = [[a, b, c, d] for a in (-0.5, 0.5) for b in (-0.5, 0.5) for c in (-0.5, 0.5) for d in (-0.5, 0.5)]


def encode(texts: list[str]) -> Vectors:
    """Return one of HALVES for each text of `distinct`."""
    numbers = [int(text.split()[0].removeprefix("alpha")) for text in texts]
    return np.array([HALVES[number * 7919 % 101 % len(HALVES)] for number in numbers], dtype=np.float32)


@settings(max_examples=40)
@given(st.integers(1, 40), st.sampled_from([0.25, 0.5, 0.75]), st.integers(0, 9))
def test_no_paraphrase_leaks_and_the_cosines_equal_brute_force(count: int, max_cosine: float, seed: int) -> None:
    rows = make_rows(distinct(count))
    chosen = SplittingSettings(max_cosine=max_cosine)
    found = split_table(pa.Table.from_pylist(rows), settings=chosen, seed=seed, encode=encode)["split"].to_pylist()
    by_text = {row["instruction"]: name for row, name in zip(rows, found, strict=True)}
    vectors = dict(zip(by_text, encode(list(by_text)), strict=True))
    across = {
        (one, other): float(vectors[one] @ vectors[other])
        for one, here in by_text.items()
        for other, there in by_text.items()
        if here != there
    }
    assert max(across.values(), default=0.0) <= max_cosine
    chance = random.Random(seed)
    by_text = {text: chance.choice(list(SHARES)) for text in by_text}
    table = pa.table({"instruction": list(by_text), "split": list(by_text.values())})
    [highest], [of_test] = measure_cosines_table(table, encode=encode).values()
    own = [text for text, name in by_text.items() if name == "test"]
    rest = [text for text, name in by_text.items() if name != "test"]
    best = [max(float(vectors[text] @ vectors[other]) for other in rest) for text in own if rest]
    expected = {edge: np.mean([one > float(edge) for one in best]) if best else None for edge in ("0.85", "0.9")}
    assert of_test == expected
    pairs = [vectors[a] @ vectors[b] for a, b in combinations(by_text, 2) if by_text[a] != by_text[b]]
    assert highest == max([float(one) for one in pairs], default=0.0)


def test_paraphrases_stay_together_and_their_cosines_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phase, "make_encoder", lambda *_: encode)
    trace = Trace()
    splits = split(from_rows(make_rows(distinct(60)), FEATURES), cache_dir=tmp_path, trace=trace)
    assert trace.facts["groups"] == len({str(encode([text])) for text in distinct(60)}) == 16
    assert trace.facts["in_meaning"] == {"cosine": 0.5, "of_test": {"0.85": 0.0, "0.9": 0.0}}
    assert len(splits) == 3


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
def test_the_order_of_rows_changes_nothing(count: int, shuffler: random.Random) -> None:
    rows = make_rows(distinct(count))
    expected = {row["instance_id"]: name for row, name in zip(rows, assign(rows), strict=True)}
    shuffler.shuffle(rows)
    assert {row["instance_id"]: name for row, name in zip(rows, assign(rows), strict=True)} == expected


def test_shares_hold_over_all_and_within_strata() -> None:
    rows = make_rows(distinct(1000))
    strata = {row["instruction_id"]: (row["is_classification"], row["cluster"]) for row in rows}
    split_of = {row["instruction_id"]: name for row, name in zip(rows, assign(rows), strict=True)}
    assert Counter(split_of.values()) == {"train": 800, "validation": 100, "test": 100}
    held = Counter(strata[key] for key, name in split_of.items() if name == "test")
    for stratum, size in Counter(strata.values()).items():
        assert abs(held[stratum] - 0.1 * size) <= 2


@pytest.mark.parametrize("count", range(1, 12))
def test_no_split_is_empty(tmp_path: Path, count: int, caplog: pytest.LogCaptureFixture) -> None:
    splits = split(from_rows(make_rows(distinct(count)), FEATURES), settings=IN_WORDS, cache_dir=tmp_path)
    assert list(splits) == ["train", "validation", "test"][:count]
    assert all(len(part) for part in splits.values())
    assert ("no instruction is left" in caplog.text) == (count < 3)


def test_splits_without_a_share_are_left_out(tmp_path: Path) -> None:
    data, shares = from_rows(make_rows(distinct(20)), FEATURES), replace(IN_WORDS, validation=0.0, test=0.5)
    assert list(split(data, settings=shares, cache_dir=tmp_path)) == ["train", "test"]


def test_another_seed_gives_other_splits() -> None:
    rows = make_rows(distinct(200))
    assert assign(rows, seed=1) == assign(rows, seed=1) != assign(rows, seed=2)
