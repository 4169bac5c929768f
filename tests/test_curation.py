"""Curation must drop what the recipe says, and nothing that is merely unusual."""

from pathlib import Path
from typing import Any

import pytest

from auto_instruct_hf import curate
from auto_instruct_hf.core.schema import INSTANCES
from auto_instruct_hf.core.transform import Trace, from_rows
from auto_instruct_hf.curation.rules import find_instance_fault
from auto_instruct_hf.errors import SchemaError
from auto_instruct_hf.recipe import CurationSettings


def instance(number: int = 0, **values: Any) -> dict[str, Any]:
    row = {"instance_id": f"x{number}", "instruction_id": "i", "instruction": "Do it", "is_classification": False}
    return {**row, "attribute": "", "input": "", "output": f"An answer, number {number}.", **values}


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, ""),
        ({"output": "  "}, "no output"),
        ({"input": "The same.", "output": " the  SAME. "}, "input equals output"),
        ({"output": "Strategy: be brief"}, "output holds 'Strategy:'"),
        ({"output": "Well. Input: none"}, "output holds 'Input:'"),
        ({"output": "A strategy: input matters"}, ""),
        ({"output": "It rained all day and"}, "output breaks off"),
        ({"output": "You may take one, unless"}, "output breaks off"),
        ({"output": "The right option is A"}, ""),
        ({"output": "The operator you need is OR"}, ""),
        ({"output": "What are you looking for"}, ""),
        ({"output": "Ich rufe dich morgen an"}, ""),
        ({"output": "because"}, ""),  # the answer to "which word ...?"
        ({"output": "yes and no but", "is_classification": True}, ""),  # a label is what it is
        ({"output": "x"}, ""),
        ({"output": "好的"}, ""),
    ],
)
def test_rules(values: dict[str, Any], fault: str) -> None:
    texts = (instance(**values)[name] for name in ("input", "output", "is_classification"))
    assert find_instance_fault(*texts, settings=CurationSettings()) == fault


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


def test_other_columns_stay_and_invalid_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="curate needs the column 'output' as string"):
        curate(from_rows([instance()], INSTANCES).map(lambda row: {"output": 5}))
    data = from_rows([instance()], INSTANCES).add_column("source", ["mine"])
    assert curate(data, cache_dir=tmp_path)["source"][:] == ["mine"]
    rows = [instance(0), instance(1, input=None)]
    with pytest.raises(SchemaError, match="'input' is null in row 2; fill it with"):
        curate(from_rows(rows, INSTANCES))
