"""Each set of prompts is complete and valid, and errors in edited files are reported."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auto_instruct_hf.errors import PromptError
from auto_instruct_hf.prompts import prompt as prompts
from auto_instruct_hf.prompts.prompt import REQUESTS, list_names, load_prompts

EXAMPLE = {"instruction": "Explain what a tide is and why it comes.", "domain": "geography", "classification": False}
VARIABLES: dict[str, dict[str, Any]] = {
    "bootstrap": {"examples": [EXAMPLE], "classification": True, "domain": "law", "count": 5, "pick": 7},
    "attributes": {"instruction": "Do {{ x }} & 'y'."},
    "classify": {"instruction": "Do {{ x }} & 'y'."},
    "labels": {"instruction": "Do it."},
    "strategies": {"instruction": "Do it."},
    "input": {"instruction": "Do it.", "label": "spam", "is_border": True},
    "output": {"instruction": "Do it.", "input": "On this.", "strategy": "Slowly."},
    "topic": {"instructions": ["Do it.", "Do that."], "keywords": ["do"]},
}
FOLDER = Path(prompts.__file__).parent
PROMPTS = [(source, name) for source in ("default", "small") for name in list_names(source)]


def filled(prompt: prompts.Prompt, *variables: dict[str, Any], mark: str = "###") -> list[dict[str, str]]:
    if not prompt.is_grouped:
        return prompt.messages(**variables[0])
    return prompt.messages(items=[{"number": n, **item} for n, item in enumerate(variables, start=1)], mark=mark)


@pytest.mark.parametrize(("source", "name"), PROMPTS)
def test_each_prompt_renders_to_a_chat(source: str, name: str) -> None:
    prompt = load_prompts(source)[name]
    messages = filled(prompt, VARIABLES[name])
    exchanges = ["user", "assistant"] * (len(messages) // 2 - 1)
    assert [message["role"] for message in messages] == ["system", *exchanges, "user"]
    for message in messages[2:-1:2]:
        assert prompt.accepts(json.loads(message["content"])), "an exchange shows a reply the schema refuses"
    for value in VARIABLES[name].values():
        if isinstance(value, str) and value != "law":
            assert value in messages[-1]["content"].splitlines(), "a text stands unchanged on lines of its own"
    assert all(message["content"] for message in messages)


def test_both_sets_have_all_prompts() -> None:
    grouped = {name for name, prompt in load_prompts().items() if prompt.is_grouped}
    assert grouped == {"attributes", "input", "output", "topic"}
    assert not any(prompt.is_grouped for prompt in load_prompts("small").values())
    assert {name for _, name in PROMPTS} == set(REQUESTS)


# What OpenAI's structured outputs know in strict mode, of what a schema here might use.
KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf"}


def parts_of(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")):
        if part:
            yield from parts_of(part)


@pytest.mark.parametrize(("source", "name"), PROMPTS)
def test_each_schema_is_strict(source: str, name: str) -> None:
    root = load_prompts(source)[name].schema
    assert root["type"] == "object"
    for part in parts_of(dict(root)):
        if source == "default":
            assert set(part) <= KEYWORDS
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        # It refuses alternatives whose first properties have the same name.
        first = [next(iter(one["properties"])) for one in part.get("anyOf", ()) if "properties" in one]
        assert len(set(first)) == len(first)


@pytest.mark.parametrize("name", ["attributes", "input", "output"])
def test_what_is_constant_comes_first(name: str) -> None:
    prompt = load_prompts()[name]
    texts = [
        filled(prompt, {**VARIABLES[name], "instruction": text}, mark=mark)
        for text, mark in (("Do this.", "###"), ("Do ### that.", "==="))
    ]
    assert texts[0][:-1] == texts[1][:-1]
    assert texts[0][-1] != texts[1][-1]


def test_empty_parts_are_left_out() -> None:
    bare = {"instruction": "Do it.", "input": "", "strategy": ""}
    assert filled(load_prompts("small")["output"], bare)[-1]["content"] == "Instruction:\nDo it."
    assert filled(load_prompts()["output"], bare)[-1]["content"] == "### Instruction\nDo it.\n### 1"
    group = {"instructions": ["Do it.", "Do that."], "keywords": []}
    assert filled(load_prompts("small")["topic"], group)[-1]["content"] == "Tasks:\n- Do it.\n- Do that."
    assert filled(load_prompts()["topic"], group)[-1]["content"] == "### 1\n- Do it.\n- Do that."


def test_nothing_is_said_where_there_is_no_strategy() -> None:
    shared = {"instruction": "Do it.", "input": "On this."}
    items = [{**shared, "strategy": "Slowly."}, {**shared, "strategy": ""}, {**shared, "strategy": "Fast."}]
    message = filled(load_prompts()["output"], *items)[-1]["content"]
    assert message == "### Instruction\nDo it.\n### Input\nOn this.\n### 1\nSlowly.\n### 2\n### 3\nFast."


def test_only_border_cases_are_marked_as_such() -> None:
    items = [{"instruction": "Is it spam?", "label": "yes", "is_border": is_border} for is_border in (False, True)]
    message = filled(load_prompts()["input"], *items)[-1]["content"]
    assert message == "### Instruction\nIs it spam?\n### 1\nyes\n### 2, border case\nyes"


def test_an_example_of_several_lines_is_one_example() -> None:
    example = {**EXAMPLE, "instruction": "Sort these:\n- pears\n- plums"}
    variables = {**VARIABLES["bootstrap"], "examples": [example, EXAMPLE]}
    shown = load_prompts()["bootstrap"].messages(**variables)[-1]["content"].split("\n\n")[0]
    assert shown == f"Requests so far:\n- Sort these: - pears - plums\n- {EXAMPLE['instruction']}"


def test_what_instances_share_is_written_once() -> None:
    shared = {"instruction": "Do it.", "input": "On this."}
    items = [
        {**shared, "strategy": "Slowly."},
        {**shared, "strategy": "Fast."},
        {"instruction": "Do it.", "input": "On that.", "strategy": "Fast."},
    ]
    assert filled(load_prompts()["output"], *items)[-1]["content"] == (
        "### Instruction\nDo it.\n### Input\nOn this.\n### 1\nSlowly.\n### 2\nFast.\n"
        "### Instruction\nDo it.\n### Input\nOn that.\n### 3\nFast."
    )


def test_missing_variable_is_named() -> None:
    with pytest.raises(PromptError, match="prompt 'labels': 'instruction' is undefined"):
        load_prompts("small")["labels"].messages(label="x")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A copy of the small set."""
    return Path(shutil.copytree(FOLDER / "small", tmp_path / "mine"))


