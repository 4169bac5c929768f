"""Bootstrapping: its filters, its share of classification, its rounds and when it stops."""

from pathlib import Path
from typing import Any

import pytest
import stub_teacher
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
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
from auto_instruct_hf.errors import BuildError, SchemaError
from auto_instruct_hf.generation.bootstrap import draw_batch, find_candidate_fault
from auto_instruct_hf.generation.instruction_pool import InstructionPool
from auto_instruct_hf.novelty import near_copies, near_pairs
from auto_instruct_hf.prompts import load_prompts
from auto_instruct_hf.recipe import PUBLISHED_BANNED, BootstrapSettings
from auto_instruct_hf.teacher import Reply

SMALL = BootstrapSettings(requests_per_round=4, patience=16)


def grow(seeds: Dataset, teacher: Teacher, folder: Path, **options: Any) -> Dataset:
    return bootstrap(seeds, teacher, **{"settings": SMALL, "cache_dir": folder / "cache", **options})


def seed_rows(count: int, **values: Any) -> list[dict[str, Any]]:
    row = {"input": "", "output": "x", "is_classification": False, "domain": ""}
    return [{**row, "instruction": f"Explain matter {n} to me", **values} for n in range(count)]


def make_pool(seeds: list[dict[str, Any]], share: float = 0.0, same: bool = False, **options: Any) -> InstructionPool:
    return InstructionPool(seeds, 10**6, share, 1, BootstrapSettings(**options), same_examples=same)


def test_the_target_is_met_exactly_with_novel_instructions(teacher: Teacher, tmp_path: Path) -> None:
    trace = Trace()
    grown = grow(read_seeds(), teacher, tmp_path, num_instructions=60, trace=trace)
    assert grown.features == INSTRUCTIONS
    assert len(grown) == 60
    everything = [*read_seeds()["instruction"], *grown["instruction"]]
    assert near_pairs(everything, 0.7) == []
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


@given(st.floats(0, 1), st.integers(1, 40))
def test_share_of_requests_for_classification(share: float, rounds: int) -> None:
    pool = make_pool(seed_rows(9), share, requests_per_round=16)
    asked = []
    for _ in range(rounds):
        asked += [request["classification"] for request in pool.plan()]
        pool.judge([])
    assert abs(sum(asked) - share * len(asked)) <= 1


@settings(max_examples=30)
@given(st.integers(1, 500), st.integers(1, 20))
def test_rounds_double_between_their_limits(most: int, rounds: int) -> None:
    pool = make_pool(seed_rows(9), 0.1, requests_per_round=most)
    sizes: list[int] = []
    for _ in range(rounds):
        sizes.append(len(pool.plan()))
        pool.judge([])
    for number, size in enumerate(sizes):
        assert size == min(most, max(32, sum(sizes[:number])))


def test_classification_requests_show_classification_seeds() -> None:
    labelled = [seed_rows(1, is_classification=True, instruction=f"Is it {number} or not?")[0] for number in range(8)]
    for request in make_pool(seed_rows(20) + labelled, 0.5).plan():
        if request["classification"]:
            assert all(example["instruction"].startswith("Is it") for example in request["examples"])


def test_same_examples_are_the_same_in_a_whole_round() -> None:
    plans = (make_pool(seed_rows(30), same=same).plan() for same in (True, False))
    same, different = (len({str(request["examples"]) for request in plan}) for plan in plans)
    assert same == 1
    assert different > 20


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
    stub.faults = {"cut": 0.95}
    trace = Trace()
    grow(read_seeds(), teacher, tmp_path, num_instructions=5, trace=trace)
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


def test_seeds_in_another_script_are_compared_by_its_words() -> None:
    # rouge_score would compare the digit 3 only.
    seeds = ["请把这封信翻译成英文", "说明水为什么会结冰", "写一首关于春天的诗", "计算这些数字的和"]
    pool = make_pool([seed_rows(1, instruction=text)[0] for text in seeds])
    pool.plan()
    texts = ["列出3个巴黎的景点并说明理由", "说出3种水果的营养价值", "列出3个巴黎的景点并说明理由。"]
    pool.judge([{"instruction": text, "rejected": ""} for text in texts])
    assert pool.admitted == texts[:2]
