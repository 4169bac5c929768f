"""Attribution: kinds, labels, strategies, inputs, and failed requests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from made_data import instruction_rows
from stub_teacher import KEY, StubTeacher

from auto_instruct_hf import Teacher, attribute
from auto_instruct_hf.core import ATTRIBUTES, INSTRUCTIONS, columns, from_rows, rows
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.generation.attribution import attribute_batch
from auto_instruct_hf.prompts import load_prompts
from auto_instruct_hf.recipe import AttributionSettings, TeacherSettings
from auto_instruct_hf.teacher import Reply, Request


def judge(answers: dict[str, Any], prompts: str = "small") -> dict[str, Any]:
    """Attribute one instruction with a teacher that answers each request by its prompt."""

    def ask(requests: Sequence[Request]) -> list[Reply]:
        replies = [answers[request.prompt.name] for request in requests]
        return [Reply(None, reply) if isinstance(reply, str) else Reply(reply) for reply in replies]

    batch = columns(instruction_rows("Do this for me"), INSTRUCTIONS)
    found = attribute_batch(batch, ask=ask, prompts=load_prompts(prompts), settings=AttributionSettings())
    return rows(found)[0]


def test_classification_gets_labels_and_no_input() -> None:
    labels = {"labels": [" Spam", "spam", "", "not spam", "None"]}
    row = judge({"classify": {"is_classification": True}, "labels": labels})
    assert row["is_classification"] is True
    assert row["attributes"] == ["Spam", "not spam", "None"]  # None may well be a label
    assert (row["input"], row["rejected"]) == ("", "")


@pytest.mark.parametrize(("given", "kept"), [(None, ""), ("None", ""), (" A text. ", "A text."), ("N/A", "")])
def test_other_tasks_get_an_input_and_at_most_three_strategies(given: str | None, kept: str) -> None:
    reply = {"input": given, "strategies": ["Be short.", "be short.", "None", "Be kind.", "Rhyme.", "Shout."]}
    row = judge({"classify": {"is_classification": False}, "strategies": reply})
    assert row["attributes"] == ["Be short.", "Be kind.", "Rhyme."]
    assert row["input"] == kept


def test_a_placeholder_is_no_input() -> None:
    reply = {"input": "[Insert text here]", "strategies": ["Be short."]}
    assert judge({"classify": {"is_classification": False}, "strategies": reply})["rejected"] == "input: placeholder"


def test_one_request_has_kind_and_attributes() -> None:
    def judge_one(answer: dict[str, Any]) -> tuple[Any, ...]:
        row = judge({"attributes": {"answers": [{"number": 1, **answer}]}}, prompts="default")
        return row["is_classification"], row["attributes"], row["input"], row["rejected"]

    labels = {"is_classification": True, "labels": ["a", "A", "b"], "input": None, "strategies": []}
    other = {"is_classification": False, "labels": [], "input": " On this. ", "strategies": ["Rhyme."]}
    assert judge_one(labels) == (True, ["a", "b"], "", "")
    assert judge_one(other) == (False, ["Rhyme."], "On this.", "")
    assert judge_one({**labels, "labels": [" "]}) == (True, [], "", "classification without labels")


def test_failures_are_reasons_not_exceptions() -> None:
    labelled = {"classify": {"is_classification": True}}
    assert judge({"attributes": "refused"}, prompts="default")["rejected"] == "teacher: refused"
    assert judge({"classify": "cut off"})["rejected"] == "teacher: cut off"
    assert judge({**labelled, "labels": "refused"})["rejected"] == "teacher: refused"
    assert judge({**labelled, "labels": {"labels": [" "]}})["rejected"] == "classification without labels"


def test_other_columns_stay_in_any_format_and_missing_ones_are_named(teacher: Teacher, tmp_path: Path) -> None:
    own = Dataset.from_list([{"instruction_id": "a", "instruction": "Explain the rest of it", "source": "mine"}])
    for number, data in enumerate((own, own.with_format("arrow"), own.with_format("numpy"))):
        found = attribute(data, teacher, cache_dir=tmp_path / str(number))
        assert found["source"][:] == ["mine"]
        assert found.column_names == [*own.column_names, *ATTRIBUTES]
    with pytest.raises(SchemaError, match="attribute needs the column 'instruction_id'"):
        attribute(own.remove_columns("instruction_id"), teacher)


def test_another_teacher_is_asked_anew(stub: StubTeacher, tmp_path: Path) -> None:
    data = from_rows(instruction_rows("Explain the rest of it"), INSTRUCTIONS)
    found = {}
    for model, attempts in (("one", 6), ("two", 6), ("one", 5)):
        settings = TeacherSettings(max_attempts=attempts)
        with Teacher(model, base_url=stub.url, api_key=KEY, journal=tmp_path / "journal", settings=settings) as teacher:
            found[model, attempts] = attribute(data, teacher, cache_dir=tmp_path / "cache")._fingerprint
    assert len(set(found.values())) == 3
    assert {body["model"] for body in stub.answered} == {"one", "two"}
    assert len(stub.answered) == 2  # other attempts make another result, of replies that are known
