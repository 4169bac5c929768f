"""Bootstrapping: its filters, its share of classification, its rounds and when it stops."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stub_teacher
from datasets import Dataset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stub_instances import patch_embedding
from stub_teacher import StubTeacher

from auto_instruct_hf import Teacher, bootstrap, read_seeds
from auto_instruct_hf.core import (
    INSTRUCTIONS,
    SEEDS,
    Trace,
    count_words,
    from_rows,
    instruction_id,
    normalise,
    text_or_nothing,
)
from auto_instruct_hf.embedding import phase
from auto_instruct_hf.errors import BuildError, SchemaError
from auto_instruct_hf.generation.bootstrap import draw_batch, find_candidate_fault
from auto_instruct_hf.generation.instruction_pool import InstructionPool
from auto_instruct_hf.generation.rounds import Rounds
from auto_instruct_hf.novelty import near_copies, near_groups
from auto_instruct_hf.prompts import load_prompts
from auto_instruct_hf.recipe import PUBLISHED_BANNED, BootstrapSettings, EmbeddingSettings
from auto_instruct_hf.teacher import Reply

SMALL = BootstrapSettings(requests_per_round=4, patience=16)


@pytest.fixture(autouse=True)
def quick_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_embedding(monkeypatch)


def grow(seeds: Dataset, teacher: Teacher, folder: Path, **options: Any) -> Dataset:
    return bootstrap(seeds, teacher, **{"settings": SMALL, "cache_dir": folder / "cache", **options})


def seed_rows(count: int, **values: Any) -> list[dict[str, Any]]:
    row = {"input": "", "output": "x", "is_classification": False, "domain": ""}
    return [{**row, "instruction": f"Explain matter {n} to me", **values} for n in range(count)]


def make_pool(seeds: list[dict[str, Any]], share: float = 0.0, same: bool = False, **options: Any) -> InstructionPool:
    settings = BootstrapSettings(**options)
    return InstructionPool(seeds, 10**6, share, 1, settings, per_request=10, same_examples=same)


def test_the_target_is_met_exactly_with_novel_instructions(teacher: Teacher, tmp_path: Path) -> None:
    trace = Trace()
    grown = grow(read_seeds(), teacher, tmp_path, num_instructions=60, trace=trace)
    assert grown.features == INSTRUCTIONS
    assert len(grown) == 60
    everything = [*read_seeds()["instruction"], *grown["instruction"]]
    assert near_groups(everything, 0.7).tolist() == list(range(len(everything)))
    assert grown["instruction_id"][:] == [instruction_id(text) for text in grown["instruction"]]
    assert 0 < max(grown["similarity"]) <= 0.7
    texts = {instruction_id(text): text for text in everything}
    for row in grown:
        if row["similarity"]:
            nearest = near_copies([row["instruction"]], [texts[row["most_similar"]]], 1e-6)
            assert nearest.similarity.astype("float32") == [row["similarity"]]
        else:
            assert row["most_similar"] == ""
    assert grown["round"][:] == sorted(grown["round"])
    assert trace.rejected is not None
    rounds = trace.facts["rounds"]
    assert sum(item["admitted"] for item in rounds) == 60
    assert sum(item["candidates"] for item in rounds) == 60 + len(trace.rejected)


def test_without_nearest_the_same_is_kept_and_its_similarity_is_unknown(teacher: Teacher, tmp_path: Path) -> None:
    found, traces = [], [Trace(), Trace()]
    for nearest, trace in zip((True, False), traces, strict=True):
        options = {"settings": replace(SMALL, max_similarity=0.3, nearest=nearest), "trace": trace}
        found.append(grow(read_seeds(), teacher, tmp_path / str(nearest), num_instructions=60, **options))
    unknown = ["similarity", "most_similar"]
    assert found[0].remove_columns(unknown).to_list() == found[1].remove_columns(unknown).to_list()
    assert (set(found[1]["similarity"]), set(found[1]["most_similar"])) == ({None}, {""})
    dropped = [[row for row in trace.rejected or () if row["rejected"].startswith("ROUGE-L")] for trace in traces]
    assert dropped[0] == dropped[1] != []


def test_a_rerun_repeats_every_round_without_a_request(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    first = grow(read_seeds(), teacher, tmp_path, num_instructions=40)
    asked = len(stub.answered)
    again = grow(read_seeds(), teacher, tmp_path, num_instructions=40)
    assert again.to_list() == first.to_list()
    assert again._fingerprint == first._fingerprint
    grow(read_seeds(), teacher, tmp_path / "elsewhere", num_instructions=40)  # from the journal only
    assert len(stub.answered) == asked
    other = grow(read_seeds(), teacher, tmp_path, num_instructions=10, seed=43)
    assert set(first["instruction"]).isdisjoint(other["instruction"])


def test_examples_are_six_seeds_and_two_of_the_machine(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    grown = grow(read_seeds(), teacher, tmp_path, num_instructions=60)
    seeds = set(read_seeds()["instruction"])
    first, last = stub.answered[0], stub.answered[-1]
    assert sum(seed in first["messages"][1]["content"] for seed in seeds) == 6
    assert sum(seed in last["messages"][1]["content"] for seed in seeds) == 6
    assert sum(text in last["messages"][1]["content"] for text in grown["instruction"]) == 2


def test_requests_after_the_first_round_show_two_machine_examples(
    teacher: Teacher, stub: StubTeacher, tmp_path: Path
) -> None:
    trace = Trace()
    grow(read_seeds(), teacher, tmp_path, num_instructions=120, trace=trace, settings=BootstrapSettings())
    assert [one["requests"] for one in trace.facts["rounds"]][:2] == [4, 4]
    seeds = set(read_seeds()["instruction"])
    prompts = [body["messages"][1]["content"] for body in stub.answered]
    of_machine = [text.count("\n- ") - sum(f"- {seed}" in text for seed in seeds) for text in prompts]
    assert set(of_machine[:4]) == {0}
    assert set(of_machine[4:]) == {2}


def play(rounds: Rounds, per_request: int, acceptance: float, seed: int) -> Iterator[tuple[int, int]]:
    """Answer the requests of all rounds; yield after each how many of the kept are for classification, and of all."""
    chance = random.Random(seed)
    kept = {False: 0, True: 0}
    while not rounds.is_done():
        planned = rounds.plan()
        for kind in planned:
            for _ in range(per_request):
                if chance.random() < acceptance:
                    kept[kind] += rounds.admit(kind)
        rounds.close(len(planned) * per_request)
        yield kept[True], sum(kept.values())


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([1, 3, 10]), st.floats(0.1, 1), st.integers(0, 99))
@example(4, 0.25, 1, 0.28125, 0)
def test_the_share_of_classification_is_as_asked(
    target: int, share: float, per_request: int, acceptance: float, seed: int
) -> None:
    rounds = Rounds(target, share, per_request, BootstrapSettings(patience=10**6))
    *_, (num_clf, total) = play(rounds, per_request, acceptance, seed)
    assert total == target
    assert abs(num_clf - share * target) <= 0.5 + 1e-9


def test_the_share_of_classification_is_right_after_each_round() -> None:
    rounds = Rounds(10_000, 0.2, 10, BootstrapSettings())
    for num_clf, total in play(rounds, 10, 1.0, 0):
        assert abs(num_clf - 0.2 * total) <= 10  # one request


@pytest.mark.parametrize(("target", "in_vain"), [(120, 0.2), (10_000, 0.05)])
@pytest.mark.parametrize("acceptance", [0.3, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_few_instructions_are_asked_for_in_vain(target: int, in_vain: float, acceptance: float, share: float) -> None:
    for seed in range(20 if target == 120 else 1):
        rounds = Rounds(target, share, 10, BootstrapSettings())
        for _ in play(rounds, 10, acceptance, seed):
            pass
        asked = sum(one["candidates"] for one in rounds.facts)
        assert acceptance * asked - target <= in_vain * asked


@settings(max_examples=30)
@given(st.integers(1, 500), st.integers(1, 20))
def test_rounds_double_between_their_limits(most: int, rounds: int) -> None:
    pool = make_pool(seed_rows(9), 0.1, requests_per_round=most)
    sizes: list[int] = []
    for _ in range(rounds):
        sizes.append(len(pool.plan()))
        pool.judge([])
    for number, size in enumerate(sizes):
        assert size == min(most, max(4, sum(sizes[:number])))


def test_each_request_names_a_domain_and_all_before_one_repeats() -> None:
    seeds = [*seed_rows(3, domain="law"), *seed_rows(2, domain="music"), *seed_rows(1)]

    def name(**options: Any) -> list[str]:
        pool = make_pool(seeds, 0.5, requests_per_round=8, **options)
        pool.plan()
        pool.judge([])
        return [request["domain"] for request in pool.plan()]

    assert name() == name()
    assert sorted(name()) == ["law", "law", "music", "music"]
    assert set(name(domains=("sailing", "bees", "tax", "chess"))) <= {"sailing", "bees", "tax", "chess"}
    assert set(name(domains=())) == {""}
    assert {request["domain"] for request in make_pool(seed_rows(3)).plan()} == {""}


def test_a_domain_is_asked_for_and_goes_on_with_its_instructions(
    teacher: Teacher, stub: StubTeacher, tmp_path: Path
) -> None:
    chosen = BootstrapSettings(domains=("beekeeping",))
    grow(read_seeds(), teacher, tmp_path, num_instructions=12, settings=chosen)
    assert all("work: beekeeping" in body["messages"][1]["content"] for body in stub.answered)
    stub.answered.clear()
    grow(read_seeds(), teacher, tmp_path, num_instructions=12, settings=BootstrapSettings(domains=()))
    assert not any("field of life or work:" in body["messages"][1]["content"] for body in stub.answered)


MEANINGS = {"Name a colour": [1, 0], "Tell me a hue": [0.96, 0.28], "Count to ten": [0, 1], "Say 1 to 10": [0.6, 0.8]}


def judge_meanings(max_cosine: float | None) -> InstructionPool:
    """Judge all but the first of MEANINGS against that one."""
    first, *texts = MEANINGS
    options = BootstrapSettings(max_cosine=max_cosine, min_words=1)
    encode = (lambda words: np.array([MEANINGS[text] for text in words], dtype=np.float32)) if max_cosine else None
    pool = InstructionPool(seed_rows(1, instruction=first), 9, 0.0, 1, options, per_request=10, encode=encode)
    pool.plan()
    pool.judge([{"instruction": text, "classification": False, "domain": "", "rejected": ""} for text in texts])
    return pool


def test_a_candidate_near_in_meaning_is_dropped_with_its_nearest() -> None:
    first, near, other, between = MEANINGS
    found = judge_meanings(0.9)
    assert [one["instruction"] for one in found.admitted] == [other, between]
    rows = {row["instruction"]: row for row in found.judged}
    assert rows[near]["rejected"] == "cosine above 0.9 with an earlier instruction"
    assert rows[near]["cosine"] == pytest.approx(0.96)
    assert rows[near]["nearest"] == instruction_id(first)
    assert rows[between]["cosine"] == pytest.approx(0.8)
    assert rows[between]["nearest"] == instruction_id(other)
    assert [one["instruction"] for one in judge_meanings(0.7).admitted] == [other]
    assert len(judge_meanings(None).admitted) == 3


def test_meanings_are_compared_before_more_is_asked(
    teacher: Teacher, stub: StubTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []

    def encode(words: list[str]) -> Any:
        embedded.extend(words)
        return np.tile(np.float32([1, 0]), (len(words), 1))

    monkeypatch.setattr(phase, "make_encoder", lambda *_: encode)
    trace = Trace()
    with pytest.raises(BuildError, match="wrote no usable instruction: 0 of 10"):
        grow(read_seeds(), teacher, tmp_path, num_instructions=10, trace=trace)
    assert trace.rejected is not None
    assert "cosine above 0.9 with an earlier instruction" in set(trace.rejected["rejected"])
    assert set(read_seeds()["instruction"]) < set(embedded)
    assert len(set(embedded)) == len(embedded)  # kept for the clusters


def test_classification_requests_show_classification_seeds() -> None:
    labelled = [seed_rows(1, is_classification=True, instruction=f"Is it {number} or not?")[0] for number in range(8)]
    for request in make_pool(seed_rows(20) + labelled, 0.5).plan():
        if request["classification"]:
            assert all(example["instruction"].startswith("Is it") for example in request["examples"])


def test_same_examples_are_the_same_in_a_whole_round() -> None:
    plans = (make_pool(seed_rows(30), same=same).plan() for same in (True, False))
    same, different = (len({str(request["examples"]) for request in plan}) for plan in plans)
    assert (same, different) == (1, 4)


def test_it_stops_when_nothing_new_comes(
    teacher: Teacher, stub: StubTeacher, tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    always = {"instructions": ["Tell me all about the old harbour", "Name a bird that cannot fly at all", "too short"]}
    monkeypatch.setattr(stub_teacher, "reply_to", lambda body, digest: always)
    trace = Trace()
    grown = grow(read_seeds(), teacher, tmp_path, num_instructions=50, trace=trace)
    assert grown["instruction"][:] == always["instructions"][:2]
    assert "2 of 50 instructions" in trace.facts["stopped"]
    assert "stopped at 2 of 50" in caplog.text
    assert len(stub.answered) < 40
    assert trace.rejected is not None
    assert set(trace.rejected["rejected"]) == {"fewer than 4 words", "repeats an earlier instruction"}


def test_no_usable_instruction_is_an_error(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_teacher, "reply_to", lambda body, digest: {"instructions": []})
    with pytest.raises(BuildError, match="wrote no usable instruction: 0 of 5"):
        grow(read_seeds(), teacher, tmp_path, num_instructions=5)


def test_failed_requests_are_counted_not_raised(tmp_path: Path, teacher: Teacher, stub: StubTeacher) -> None:
    stub.faults = {"cut": 0.9}
    trace = Trace()
    grow(read_seeds(), teacher, tmp_path, num_instructions=15, trace=trace)
    assert trace.rejected is not None
    assert "teacher: cut off" in set(trace.rejected["rejected"])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("One two three", "fewer than 4 words"),
        ("word " * 150, ""),
        ("word " * 151, "more than 150 words"),
        ("Describe the Image of the poem", "banned word: image"),
        ("Please go to the nearest shop", "banned word: go to"),
        ("Explain imagery and profiles in poems", ""),
        ("请把这句话翻译成英文", ""),
        ("", "fewer than 4 words"),
    ],
)
def test_filters(text: str, fault: str) -> None:
    assert find_candidate_fault(text.strip(), BootstrapSettings(banned=PUBLISHED_BANNED)) == fault
    assert not find_candidate_fault(text.strip(), BootstrapSettings()).startswith("banned")


def test_seeds_of_one_row_with_a_very_long_input(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    seeds = from_rows(seed_rows(1, input="😀" * 100_000), SEEDS)
    assert len(grow(seeds, teacher, tmp_path, num_instructions=5)) == 5
    assert max(len(str(body)) for body in stub.answered) < 5_000


def test_seeds_that_are_all_too_long_are_an_error(teacher: Teacher, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="all 2 seed instructions are longer than 150 words"):
        grow(from_rows(seed_rows(2, instruction="very " * 200), SEEDS), teacher, tmp_path)


def test_missing_column_is_named(teacher: Teacher, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="bootstrap needs the column 'domain'"):
        grow(read_seeds().remove_columns("domain"), teacher, tmp_path)
    with pytest.raises(SchemaError, match="'is_classification' as bool; it is string"):
        grow(from_rows(seed_rows(1), SEEDS).map(lambda row: {"is_classification": "no"}), teacher, tmp_path)


def test_candidates_are_cleaned_before_they_are_compared() -> None:
    replies = ["1. Name a fruit that floats.", "Instruction: Name a fruit that floats.", "Here are 2 new tasks:"]
    batch = {"draw": [0], "classification": [False], "domain": [""], "pick": [0], "examples": [[]]}
    found = draw_batch(
        batch,
        ask=lambda requests: [Reply({"instructions": replies})],
        prompt=load_prompts("default")["bootstrap"],
        settings=BootstrapSettings(),
    )
    assert found["instruction"] == ["Name a fruit that floats."] * 2 + replies[2:]
    assert found["rejected"] == ["", "", "announcement"]


@pytest.mark.parametrize(
    ("text", "words"), [("", 0), ("a b  c", 3), ("学习", 1), ("use 学习吧 now", 4), ("ひらがな", 2), ("แปลข้อความนี้", 7)]
)
def test_words_are_counted_in_every_script(text: str, words: int) -> None:
    assert count_words(text) == words


@settings(max_examples=50)
@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert instruction_id(f"  {text} ") == instruction_id(text)


@pytest.mark.parametrize("text", ["None", "none.", "N/A", "null", "", "  ", "(no input)", "<noinput>", "Not needed"])
def test_words_for_nothing_become_an_empty_text(text: str) -> None:
    assert text_or_nothing(text) == ""


@pytest.mark.parametrize("text", ["No", "none of them", "nonet", "0", "Null Island", "😀😀", "???", "+ - * /", "Na"])
def test_other_texts_are_stripped(text: str) -> None:
    assert text_or_nothing(f" {text} ") == text


def test_meanings_of_other_scripts_are_left_to_other_models(
    teacher: Teacher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seeds = from_rows(
        [seed_rows(1, instruction=text)[0] for text in ("이 편지를 번역해 주세요", "봄에 관한 시를 써요")], SEEDS
    )
    for model, is_compared in (("sentence-transformers/all-MiniLM-L6-v2", False), ("my/multilingual", True)):
        trace, embedding = Trace(), EmbeddingSettings(model=model)
        caplog.clear()
        grow(seeds, teacher, tmp_path, num_instructions=3, embedding=embedding, trace=trace)
        assert trace.facts["in_meaning"] == is_compared
        assert ("does not know the script" in caplog.text) != is_compared


def test_seeds_in_another_script_are_compared_by_its_words() -> None:
    # rouge_score would compare the digit 3 only.
    seeds = ["请把这封信翻译成英文", "说明水为什么会结冰", "写一首关于春天的诗", "计算这些数字的和"]
    pool = make_pool([seed_rows(1, instruction=text)[0] for text in seeds])
    pool.plan()
    texts = ["列出3个巴黎的景点并说明理由", "说出3种水果的营养价值", "列出3个巴黎的景点并说明理由。"]
    pool.judge([{"instruction": text, "classification": False, "domain": "", "rejected": ""} for text in texts])
    assert [example["instruction"] for example in pool.admitted] == texts[:2]
