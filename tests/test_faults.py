"""Faults made by program: where each is made, that it is one, and the shares of them that a judge catches."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import stub_teacher
from hypothesis import strategies as st
from stub_instances import instance, open_teacher, run_command, table
from stub_teacher import KEY, StubTeacher, make_habitual_judge, serve_stub

from auto_instruct_hf.evaluation import NAMES
from auto_instruct_hf.evaluation.judging.assessment import assess
from auto_instruct_hf.evaluation.judging.checks import describe_fault, warn_of_missed
from auto_instruct_hf.evaluation.judging.faults import FAULTS, Pool, make_fault
from auto_instruct_hf.evaluation.judging.limits import count_answer_words, find_word_limit
from auto_instruct_hf.evaluation.judging.parts import shorten
from auto_instruct_hf.recipe import JudgeSettings

TRADES = ("mason", "glazier", "thatcher", "cooper", "farrier", "saddler", "tanner", "weaver", "bookbinder", "locksmith")
LABELS = ("calm", "cross", "tired")


def make_sound_rows() -> list[dict[str, Any]]:
    """Return rows in which every kind of fault can be made, ten instructions a kind of task."""
    rows: list[dict[str, Any]] = []
    for number, trade in enumerate(TRADES):
        first, second = 21 + number, 40 + 3 * number
        sentences = [f"{trade} came home.", f"he was {number} hours late.", f"his {trade} tools were wet."]
        tasks = [
            {"instruction": f"How is the {trade} in the note: calm, cross or tired?", "is_classification": True},
            {
                "instruction": f"A {trade} buys {first} nails and {second} more. How many nails are there?",
                "output": f"The {trade} has {first} + {second} = {first + second} nails.",
            },
            {
                "instruction": f"Name three tools of a {trade} for a child.",
                "output": f"1. {trade} hammer\n2. {trade} gloves\n3. {trade} apron",
                "attribute": f"Draw on the {trade} of a village.",
            },
            {
                "instruction": f"Explain the work of a {trade} in at most 20 words.",
                "output": f"A {trade} shapes what the house or horse needs, with the hands and a few old tools.",
                "attribute": f"Speak as a proud {trade} would.",
            },
            {
                "instruction": f"Correct the punctuation of this {trade} diary."
                if number % 2
                else f"Proofread a {trade} letter for its grammar.",
                "input": " ".join(text.rstrip(".") for text in sentences),
                "output": " ".join(text.capitalize() for text in sentences),
            },
        ]
        for place, task in enumerate(tasks):
            same = {"instruction_id": f"{trade} {place}", "is_classification": False, "attribute": "", "input": ""}
            for label in LABELS if place == 0 else ("",):
                given = {"output": label, "attribute": label, "input": f"The {trade} was {label}."} if label else {}
                rows.append({"instance_id": f"{trade} {place} {label}", **same, **task, **given})
    return rows


@pytest.fixture(scope="module")
def sound() -> list[dict[str, Any]]:
    return make_sound_rows()


def faults_of(rows: Sequence[dict[str, Any]], name: str, seed: int = 1) -> dict[str, Any]:
    """Return the changed rows by the id of the instance."""
    pool = Pool(rows)
    found = ((row["instance_id"], make_fault(name, row, pool, seed)) for row in rows)
    return {key: fault for key, fault in found if fault}


def test_caught_shares_are_those_of_the_habits_of_a_judge(
    sound: list[dict[str, Any]], stub: StubTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    habits = dict.fromkeys(FAULTS, 1.0) | {"changed figure": 0.0, "other strategy": 0.0, "garbled instruction": 0.5}
    monkeypatch.setattr(stub_teacher, "_judge", make_habitual_judge(sound, habits))
    settings = JudgeSettings(size=50, check_share=1.0)
    with open_teacher(stub, tmp_path) as teacher:
        found = assess(table(sound), teacher, settings=settings, cache_dir=tmp_path / "c").figures
    assert found.passed.share == 1.0
    for name, habit in habits.items():
        check = found.checks[name]
        assert check["asked"] == check["caught"]["asked"] >= 10
        assert check["caught"]["share"] == habit or check["caught"]["low"] < habit < check["caught"]["high"]
    warning = next(text for text in found.warnings if "made by program" in text)
    assert re.findall(r"(\w+ \w+) \(0 of \d+\)", warning) == ["changed figure", "other strategy"]


def test_only_rows_that_the_judge_approved_get_a_fault(
    sound: list[dict[str, Any]], stub: StubTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve = make_habitual_judge(sound, dict.fromkeys(FAULTS, 1.0))

    def judge(text: str) -> dict[str, Any]:
        return {**approve(text), "input_fits": "mason" not in text}

    monkeypatch.setattr(stub_teacher, "_judge", judge)
    with open_teacher(stub, tmp_path) as teacher:
        found = assess(table(sound), teacher, settings=JudgeSettings(check_share=1.0), cache_dir=tmp_path / "c").figures
    assert (found.passed.yes, found.passed.asked) == (45, 50)
    assert found.checks["garbled instruction"]["asked"] == 45
    assert found.checks["other output"]["asked"] == 50


def test_the_command_and_the_page_show_the_caught_shares(
    sound: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sound))
    with serve_stub() as stub:
        monkeypatch.setattr(stub_teacher, "_judge", make_habitual_judge(sound, dict.fromkeys(FAULTS, 1.0)))
        asked = ("--judge", "another", "--judge-base-url", stub.url, "--size", 50, "--out", tmp_path / "found")
        done = run_command("evaluate", tmp_path / "rows.jsonl", "--no-embeddings", *asked)
    assert done.exit_code == 0, done.output
    checks = json.loads((tmp_path / "found" / "evaluation.json").read_text())["judge"]["checks"]
    page = " ".join((tmp_path / "found" / "evaluation.html").read_text().split())
    for name, fault in FAULTS.items():
        caught = checks[name]["caught"]
        assert caught["yes"] == caught["asked"] > 0
        assert f"{name} {caught['asked']} of {caught['asked']} 100.0% (" in " ".join(done.stdout.split())
        assert f"{name.capitalize()}<small>{fault.meaning}" in page


def test_a_kind_is_named_in_the_warning_only_if_less_than_half_is_caught_for_sure() -> None:
    caught = {"few": (2, 0.1, 0.4), "unsure": (2, 0.2, 0.7), "all": (9, 0.8, 1.0)}
    checks = {
        name: {"caught": {"yes": yes, "asked": 9, "low": low, "high": high}}
        for name, (yes, low, high) in caught.items()
    }
    assert "program: few (2 of 9). Real" in warn_of_missed(checks)
    assert warn_of_missed({"all": checks["all"], "reversed": {}}) == ""


def test_only_a_no_to_a_question_of_the_fault_catches_it() -> None:
    answers = [dict.fromkeys(NAMES, True) | {name: False} for name in ("input_fits", "output_correct", "valid_task")]
    for name, yes in {"other input": 2, "garbled instruction": 1, "swapped label": 1, "other strategy": 0}.items():
        caught = describe_fault(FAULTS[name], answers)["caught"]
        assert (caught["yes"], caught["asked"]) == (yes, 3)


COLUMN = {"other input": "input", "other strategy": "attribute", "garbled instruction": "instruction"}
TEXT = st.lists(
    st.sampled_from(
        ["Name three tools.", "in at most 20 words", "It costs 45 euros.", "1. one\n2. two\n3. three\n", "= 36", "\n",
         "Translate all of it.", "yes", "no", "How many are 45 and 3?", "```x = 45```", "mason", "", "日本語です。"]
    ),
    max_size=9,
).map(" ".join)  # fmt: skip
ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=8)


@hypothesis.settings(max_examples=150)
@hypothesis.given(ROWS, st.integers(0, 2**32 - 1), st.sampled_from(sorted(FAULTS)))
def test_a_fault_changes_one_text_the_same_way_whatever_the_order_of_the_pool(
    parts: list[tuple[int, bool, str, str, str, str]], seed: int, name: str
) -> None:
    rows = [
        {**instance(number), "instruction_id": f"t{task}", "is_classification": kind, "instruction": instruction,
         "attribute": attribute, "input": given, "output": output}
        for number, (task, kind, instruction, attribute, given, output) in enumerate(parts)
    ]  # fmt: skip
    found = faults_of(rows, name, seed)
    assert faults_of(rows[::-1], name, seed) == found
    for row in rows:
        if fault := found.get(row["instance_id"]):
            changed = {column for column in row if fault[column] != row[column]}
            assert changed == {COLUMN.get(name, "instruction" if name == "broken limit" else "output")}
            others = [one for one in rows if one["instruction_id"] != row["instruction_id"]]
            if name in ("other output", "other input", "other strategy"):
                assert any(fault[column] == one[column] for one in others for column in changed)


def test_every_kind_is_made_and_only_in_rows_of_its_kind(sound: list[dict[str, Any]]) -> None:
    kinds = {row["instance_id"]: row["instance_id"].split()[1] for row in sound}
    made = {name: {kinds[key] for key in faults_of(sound, name)} for name in FAULTS}
    assert made == {
        "other output": set("01234"),
        "changed figure": {"1"},
        "dropped sentence": {"2", "4"},
        "broken limit": {"3"},
        "swapped label": {"0"},
        "other input": {"4"},
        "other strategy": {"2", "3"},
        "garbled instruction": set("01234"),
    }


def test_another_seed_makes_other_faults(sound: list[dict[str, Any]]) -> None:
    for name in FAULTS.keys() - {"broken limit"}:  # a maximum is only lowered
        assert faults_of(sound, name, 1) != faults_of(sound, name, 2), name


def test_a_swapped_label_is_another_of_the_same_task(sound: list[dict[str, Any]]) -> None:
    by_id = {row["instance_id"]: row for row in sound}
    for key, fault in faults_of(sound, "swapped label").items():
        assert fault["output"] in set(LABELS) - {by_id[key]["output"]}


def test_another_input_or_strategy_is_one_that_cannot_suit_by_chance(sound: list[dict[str, Any]]) -> None:
    rows = [{**row, "attribute": row["attribute"] or "Be brief."} for row in sound]  # a strategy that suits any task
    by_input, by_id = ({row[name]: row for row in rows} for name in ("input", "instance_id"))
    for key, fault in faults_of(rows, "other input").items():
        kinds = {"diary" in row["instruction"] for row in (by_input[fault["input"]], by_id[key])}
        assert kinds == {True, False}  # two tasks about a diary could have each other's input
    for key, fault in faults_of(rows, "other strategy").items():
        assert any(trade in fault["attribute"] and trade not in str(by_id[key]) for trade in TRADES)


def test_a_garbled_instruction_has_the_same_words_in_another_order(sound: list[dict[str, Any]]) -> None:
    by_id = {row["instance_id"]: row["instruction"] for row in sound}
    for key, fault in faults_of(sound, "garbled instruction").items():
        assert sorted(fault["instruction"].split()) == sorted(by_id[key].split())
    assert faults_of([instance(1, instruction="Name three good tools.")], "garbled instruction") == {}


def test_an_output_breaks_its_new_limit_by_far(sound: list[dict[str, Any]]) -> None:
    for fault in faults_of(sound, "broken limit").values():
        limit = find_word_limit(fault["instruction"])
        assert limit
        assert count_answer_words(fault["output"]) >= 1.5 * (limit.high or 0) > 0


@pytest.mark.parametrize(
    ("instruction", "bounds"),
    [
        ("Explain it in no more than 50 words.", (None, 50)),
        ("Explain it, keeping it under 70 words.", (None, 70)),
        ("Explain it in 80 words at most.", (None, 80)),
        ("Explain it in 70 words or fewer.", (None, 70)),
        ("Write at least 1,200 words.", (1200, None)),
        ("Write a note of 40 to 60 words.", (40, 60)),
        ("Show it by actions alone. Write 50 to 80 words.", (50, 80)),
        ("Shorten it to 20 words.", (20, 20)),
        ("Write a note of between 40 and 60 words.", (40, 60)),
        ("Write a 90-word note.", (90, 90)),
        ("Write a toast of about ninety words.", (90, 90)),
        ("Answer in simple words.", None),
        ("Give the opposite of these 5 words.", None),
        ("List five causes, each in at most twelve words.", None),
        ("Give a title of at most 8 words and a text of 60 words.", None),
    ],
)
def test_a_limit_of_words_is_read_if_it_is_one_for_the_whole_answer(
    instruction: str, bounds: tuple[int | None, int | None] | None
) -> None:
    found = find_word_limit(instruction)
    assert (found and (found.low, found.high)) == bounds


@pytest.mark.parametrize(
    ("instruction", "given", "output", "figures"),
    [
        ("Write to my landlord.", "The deposit is 950 euros.", "Please return my 950 euros in 14 days.", {"950"}),
        ("Write an advert and make up the pay.", "", "We pay 15.20 an hour.", set()),
        ("What is 20% of 90? Show how.", "", "90 x 0.2 = 18", {"90", "18"}),
        ("How many coins make 87 cents?", "", "1. Six coins make 87 cents.", {"87"}),
        ("What percentage is it?", "", "It is 32%. It isn't 35%.", {"32"}),
        ("What is the total of these dates, 2024-07-11 and 10:30?", "", "On 2024-07-11 at 10:30", set()),
        ("Write a function that adds 45.", "", "```\nx = 45\n```", set()),
        ("Calculate the balance.", "", "It is 0.", set()),
    ],
)
def test_only_a_figure_that_is_given_or_computed_is_changed(
    instruction: str, given: str, output: str, figures: set[str]
) -> None:
    row = instance(1, instruction=instruction, input=given, output=output)
    changed = {found["output"] for seed in range(40) for found in faults_of([row], "changed figure", seed).values()}
    gone = {figure for figure in re.findall(r"\d+", output) for text in changed if figure not in text}
    assert gone == figures
    assert all(len(text) == len(output) for text in changed)


@pytest.mark.parametrize(
    ("instruction", "given", "output", "shortened"),
    [
        ("Name two tools.", "", "1. saw\n2. file", ["1. file", "1. saw"]),
        ("Give five hints and three tips.", "", "- a\n- b\n- c", ["- b\n- c", "- a\n- c", "- a\n- b"]),
        ("Name at most three tools.", "", "- saw\n- file\n- axe", []),
        ("Name three tools or fewer.", "", "- saw\n- file\n- axe", []),
        ("Describe a four-day week.", "", "- a\n- b\n- c\n- d", []),
        ("Explain how a lock works.", "", "1. in\n2. up\n3. out", ["1. in\n3. out"]),
        ("What are good tools?", "", "1. saw\n2. file\n3. axe", []),
        ("Expand the outline.", "rain", "Rain falls. It is wet. It is water.", []),
        ("Translate the menu.", "riz\nvin", "- rice\n- wine", ["- wine", "- rice"]),
        ("Write a haiku.", "", "one\ntwo\nthree", ["two\nthree", "one\nthree", "one\ntwo"]),
        ("Answer in two sentences.", "", "Mr. Lee left. He ran.", ["He ran.", "Mr. Lee left."]),
        ("Answer in at most two sentences.", "", "He left. He ran.", []),
        ("How many are 3 and 4?", "", "Add them. That makes 7.", ["Add them."]),
        ("How many are 3 and 4?", "", "They are 7. Good luck.", []),
        ("Tell me about rain.", "", "It falls. It is wet. It is water.", []),
        ("Compare them in a table with two rows.", "", "| a |\n|---|\n| b |\n| c |", ["| a |\n|---|\n| c |"]),
    ],
)
def test_only_a_part_that_the_task_needs_is_dropped(
    instruction: str, given: str, output: str, shortened: list[str]
) -> None:
    assert shorten(instruction, given, output)[: len(shortened) or None] == shortened


def test_every_question_of_a_fault_exists() -> None:
    assert {name for fault in FAULTS.values() for name in fault.questions} <= set(NAMES)
