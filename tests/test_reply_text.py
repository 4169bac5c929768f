"""The JSON of a reply is found in every shape in which servers return it, and never invented."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_instruct_hf.prompts.prompt import Prompt
from auto_instruct_hf.teacher.reply_text import find_json, is_whole, list_texts, simplify

SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer"}, "output": {"type": "string"}},
    "required": ["number", "output"],
    "additionalProperties": False,
}
PROMPT = Prompt("output", "", "", SCHEMA, 0.0, 9)
GOOD = {"number": 1, "output": "Rain."}
TEXT = json.dumps(GOOD)


def find(text: str, is_loose: bool = False) -> Any:
    found = find_json(text, PROMPT.accepts, SCHEMA, is_loose=is_loose)
    return None if found is None else json.loads(found)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"<think>It could rain {{or}} not.</think>\n{TEXT}",
        f"It could rain.</think>{TEXT}",
        f"```json\n{TEXT}\n```",
        f"Here it is:\n```\n{TEXT}\n```\nI hope it helps.",
        f"Sure! {TEXT} Anything else?",
        f"For the set {{1, 2}} it is: {TEXT}",
        json.dumps(TEXT),
    ],
)
def test_an_object_is_found_whatever_stands_around_it(text: str) -> None:
    assert find(text) == GOOD


def test_a_text_that_mentions_thoughts_and_fences_is_taken_as_it_is() -> None:
    content = {"number": 1, "output": "Close it with </think>, then ```json\n{}\n```."}
    assert find(json.dumps(content)) == content


@pytest.mark.parametrize(
    "text", ['{"number": "1", "output": "Rain."}', '{"number": 1.0, "output": "Rain.", "extra": null}',
             "{'number': 1, 'output': 'Rain.',}"],
)  # fmt: skip
def test_harmless_differences_are_accepted_only_where_no_server_enforces_the_schema(text: str) -> None:
    assert find(text, is_loose=True) == GOOD
    assert find(text) is None


def test_a_label_as_a_number_is_text() -> None:
    assert find('{"number": 1, "output": 5}', is_loose=True) == {"number": 1, "output": "5"}


@pytest.mark.parametrize(("value", "step"), [(87, 85), ("93", 95), (120, 120), (-1, -1)])
def test_a_number_between_two_steps_is_the_nearest(value: object, step: int) -> None:
    assert simplify(value, {"type": "integer", "enum": list(range(0, 101, 5))}) == step


@given(st.text(max_size=60), st.floats(0.05, 0.98))
def test_a_cut_reply_is_never_taken_for_a_whole_one(output: str, share: float) -> None:
    text = json.dumps({"number": 1, "output": output + '}]"end'}, ensure_ascii=False)
    assert find(text[: int(share * len(text))], is_loose=True) is None


def test_no_part_of_a_cut_reply_is_taken_for_the_reply() -> None:
    assert find(f'{{"answers": [{TEXT}, {{"number": 2, "o', is_loose=True) is None


@pytest.mark.parametrize(
    ("escaped", "meant"),
    [
        (r"\frac{a}{b}", "\\frac{a}{b}"),
        (r"\beta and \theta", "\\beta and \\theta"),
        (r"a \times b \neq \rho", "a \\times b \\neq \\rho"),
        (r"\alpha", "\\alpha"),
        (r"one\ntwo\tthree", "one\ntwo\tthree"),
    ],
)
def test_latex_that_nobody_escaped_is_read_as_such(escaped: str, meant: str) -> None:
    assert find(f'{{"number": 1, "output": "{escaped}"}}')["output"] == meant


def test_other_control_characters_are_refused() -> None:
    assert find(r'{"number": 1, "output": "a\u0000b"}', is_loose=True) is None


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        ({"content": "a"}, ["a"]),
        ({"content": [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "a"}, "b"]}, ["ab"]),
        ({"content": None, "reasoning_content": "a"}, ["a"]),
        ({"content": "", "tool_calls": [{"function": {"arguments": "a"}}]}, ["a"]),
        ({"content": None, "tool_calls": [{"function": {"arguments": {"x": 1}}}]}, ['{"x": 1}']),
        ({"content": 5, "tool_calls": {}, "reasoning": []}, []),
    ],
)
def test_where_servers_put_the_answer(message: dict[str, Any], texts: list[str]) -> None:
    assert list_texts(message) == texts


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(["content", "tool_calls", "reasoning_content", "reasoning"]), JSON_VALUES))
def test_any_message_is_read_without_an_error(message: dict[str, Any]) -> None:
    for text in list_texts(message):
        assert find(text, is_loose=True) is None or PROMPT.accepts(find(text, is_loose=True))


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    found = find(text, is_loose=True)
    assert found is None or PROMPT.accepts(found)
    assert isinstance(is_whole(text), bool)
