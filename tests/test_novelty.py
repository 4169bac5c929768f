"""Novelty decides what is kept: it must agree with rouge_score to the last bit, ties included."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from auto_instruct_hf.novelty import NoveltyIndex, choose_tokeniser, near_pairs, tokenise_unicode

SCORER = RougeScorer(["rougeL"], use_stemmer=False)
# Few words, so that common subsequences are long and ties with the threshold are frequent.
TEXT = st.lists(st.sampled_from(["a", "B", "cat", "dog1", "é", "中文", "runs!", "--", "😀"]), max_size=12).map(" ".join)


def f1(reference: str, candidate: str) -> float:
    return SCORER.score(reference, candidate)["rougeL"].fmeasure


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, max_size=12), st.sampled_from([0.3, 0.5, 0.6, 2 / 3, 0.7, 0.8, 1.0]))
def test_decisions_are_those_of_rouge_score(texts: list[str], threshold: float) -> None:
    verdicts = NoveltyIndex(threshold).add_novel(texts)
    pool: list[str] = []
    for text, verdict in zip(texts, verdicts, strict=True):
        highest = max((f1(earlier, text) for earlier in pool), default=0.0)
        assert verdict.similarity == highest
        assert verdict.is_novel == (not highest > threshold)
        if verdict.nearest >= 0:
            assert f1(pool[verdict.nearest], text) == highest
        if verdict.is_novel:
            pool.append(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXT, max_size=10))
def test_near_pairs_are_all_pairs_above_the_threshold(texts: list[str]) -> None:
    expected = [
        (first, second)
        for second in range(len(texts))
        for first in range(second)
        if f1(texts[first], texts[second]) > 0.6
    ]
    assert sorted(near_pairs(texts, 0.6)) == sorted(expected)


def test_ties_at_the_default_threshold() -> None:
    # 2 * LCS / (m + n) is 0.7 exactly for all of these; floating point puts some above it.
    for size_a, size_b, shared in [(10, 10, 7), (13, 7, 7), (8, 12, 7), (20, 20, 14), (25, 15, 14), (33, 27, 21)]:
        reference = [f"s{i}" for i in range(shared)] + [f"r{i}" for i in range(size_a - shared)]
        candidate = [f"s{i}" for i in range(shared)] + [f"c{i}" for i in range(size_b - shared)]
        verdict = NoveltyIndex(0.7).add_novel([" ".join(reference), " ".join(candidate)])[1]
        assert verdict.is_novel == (not f1(" ".join(reference), " ".join(candidate)) > 0.7)


def test_many_texts_cross_block_borders() -> None:
    texts = [f"number {i} stands {i * 7919 % 1009} beside {i * 104729 % 997} and no other" for i in range(1300)]
    index = NoveltyIndex(0.95)
    first = index.add_novel(texts)
    assert all(verdict.is_novel for verdict in first)
    again = index.add_novel(texts)
    assert not any(verdict.is_novel for verdict in again)
    assert [verdict.nearest for verdict in again] == list(range(1300))


def test_near_pairs_across_block_borders() -> None:
    texts = [f"alpha{n} beta{n} gamma{n} delta{n}" for n in range(1100)]
    texts[700], texts[1050], texts[1099] = texts[3], texts[600], texts[1098]
    assert sorted(near_pairs(texts, 0.7)) == [(3, 700), (600, 1050), (1098, 1099)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Use 3 Äpfel!", ["use", "3", "äpfel"]),
        ("列出3个", ["列", "出", "3", "个"]),
        ("Переведи на Python", ["переведи", "на", "python"]),
        ("ترجم النص", ["ترجم", "النص"]),
        ("snake_case", ["snake", "case"]),
        ("😀", []),
    ],
)
def test_unicode_tokens(text: str, tokens: list[str]) -> None:
    assert tokenise_unicode(text) == tokens


def test_choice_of_tokeniser() -> None:
    assert choose_tokeniser(["Translate the word 水 into English", "Nenne drei Äpfel"]) == "rouge"
    assert choose_tokeniser(["Напиши функцию на Python", "列出3个"]) == "unicode"
    assert choose_tokeniser([]) == "rouge"


def test_long_texts() -> None:
    long = " ".join(f"w{i % 5000}" for i in range(10_000))
    verdicts = NoveltyIndex(0.7).add_novel([long, long + " more", "w1 w2 w3 w4"])
    assert [verdict.is_novel for verdict in verdicts] == [True, False, True]


def test_real_instructions_were_all_admitted_by_rouge_score() -> None:
    path = Path(__file__).parents[2] / "shared" / "data" / "gpt4o_instructions_1k.jsonl"
    if not path.is_file():
        pytest.skip("the recorded instructions are not on this machine")
    texts = [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(verdict.is_novel for verdict in NoveltyIndex(0.7).add_novel(texts)) == len(texts)
