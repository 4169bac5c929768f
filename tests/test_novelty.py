"""Novelty decides what is kept: it must agree with rouge_score to the last bit, ties included, with either engine."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from auto_instruct_hf import filter_novel
from auto_instruct_hf.core.transform import Trace, from_rows
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.novelty import index
from auto_instruct_hf.novelty.compiled import engine as compiled
from auto_instruct_hf.novelty.index import NoveltyIndex
from auto_instruct_hf.novelty.joins import highest_similarity, near_copies, near_groups
from auto_instruct_hf.novelty.tokens import choose_tokenizer, tokenize_unicode

Verdict = tuple[bool, float, int]

SCORER = RougeScorer(["rougeL"], use_stemmer=False)
ENGINES = pytest.mark.parametrize("engine", ["pairwise", "compiled"])
# Few words, so that common subsequences are long and ties with the threshold are frequent.
WORDS = ["a", "B", "cat", "dog1", "é", "中文", "runs!", "--", "😀", "İ", "\u212a", "\ud800", "\x00", "x\ny"]
TEXT = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
# Longer than a machine word, with many repeats.
LONG = st.lists(st.sampled_from(WORDS), min_size=60, max_size=150).map(" ".join)
TEXTS = st.lists(st.one_of(TEXT, TEXT, TEXT, LONG, st.text(max_size=30)), max_size=14)
THRESHOLD = st.sampled_from([0.1, 0.3, 0.5, 0.6, 2 / 3, 0.7, 0.8, 1.0])


@contextmanager
def using(engine: str) -> Iterator[None]:
    """Use one engine for everything; the compiled one in blocks so small that it has segments to search and merge."""
    with pytest.MonkeyPatch.context() as patch:
        if engine == "compiled":
            patch.setattr(index, "MAX_PAIRWISE", -1)
            patch.setattr(compiled, "_MIN_BLOCK", 3)
            patch.setattr(compiled, "_CHUNK_TEXTS", 7)
        yield


def f1(reference: str, candidate: str) -> float:
    return float(SCORER.score(reference, candidate)["rougeL"].fmeasure)


def judge(texts: list[str], threshold: float) -> list[Verdict]:
    """Say by rouge_score whether each text is novel, its highest similarity, and the first in the pool that has it."""
    pool: list[str] = []
    verdicts = []
    for text in texts:
        scores = [f1(earlier, text) for earlier in pool]
        highest = max(scores, default=0.0)
        verdicts.append((not highest > threshold, highest, scores.index(highest) if highest > 0 else -1))
        if not highest > threshold:
            pool.append(text)
    return verdicts


def rows_of(verdicts: index.Verdicts) -> list[Verdict]:
    columns = (verdicts.is_novel.tolist(), verdicts.similarity.tolist(), verdicts.nearest.tolist())
    return list(zip(*columns, strict=True))


@ENGINES
@settings(max_examples=100)
@given(texts=TEXTS, threshold=THRESHOLD)
def test_decisions_and_nearest_are_those_of_rouge_score(engine: str, texts: list[str], threshold: float) -> None:
    with using(engine):
        assert rows_of(NoveltyIndex(threshold).add_novel(texts)) == judge(texts, threshold)


@ENGINES
@settings(max_examples=100)
@given(texts=TEXTS, threshold=THRESHOLD, cut=st.integers(0, 14))
def test_without_nearest_decisions_are_the_same_and_rejected_texts_have_their_nearest(
    engine: str, texts: list[str], threshold: float, cut: int
) -> None:
    with using(engine):
        pool = NoveltyIndex(threshold, nearest=False)
        found = rows_of(pool.add_novel(texts[:cut])) + rows_of(pool.add_novel(texts[cut:]))
    for (is_novel, *rest), expected in zip(found, judge(texts, threshold), strict=True):
        assert is_novel == expected[0]
        if is_novel:
            assert np.isnan(rest[0])
            assert rest[1] == -1
        else:
            assert (is_novel, *rest) == expected


@ENGINES
@settings(max_examples=100)
@given(texts=TEXTS, threshold=THRESHOLD)
def test_groups_are_chains_of_pairs_above_the_threshold(engine: str, texts: list[str], threshold: float) -> None:
    scores = {(i, j): f1(texts[i], texts[j]) for j in range(len(texts)) for i in range(j)}
    expected = [pair for pair, score in scores.items() if score > threshold]
    group = list(range(len(texts)))
    for i, j in expected:
        group = [group[i] if number == group[j] else number for number in group]
    with using(engine):
        found = near_groups(texts, threshold).tolist()
    order = list(dict.fromkeys(group))
    assert found == [order.index(number) for number in group]


@ENGINES
@settings(max_examples=60)
@given(texts=TEXTS, references=TEXTS, threshold=THRESHOLD)
def test_copies_of_references(engine: str, texts: list[str], references: list[str], threshold: float) -> None:
    with using(engine):
        found = rows_of(near_copies(texts, references, threshold))
    for text, (is_novel, similarity, nearest) in zip(texts, found, strict=True):
        scores = [f1(reference, text) for reference in references]
        assert is_novel == (not max(scores, default=0.0) > threshold)
        assert is_novel or (similarity, nearest) == (max(scores), scores.index(max(scores)))


@ENGINES
@settings(max_examples=60)
@given(texts=TEXTS, references=TEXTS)
def test_the_highest_similarity_of_two_sets(engine: str, texts: list[str], references: list[str]) -> None:
    with using(engine):
        found = highest_similarity(texts, references)
    assert found == max((f1(reference, text) for reference in references for text in texts), default=0.0)


@ENGINES
def test_ties_at_the_default_threshold(engine: str) -> None:
    # 2 * LCS / (m + n) is 0.7 exactly for all of these; floating point puts some above it.
    for size_a, size_b, shared in [(10, 10, 7), (13, 7, 7), (8, 12, 7), (20, 20, 14), (25, 15, 14), (33, 27, 21)]:
        reference = [f"s{i}" for i in range(shared)] + [f"r{i}" for i in range(size_a - shared)]
        candidate = [f"s{i}" for i in range(shared)] + [f"c{i}" for i in range(size_b - shared)]
        texts = [" ".join(reference), " ".join(candidate)]
        with using(engine):
            verdicts = NoveltyIndex(0.7, nearest=False).add_novel(texts)
        assert verdicts.is_novel[1] == (not f1(*texts) > 0.7)


@ENGINES
def test_many_texts_cross_block_borders(engine: str) -> None:
    texts = [f"number {i} stands {i * 7919 % 1009} beside {i * 104729 % 997} and no other" for i in range(1300)]
    with using(engine):
        pool = NoveltyIndex(0.95)
        assert pool.add_novel(texts).is_novel.all()
        again = pool.add_novel(texts)
        assert not again.is_novel.any()
        assert again.nearest.tolist() == list(range(1300))


@ENGINES
def test_groups_across_block_borders(engine: str) -> None:
    texts = [f"alpha{n} beta{n} gamma{n} delta{n}" for n in range(1100)]
    texts[700], texts[1050], texts[1099] = texts[3], texts[600], texts[1098]
    with using(engine):
        groups = near_groups(texts, 0.7)
    assert groups[[700, 1050, 1099]].tolist() == groups[[3, 600, 1098]].tolist()
    assert len(set(groups.tolist())) == 1100 - 3


def test_a_pool_that_outgrows_one_engine_goes_on_with_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choices([*"abcdefghij", *"klmnop" * 5], k=draw.randint(0, 12))) for _ in range(1500)]
    alone = rows_of(NoveltyIndex(0.7).add_novel(texts))
    monkeypatch.setattr(index, "MAX_PAIRWISE", 400)
    pool = NoveltyIndex(0.7)
    found = [row for start in range(0, 1500, 100) for row in rows_of(pool.add_novel(texts[start : start + 100]))]
    assert found == alone
    assert len(pool) == sum(is_novel for is_novel, *_ in found)


def test_large_sets_are_judged_alike_by_both_engines() -> None:
    draw = random.Random(1)
    words = [f"w{int(draw.paretovariate(0.7)) % 3000}" for _ in range(20_000)]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 30))) for _ in range(2000)]
    for _ in range(1500):
        tokens = draw.choice(texts).split()
        tokens[draw.randrange(len(tokens))] = draw.choice(words)
        texts.append(" ".join(tokens))
    alone = rows_of(NoveltyIndex(0.7).add_novel(texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "MAX_PAIRWISE", -1)  # blocks as they are in use
        assert rows_of(NoveltyIndex(0.7).add_novel(texts)) == alone
    assert 0.1 < np.mean([is_novel for is_novel, *_ in alone]) < 0.9


@ENGINES
def test_the_order_of_the_pool_survives_a_restart(engine: str) -> None:
    texts = [f"alpha{n} beta{n % 50} gamma{n % 7} delta" for n in range(300)]
    with using(engine):
        pool = NoveltyIndex(0.6)
        verdicts = pool.add_novel(texts)
        again = NoveltyIndex(0.6)
        again.add([text for text, is_novel in zip(texts, verdicts.is_novel, strict=True) if is_novel])
        assert rows_of(again.compare(texts)) == rows_of(pool.compare(texts))


def test_small_pools_do_not_wait_for_a_compiler() -> None:
    program = """
