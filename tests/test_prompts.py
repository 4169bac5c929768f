"""Prompts are files that people edit: each set is complete, and a slip in one is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from auto_instruct_hf import prompts
from auto_instruct_hf.errors import PromptError
from auto_instruct_hf.prompts import REQUESTS, load_prompts

EXAMPLE = {"instruction": "Explain what a tide is and why it comes.", "domain": "geography", "classification": False}
VARIABLES: dict[str, dict[str, Any]] = {
    "bootstrap": {"examples": [EXAMPLE], "classification": True, "domain": "law", "count": 5, "pick": 7},
    "classify": {"instruction": "Do {{ x }} & 'y'."},
    "labels": {"instruction": "Do it."},
    "strategies": {"instruction": "Do it."},
    "input": {"instruction": "Do it.", "label": "spam"},
    "output": {"instruction": "Do it.", "input": "On this.", "strategy": "Slowly."},
    "topic": {"instructions": ["Do it.", "Do that."], "keywords": ["do"]},
}
FOLDER = Path(prompts.__file__).parent


@pytest.mark.parametrize("source", ["default", "small"])
@pytest.mark.parametrize("name", REQUESTS)
def test_each_prompt_renders_to_a_chat(source: str, name: str) -> None:
    prompt = load_prompts(source)[name]
    messages = prompt.messages(**VARIABLES[name])
    assert [message["role"] for message in messages] == ["system"] + ["user", "assistant"] * (
        len(messages) // 2 - 1
    ) + ["user"]
    for message in messages[2:-1:2]:
        assert prompt.accepts(json.loads(message["content"])), "an exchange shows a reply the schema refuses"
    for value in VARIABLES[name].values():
        if isinstance(value, str) and value != "law":
            assert value in messages[-1]["content"].splitlines(), "a text stands unchanged on lines of its own"
    assert all(message["content"] for message in messages)


@pytest.mark.parametrize("source", ["default", "small"])
@pytest.mark.parametrize("name", REQUESTS)
def test_each_schema_is_strict(source: str, name: str) -> None:
    # What OpenAI's structured outputs ask of a schema in strict mode.
    schema = load_prompts(source)[name].schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])


def test_parts_that_are_empty_leave_no_trace() -> None:
    message = load_prompts()["output"].messages(instruction="Do it.", input="", strategy="")[-1]["content"]
    assert message == "Instruction:\nDo it."


def test_missing_variable_is_named() -> None:
    with pytest.raises(PromptError, match="prompt 'labels': 'instruction' is undefined"):
        load_prompts()["labels"].messages(label="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "no prompt"),
        (lambda path: path.write_text("system: ["), "is not YAML"),
        (lambda path: path.write_text("system: a\nshema: {}"), "unknown"),
        (lambda path: path.write_text("system: a"), "missing"),
        (lambda path: path.write_text("words"), "unknown"),
    ],
)
def test_broken_sets_are_told_by_file(tmp_path: Path, change: Any, message: str) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(FOLDER / "default", folder)
    change(folder / "labels.yaml")
    with pytest.raises(PromptError, match=message) as caught:
        load_prompts(str(folder))
    assert "labels.yaml" in str(caught.value)