def test_a_set_has_either_attributes_or_its_parts(mine: Path) -> None:
    assert list_names(str(mine)) == list_names("small")
    shutil.copy(FOLDER / "default" / "attributes.yaml", mine)
    with pytest.raises(PromptError, match=r"has attributes.yaml and classify.yaml and labels.yaml.*needs either"):
        load_prompts(str(mine))
    for name in ("attributes", "classify", "labels", "strategies"):
        (mine / f"{name}.yaml").unlink()
    with pytest.raises(PromptError, match=r"has no attributes.yaml: a set needs either"):
        load_prompts(str(mine))


def test_answers_of_a_group_need_numbers(mine: Path) -> None:
    text = (FOLDER / "default" / "input.yaml").read_text()
    (mine / "input.yaml").write_text(text.replace("required: [number, input]", "required: [input]"))
    with pytest.raises(PromptError, match=r"input.yaml: each of the answers must have a number"):
        load_prompts(str(mine))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no prompt .*labels.yaml"),
        ("system: [", "labels.yaml is not YAML"),
        ("system: a\nshema: {}", "labels.yaml: .* unexpected keyword argument 'shema'; a prompt has the keys system"),
        ("system: a", "labels.yaml: missing"),
        ("words", "labels.yaml: .* must be a mapping"),
    ],
)
def test_errors_in_a_set_name_the_file(mine: Path, text: str | None, message: str) -> None:
    (mine / "labels.yaml").unlink()
    if text is not None:
        (mine / "labels.yaml").write_text(text)
    with pytest.raises(PromptError, match=message):
        load_prompts(str(mine))
