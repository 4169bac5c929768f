"""Completion makes one row per label or strategy, and one for a task with neither."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_data import instruction_rows
from stub_teacher import StubTeacher

from auto_instruct_hf import Teacher, complete
from auto_instruct_hf.core import ATTRIBUTED, INSTANCES, Trace, columns, from_rows
from auto_instruct_hf.generation.completion import complete_batch
from auto_instruct_hf.prompts import load_prompts
from auto_instruct_hf.recipe import CompletionSettings
from auto_instruct_hf.teacher import Reply, Request


def row(number: int, attributes: list[str], **values: Any) -> dict[str, Any]:
    start = {"instruction_id": f"i{number}", "instruction": f"Do thing {number}", "attributes": attributes}
    return {**instruction_rows("")[0], **start, "is_classification": False, "input": "", **values}


ROWS = [
    row(1, ["yes", "no"], is_classification=True),
    row(2, ["Be short.", "Rhyme."], input="Some text."),
    row(3, []),
]


def test_there_is_one_row_per_attribute(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    found = complete(from_rows(ROWS, ATTRIBUTED), teacher, cache_dir=tmp_path / "c")
    assert found.features == INSTANCES
    assert [(one["instruction_id"], one["attribute"]) for one in found] == [
        ("i1", "yes"), ("i1", "no"), ("i2", "Be short."), ("i2", "Rhyme."), ("i3", ""),
    ]  # fmt: skip
    assert len(set(found["instance_id"])) == 5
    labelled, others = found.to_list()[:2], found.to_list()[2:]
    assert [one["output"] for one in labelled] == ["yes", "no"]
    assert all(one["input"] for one in labelled)
    assert [one["input"] for one in others] == ["Some text.", "Some text.", ""]
    assert all(one["output"] for one in others)
    inputs, outputs = sorted((body["messages"][-1]["content"] for body in stub.answered), key=len)
    assert inputs == "### Instruction\nDo thing 1\n### 1\nyes\n### 2\nno"
    assert outputs.count("Do thing 2") == 1, "the instruction is written once per group"
    assert "### 2\nRhyme." in outputs


def test_prompts_without_groups_send_one_request_per_instance() -> None:
    asked: list[str] = []

    def ask(requests: Sequence[Request]) -> list[Reply]:
        asked.extend(request.messages[-1]["content"] for request in requests)
        return [Reply({request.prompt.name: f"text {number}"}) for number, request in enumerate(requests)]

    batch = columns(ROWS, ATTRIBUTED)
    found = complete_batch(batch, ask=ask, prompts=load_prompts("small"), settings=CompletionSettings())
    assert [text.split("\n")[1] for text in asked] == [f"Do thing {n}" for n in (1, 1, 2, 2, 3)]
    assert sum("Strategy:\nRhyme." in text for text in asked) == 1
    assert found["input"] == ["text 0", "text 1", "Some text.", "Some text.", ""]
    assert found["output"] == ["yes", "no", "text 2", "text 3", "text 4"]


@pytest.mark.parametrize("size", [1, 8])
def test_one_input_in_three_is_asked_for_as_a_border_case(size: int) -> None:
    asked: list[str] = []

    def ask(requests: Sequence[Request]) -> list[Reply]:
        asked.extend(line for request in requests for line in request.messages[-1]["content"].splitlines())
        return [Reply({"answers": [{"number": n + 1, "input": "x"} for n in range(one.items)]}) for one in requests]

    tasks = columns([row(number, ["yes", "no"], is_classification=True) for number in range(150)], ATTRIBUTED)
    complete_batch(tasks, ask=ask, prompts=load_prompts(), settings=CompletionSettings(size))
    labels = [asked[place + 1] for place, line in enumerate(asked) if line.endswith(", border case")]
    assert len(labels) == 97, "of 300 labels, the same ones in groups of any size"
    assert 40 <= labels.count("yes") <= 57, "either label has its share"


def test_failed_instances_are_dropped_with_their_reason(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    stub.faults = {"broken": 1.0}
    trace = Trace()
    found = complete(from_rows(ROWS, ATTRIBUTED), teacher, cache_dir=tmp_path / "c", trace=trace)
    assert len(found) == 0
    assert found.features == INSTANCES
    assert trace.rejected is not None
    assert trace.rejected["rejected"][:] == ["teacher: not JSON"] * 5
