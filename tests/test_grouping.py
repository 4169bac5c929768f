"""Rows that share a request must neither be lost nor mixed up, whatever the teacher does with their numbers."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_data import instruction_rows
from stub_teacher import StubTeacher

from auto_instruct_hf import Teacher, attribute, complete
from auto_instruct_hf.core.schema import ATTRIBUTED, INSTRUCTIONS
from auto_instruct_hf.core.transform import Trace, from_rows
from auto_instruct_hf.generation.grouped_requests import GroupedItem, ask_items, count_requests
from auto_instruct_hf.prompts.prompt import Prompt
from auto_instruct_hf.recipe import AttributionSettings, CompletionSettings
from auto_instruct_hf.teacher.exchange import Reply, Request

FIELDS = {"number": {"type": "integer"}, "output": {"type": "string"}}
GROUPED = {"answers": {"type": "array", "items": {"type": "object", "properties": FIELDS}}}
ECHO = Prompt("echo", "s", "{{ items | tojson }}", {"type": "object", "properties": GROUPED}, 0.0, 100)
OTHER = Prompt("other", "s", "{{ items | tojson }}", {"type": "object", "properties": GROUPED}, 0.0, 100)
ALONE = Prompt("alone", "s", "{{ instruction }}/{{ strategy }}", {"type": "object", "properties": {}}, 0.0, 100)
FAULTS = ("none", "failed", "missing", "doubled", "empty", "shuffled", "stray", "incomplete")


def asked(request: Request) -> list[dict[str, Any]]:
    return list(json.loads(request.messages[-1]["content"]))


def right(item: Mapping[str, Any]) -> str:
    return f"{item['instruction']}/{item['strategy']}"


class Unsteady:
    """Answers each item with its own words; faults depend on the request alone."""

    def __init__(self, share: float, salt: int) -> None:
        self.share, self.salt = share, salt
        self.waves: list[list[Request]] = []

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        self.waves.append(list(requests))
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply:
        draw = random.Random(f"{self.salt} {request.draw} {request.messages}")
        fault = draw.choice(FAULTS) if draw.random() < self.share else "none"
        if request.prompt is ALONE:
            return Reply({"output": request.messages[-1]["content"]})
        if fault == "failed":
            return Reply(None, "cut off")
        answers = [{"number": item["number"], "output": right(item)} for item in asked(request)]
        place = draw.randrange(len(answers))
        if fault in ("missing", "doubled"):
            answers[place : place + 1] = [answers[place]] * (2 if fault == "doubled" else 0)
        elif fault == "empty":
            answers = []
        elif fault == "shuffled":
            draw.shuffle(answers)
        elif fault == "stray":
            answers.append({"number": len(answers) + 1, "output": "of no item"})
        elif fault == "incomplete":
            answers[place]["output"] = ""
        return Reply({"answers": answers})


def has_words(answer: Mapping[str, Any]) -> bool:
    return bool(answer["output"])


def make_items(runs: Sequence[tuple[Prompt, int]]) -> list[GroupedItem]:
    return [
        GroupedItem(prompt, {"instruction": f"i{number}", "strategy": f"s{strategy}"})
        for number, (prompt, count) in enumerate(runs)
        for strategy in range(count)
    ]


RUNS = st.lists(st.tuples(st.sampled_from([ECHO, ECHO, OTHER, ALONE]), st.integers(1, 5)), max_size=20)


@given(RUNS, st.integers(1, 9), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99))
def test_each_item_gets_its_own_answer_or_a_reason(
    runs: list[tuple[Prompt, int]], size: int, share: float, salt: int
) -> None:
    items, teacher = make_items(runs), Unsteady(share, salt)
    replies = ask_items(teacher, items, size, has_words)
    assert len(replies) == len(items)
    for item, reply in zip(items, replies, strict=True):
        if reply.content is None:
            assert reply.error
        else:
            assert reply.content["output"] in (right(item.variables), "")
    assert len(teacher.waves) <= 2
    assert all(request.items == len(asked(request)) <= size for request in teacher.waves[0] if request.prompt != ALONE)
    assert all(request.items == 1 for wave in teacher.waves[1:] for request in wave)
    if share == 0:
        assert len(teacher.waves) == 1
        assert all(reply.content for reply in replies)
    again = Unsteady(share, salt)
    assert ask_items(again, items, size, has_words) == replies
    assert again.waves == teacher.waves


@pytest.mark.parametrize("fault", ["failed", "missing", "doubled", "empty", "incomplete"])
def test_what_a_group_got_wrong_is_asked_again_alone(fault: str) -> None:
    class Once(Unsteady):
        def _reply(self, request: Request) -> Reply:
            if request.items == 1:
                return super()._reply(request)
            if fault == "failed":
                return Reply(None, "refused")
            answers = [{"number": item["number"], "output": right(item)} for item in asked(request)]
            wrong = {"missing": [], "doubled": [answers[1], {**answers[1], "output": "?"}], "empty": []}
            answers[1:2] = wrong.get(fault, [{"number": 2, "output": ""}])
            return Reply({"answers": [] if fault == "empty" else answers})

    items, teacher = make_items([(ECHO, 3)]), Once(0.0, 0)
    replies = ask_items(teacher, items, 3, has_words)
    assert [reply.content["output"] for reply in replies if reply.content] == ["i0/s0", "i0/s1", "i0/s2"]
    assert len(teacher.waves[1]) == (3 if fault in ("failed", "empty") else 1)


def test_an_item_alone_is_asked_again_with_another_draw_but_not_after_a_failure() -> None:
    class Never(Unsteady):
        def _reply(self, request: Request) -> Reply:
            return Reply({"answers": []} if self.salt else None, "" if self.salt else "refused")

    empty, failing = Never(0, 1), Never(0, 0)
    assert ask_items(empty, make_items([(ECHO, 1)]), 8, has_words)[0].error == "not answered by its number"
    assert [wave[0].draw for wave in empty.waves] == [0, 1]
    assert ask_items(failing, make_items([(ECHO, 1)]), 8, has_words)[0].error == "refused"
    assert len(failing.waves) == 1


def test_instances_of_an_instruction_stay_together_where_they_fit() -> None:
    teacher = Unsteady(0, 0)
    ask_items(teacher, make_items([(ECHO, 2), (ECHO, 3), (ALONE, 1), (ECHO, 2), (ECHO, 9)]), 4, has_words)
    sizes = [[item["instruction"] for item in asked(one)] for one in teacher.waves[0] if one.prompt is ECHO]
    assert sizes == [["i0"] * 2, ["i1"] * 3, ["i3"] * 2, ["i4"] * 4, ["i4"] * 4, ["i4"]]
    assert count_requests(ECHO, 17, 4) == 5
    assert count_requests(ALONE, 17, 4) == 17


def test_the_longest_reply_grows_with_the_group(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    rows = from_rows(instruction_rows(*(f"Explain the rest of matter {n}" for n in range(7))), INSTRUCTIONS)
    attribute(rows, teacher, settings=AttributionSettings(instructions_per_request=5), cache_dir=tmp_path / "c")
    assert sorted(body["max_tokens"] for body in stub.answered) == [700 * 2, 700 * 5]


@pytest.mark.parametrize("faults", [{"missing": 0.4, "doubled": 0.4}, {"cut": 0.5}, {"refused": 0.3, "missing": 0.3}])
def test_no_row_is_lost_over_http(
    teacher: Teacher, stub: StubTeacher, tmp_path: Path, faults: dict[str, float]
) -> None:
    texts = [f"Explain the {word} of matter {number}" for number in range(30) for word in ("pod", "rest")]
    rows = from_rows(instruction_rows(*texts), INSTRUCTIONS)
    stub.faults = faults
    trace, last = Trace(), Trace()
    found = attribute(rows, teacher, cache_dir=tmp_path / "c", trace=trace)
    assert trace.rejected is not None
    assert sorted([*found["instruction"], *trace.rejected["instruction"]]) == sorted(texts)
    assert all(row["is_classification"] == ("pod" in row["instruction"]) for row in found)
    assert len(found) >= 50
    made = complete(found, teacher, cache_dir=tmp_path / "c", trace=last)
    assert last.rejected is not None
    pairs = [(row["instruction"], text) for row in found for text in row["attributes"] or [""]]
    got = [(row["instruction"], row["attribute"]) for part in (made, last.rejected) for row in part]
    assert sorted(got) == sorted(pairs)
    assert all(row["output"] and (row["input"] or not row["is_classification"]) for row in made)
    first = len(stub.answered)
    again = complete(attribute(rows, teacher, cache_dir=tmp_path / "d"), teacher, cache_dir=tmp_path / "d")
    assert again.to_list() == made.to_list()
    assert len(stub.answered) == first, "a rerun from the journal alone asks nothing"


def test_alone_and_in_groups_the_same_rows_come_out(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    texts = [f"Explain the {word} of matter {number}" for number in range(6) for word in ("pod", "rest")]
    rows = from_rows(instruction_rows(*texts), INSTRUCTIONS)
    counts = {}
    for size in (1, 4):
        first, folder = len(stub.answered), tmp_path / str(size)
        settings = AttributionSettings(instructions_per_request=size)
        attributed = attribute(rows, teacher, settings=settings, cache_dir=folder)
        assert attributed["instruction"][:] == texts
        settled = from_rows(
            [{**row, "attributes": ["yes", "no", "perhaps"]} for row in attributed.to_list()], ATTRIBUTED
        )
        made = complete(settled, teacher, settings=CompletionSettings(instances_per_request=size), cache_dir=folder)
        assert made["instruction"][:] == [text for text in texts for _ in range(3)]
        counts[size] = len(stub.answered) - first
    assert counts[1] == 12 + 36
    assert counts[4] == 3 + 12
