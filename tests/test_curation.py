"""Curation drops what the recipe says, and nothing that is only unusual."""

from pathlib import Path
from typing import Any

import pytest

from auto_instruct_hf import curate
from auto_instruct_hf.core import INSTANCES, Trace, from_rows
from auto_instruct_hf.curation.rules import find_instance_fault
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.settings import CurationSettings, FiltersSettings


def instance(number: int = 0, **values: Any) -> dict[str, Any]:
    row = {"instance_id": f"x{number}", "instruction_id": "i", "instruction": "Do it", "is_classification": False}
    return {**row, "attribute": "", "input": "", "output": f"An answer, number {number}.", **values}


@pytest.mark.parametrize(
    ("fault", "given", "outputs"),
    [
        ("no output", "", ["  "]),
        ("input equals output", "The same.", [" the  SAME. "]),
        ("output holds 'Strategy:'", "", ["Strategy: be brief"]),
        ("output holds 'Input:'", "", ["Well. Input: none"]),
        ("output breaks off", "", ["It rained all day and", "You may take one, unless"]),
        ("", "", ["A strategy: input matters", "The right option is A", "The operator you need is OR", "x", "好的"]),
        ("", "", ["What are you looking for", "Ich rufe dich morgen an", "because"]),
    ],
)
def test_broken_outputs_have_a_fault(fault: str, given: str, outputs: list[str]) -> None:
    for output in outputs:
        assert find_instance_fault(given, output, False, settings=CurationSettings()) == fault


def test_a_label_may_end_in_a_connective() -> None:
    assert find_instance_fault("", "yes and no but", True, settings=CurationSettings()) == ""


def test_the_first_of_equal_pairs_of_an_instruction_is_kept(tmp_path: Path) -> None:
    rows = [
        instance(0, output="Same"),
        instance(1, output="same "),
        instance(2, output="Same", input="other"),
        instance(3, output="Same", instruction_id="j"),
        instance(4, output=""),
    ]
    trace = Trace()
    kept = curate(from_rows(rows, INSTANCES), cache_dir=tmp_path, trace=trace)
    assert kept["instance_id"][:] == ["x0", "x2", "x3"]
    assert kept.features == INSTANCES
    assert trace.rejected is not None
    assert dict(zip(trace.rejected["instance_id"], trace.rejected["rejected"], strict=True)) == {
        "x1": "same input and output as an earlier instance",
        "x4": "no output",
    }


def test_instructions_and_inputs_of_any_origin_are_cleaned_or_dropped(tmp_path: Path) -> None:
    rows = [
        instance(0, instruction='1. "Name a fruit."', input="No input required."),
        instance(1, instruction="Draw a cat that sleeps on a sofa."),
        instance(2, instruction="Sum it up.", input="[Insert text here]"),
        instance(3, output="I'm sorry, but I cannot help with that."),
        instance(4, attribute="Use a rhyme in each of the lines.", output="Use a rhyme in each of the lines."),
    ]
    trace = Trace()
    kept = curate(from_rows(rows, INSTANCES), cache_dir=tmp_path, trace=trace)
    assert (kept["instruction"][:], kept["input"][:]) == (["Name a fruit."], [""])
    assert trace.rejected is not None
    assert trace.rejected["rejected"][:] == [
        "instruction: needs more than text",
        "input: placeholder",
        "refusal",
        "output equals the strategy",
    ]


def test_an_input_has_one_label(tmp_path: Path) -> None:
    def label(number: int, given: str, output: str, **values: Any) -> dict[str, Any]:
        return instance(number, input=given, output=output, is_classification=True, attribute=output, **values)

    rows = [
        label(0, "Win a prize!", "spam"),
        label(1, "win a  prize!", "not spam"),
        label(2, "See you at noon.", "not spam"),
        label(3, "Win a prize!", "advert", instruction_id="j"),
        label(4, "", "spam"),
        label(5, "", "not spam"),
        instance(6, input="Win a prize!", instruction_id="k"),
        instance(7, input="Win a prize!", instruction_id="k"),
    ]
    trace = Trace()
    kept = curate(from_rows(rows, INSTANCES), cache_dir=tmp_path / "on", trace=trace)
    assert kept["instance_id"][:] == ["x2", "x3", "x4", "x5", "x6", "x7"]
    assert trace.rejected is not None
    assert set(trace.rejected["rejected"][:]) == {"input under several labels"}
    off = FiltersSettings(skip=("input under several labels",))
    assert len(curate(from_rows(rows, INSTANCES), filters=off, cache_dir=tmp_path / "off")) == len(rows)


def test_a_null_in_selected_rows_is_named_by_its_row() -> None:
    rows = [instance(0), instance(1, input=None), *[instance(2)] * 10_000]
    data = from_rows(rows, INSTANCES).select(range(10_001, -1, -1))
    with pytest.raises(SchemaError, match="'input' is null in row 10001; fill it with"):
        curate(data)


def test_other_columns_stay_and_invalid_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="curate needs the column 'output' as string"):
        curate(from_rows([instance()], INSTANCES).map(lambda row: {"output": 5}))
    data = from_rows([instance()], INSTANCES).add_column("source", ["mine"])
    assert curate(data, cache_dir=tmp_path)["source"][:] == ["mine"]
    rows = [instance(0), instance(1, input=None)]
    with pytest.raises(SchemaError, match="'input' is null in row 2; fill it with"):
        curate(from_rows(rows, INSTANCES))