import sys
from auto_instruct_hf.novelty import NoveltyIndex, near_groups
NoveltyIndex().add_novel([f"text number {n}" for n in range(2000)])
near_groups(["a b c", "a b c"], 0.7)
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("threshold", "tokenizer", "named"),
    [(0, "rouge", "max_similarity"), (1.1, "rouge", "max_similarity"), (float("nan"), "rouge", "max_similarity"),
     (0.7, "words", "rouge, unicode")],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(threshold: float, tokenizer: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        NoveltyIndex(threshold, tokenizer)


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
    assert tokenize_unicode(text) == tokens


@ENGINES
def test_other_scripts_are_compared_by_the_unicode_tokenizer(engine: str) -> None:
    texts = ["列出三个好处", "列出三个坏处", "Переведи на Python", "переведи на python!", "😀"]
    with using(engine):
        assert NoveltyIndex(0.7, "unicode").add_novel(texts).is_novel.tolist() == [True, False, True, False, True]
        assert NoveltyIndex(0.7, "rouge").add_novel(texts).is_novel.tolist() == [True, True, True, False, True]


def test_choice_of_tokenizer() -> None:
    assert choose_tokenizer(["Translate the word 水 into English", "Nenne drei Äpfel"]) == "rouge"
    assert choose_tokenizer(["Напиши функцию на Python", "列出3个"]) == "unicode"
    assert choose_tokenizer([]) == "rouge"


@ENGINES
def test_long_texts(engine: str) -> None:
    long = " ".join(f"w{i % 5000}" for i in range(10_000))
    texts = [long, long + " more", "w1 w2 w3 w4", " ".join(reversed(long.split())), long[:30_000], "w1 " * 70_000]
    with using(engine):
        assert NoveltyIndex(0.7).add_novel(texts).is_novel.tolist() == [True, False, True, True, True, True]
        assert NoveltyIndex(0.6).add_novel([*texts[:5], "w1 " * 80_000, "w1 " * 70_000]).nearest.tolist()[-1] == 3


def test_rows_that_copy_an_earlier_one_go_to_the_trace(tmp_path: Path) -> None:
    text = [
        "Name three primary colours",
        "Write a haiku",
        "Name three primary colours now",
        "name THREE primary colours",
    ]
    data = Dataset.from_dict({"prompt": text, "similarity": ["x"] * 4, "n": [1, 2, 3, 4]})
    for _ in range(2):  # the second time from the cache
        trace = Trace()
        kept = filter_novel(data, column="prompt", cache_dir=tmp_path, trace=trace)
        assert kept.to_dict() == data.select([0, 1]).to_dict()
        assert trace.rejected is not None
        assert trace.rejected["n"][:] == [3, 4]
        assert trace.rejected["similarity"][:] == [f1(text[0], text[2]), 1.0]
        assert trace.rejected["nearest_row"][:] == [0, 0]
        assert trace.rejected["most_similar"][:] == [text[0]] * 2
        assert set(trace.rejected["rejected"]) == {"ROUGE-L above 0.7 with an earlier row"}
    assert len(filter_novel(data, column="prompt", threshold=1.0, cache_dir=tmp_path)) == 4
    assert len(list(tmp_path.glob("*.arrow"))) == 2


def test_nothing_to_drop_and_nothing_at_all(tmp_path: Path) -> None:
    for texts in (["one two", "three four"], []):
        data = from_rows([{"instruction": text} for text in texts], Features({"instruction": Value("string")}))
        trace = Trace()
        assert filter_novel(data, cache_dir=tmp_path, trace=trace)["instruction"][:] == texts
        assert trace.rejected is not None
        assert len(trace.rejected) == 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaError, match="'instruction'"):
        filter_novel(Dataset.from_dict({"prompt": ["a"]}))


def test_real_instructions_were_all_admitted_by_rouge_score() -> None:
    path = Path(__file__).parents[2] / "shared" / "data" / "gpt4o_instructions_1k.jsonl"
    if not path.is_file():
        pytest.skip("the recorded instructions are not on this machine")
    texts = [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert NoveltyIndex(0.7).add_novel(texts).is_novel.all()
