"""Attribution: kinds, labels, strategies, inputs, and failed requests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from made_data import instruction_rows
from stub_teacher import KEY, StubTeacher

from auto_instruct_hf import Teacher, attribute
from auto_instruct_hf.core.schema import ATTRIBUTED, ATTRIBUTES, INSTRUCTIONS
from auto_instruct_hf.core.transform import Trace, columns, from_rows, rows
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.generation.attribution import attribute_batch
from auto_instruct_hf.prompts.prompt import load_prompts
from auto_instruct_hf.recipe import AttributionSettings, TeacherSettings
from auto_instruct_hf.teacher.exchange import Reply, Request


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


def test_one_request_says_it_all() -> None:
    labels = {"number": 1, "is_classification": True, "labels": ["a", "A", "b"], "input": None, "strategies": []}
    row = judge({"attributes": {"answers": [labels]}}, prompts="default")
    assert (row["is_classification"], row["attributes"], row["input"]) == (True, ["a", "b"], "")
    other = {"number": 1, "is_classification": False, "labels": [], "input": " On this. ", "strategies": ["Rhyme."]}
    row = judge({"attributes": {"answers": [other]}}, prompts="default")
    assert (row["is_classification"], row["attributes"], row["input"]) == (False, ["Rhyme."], "On this.")
    without = {"answers": [{**labels, "labels": [" "]}]}
    assert judge({"attributes": without}, prompts="default")["rejected"] == "classification without labels"
    assert judge({"attributes": "refused"}, prompts="default")["rejected"] == "teacher: refused"


def test_failures_are_reasons_not_exceptions() -> None:
    labelled = {"classify": {"is_classification": True}}
    assert judge({"classify": "cut off"})["rejected"] == "teacher: cut off"
    assert judge({**labelled, "labels": "refused"})["rejected"] == "teacher: refused"
    assert judge({**labelled, "labels": {"labels": [" "]}})["rejected"] == "classification without labels"


def test_phase_over_http(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    stub.faults = {"refused": 0.85}
    texts = [f"Explain the {word} of the matter {number}" for number in range(20) for word in ("pod", "rest")]
    trace = Trace()
    found = attribute(from_rows(instruction_rows(*texts), INSTRUCTIONS), teacher, cache_dir=tmp_path / "c", trace=trace)
    assert found.features == ATTRIBUTED
    assert trace.rejected is not None
    assert len(found) + len(trace.rejected) == 40
    assert set(trace.rejected["rejected"]) <= {"teacher: refused"}
    for row in found:
        assert row["is_classification"] == ("pod" in row["instruction"])
        assert len(row["attributes"]) in ((2, 3) if row["is_classification"] else range(4))


def test_own_dataset_keeps_its_columns_in_any_format(teacher: Teacher, tmp_path: Path) -> None:
    own = Dataset.from_list([{"instruction_id": "a", "instruction": "Explain the rest of it", "source": "mine"}])
    for number, data in enumerate((own, own.with_format("arrow"), own.with_format("numpy"))):
        found = attribute(data, teacher, cache_dir=tmp_path / str(number))
        assert found["source"][:] == ["mine"]
        assert found.column_names == [*own.column_names, *ATTRIBUTES]


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


def test_own_dataset_needs_its_columns(teacher: Teacher) -> None:
    with pytest.raises(SchemaError, match="attribute needs the column 'instruction_id'"):
        attribute(from_rows(instruction_rows("a"), INSTRUCTIONS).remove_columns("instruction_id"), teacher)
