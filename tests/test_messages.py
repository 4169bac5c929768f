"""Rows as chats: what stands in the prompt, and when it asks for the strategy of the output."""

from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetDict
from stub_instances import instance, table

from auto_instruct_hf.core import CHAT
from auto_instruct_hf.sampling import add_messages
from auto_instruct_hf.settings import ChatSettings

SONG = {"instruction_id": "song", "instruction": "Write a song.", "is_classification": False, "input": ""}
ROWS: dict[str, dict[str, Any]] = {
    "rhymed": {**SONG, "attribute": "Rhyme.", "output": "la la"},
    "free": {**SONG, "attribute": "Do not rhyme.", "output": "la lo"},
    "on rain": {**SONG, "attribute": "Be sad.", "input": "rain", "output": "drip"},
    "plain": {"instruction_id": "greet", "instruction": "Greet.", "attribute": "", "input": "Ada", "output": "Hi."},
    "bad": {**SONG, "instruction_id": "rate", "is_classification": True, "attribute": "bad", "output": "bad"},
    "good": {**SONG, "instruction_id": "rate", "is_classification": True, "attribute": "good", "output": "good"},
}


def chats(folder: Path, names: Any = ROWS, **options: Any) -> dict[str, dict[str, Any]]:
    rows = [instance(1, **{"instance_id": name, "is_classification": False, **ROWS[name]}) for name in names]
    found = add_messages(DatasetDict({"train": table(rows)}), cache_dir=folder / "c", **options)
    assert {name: found["train"].features[name] for name in CHAT} == dict(CHAT)
    return {row["instance_id"]: row for row in found["train"]}


def asked(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["prompt"][0]["content"] for name, row in rows.items()}


def test_a_row_is_a_prompt_a_completion_and_both_as_messages(tmp_path: Path) -> None:
    row = chats(tmp_path, teacher="/models/mine.gguf")["plain"]
    assert row["prompt"] == [{"role": "user", "content": "Greet.\n\nAda"}]
    assert row["completion"] == [{"role": "assistant", "content": "Hi."}]
    assert row["messages"] == row["prompt"] + row["completion"]
    assert row["teacher"] == "mine.gguf"  # no local path is published


def test_the_strategy_is_asked_for_where_the_same_prompt_has_several_outputs(tmp_path: Path) -> None:
    found = asked(chats(tmp_path))
    assert found["rhymed"] == "Write a song.\nRhyme."
    assert found["free"] == "Write a song.\nDo not rhyme."
    assert found["on rain"] == "Write a song.\n\nrain"
    assert found["bad"] == found["good"] == "Write a song."  # a label is the answer
    assert asked(chats(tmp_path, ["rhymed", "plain"]))["rhymed"] == "Write a song."


@pytest.mark.parametrize(
    ("when", "on_rain", "rhymed"),
    [
        ("always", "Write a song.\nBe sad.\n\nrain", "Write a song.\nRhyme."),
        ("never", "Write a song.\n\nrain", "Write a song."),
    ],
)
def test_the_strategy_is_asked_for_always_or_never(tmp_path: Path, when: Any, on_rain: str, rhymed: str) -> None:
    found = asked(chats(tmp_path, settings=ChatSettings(strategy=when)))
    assert (found["on rain"], found["rhymed"]) == (on_rain, rhymed)
    assert found["bad"] == "Write a song."


def test_a_sample_has_the_prompts_of_what_it_was_drawn_from(tmp_path: Path) -> None:
    rows = {name: instance(1, **{"instance_id": name, **ROWS[name]}) for name in ("rhymed", "free")}
    whole = DatasetDict({"train": table(list(rows.values()))})
    sample = DatasetDict({"train": table([rows["rhymed"], rows["rhymed"]])})
    with_whole, alone = (
        add_messages(sample, instances=instances, cache_dir=tmp_path / "c")["train"][0]["prompt"][0]["content"]
        for instances in (whole, None)
    )
    assert with_whole == "Write a song.\nRhyme."
    assert alone == "Write a song."


def test_a_system_message_comes_first_if_it_is_given(tmp_path: Path) -> None:
    row = chats(tmp_path, settings=ChatSettings(system="You help."))["plain"]
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant"]
    assert row["prompt"][0]["content"] == "You help."
    assert all(turn["role"] != "system" for row in chats(tmp_path).values() for turn in row["messages"])
