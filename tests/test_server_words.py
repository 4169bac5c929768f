"""What servers say about a failed request is read in every shape in which they say it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_instruct_hf.teacher.server_words import find_error, read_words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no seed", "type": "bad", "code": 400}}, "no seed"),
        ({"error": "no  seed\n"}, "no seed"),
        ({"detail": "no seed"}, "no seed"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra"}, {"msg": "two"}]}, "body.seed: Extra; two"),
        ([{"error": {"code": 400, "message": "no seed", "details": []}}], "no seed"),
        ({"object": "error", "message": {"detail": [{"msg": "no seed"}]}}, "no seed"),
        ("no seed", "no seed"),
        (b"no seed", "no seed"),
        ({}, ""),
        (None, ""),
    ],
)  # fmt: skip
def test_words_are_read_from_any_body(body: Any, words: str) -> None:
    assert read_words(body) == words
    if isinstance(body, dict | list):
        assert read_words(json.dumps(body)) == words


@pytest.mark.parametrize(
    ("completion", "error"),
    [
        ({"error": {"code": 402, "message": "no credits"}}, (402, "no credits")),
        ({"error": {"code": "429", "message": "slow down"}, "choices": []}, (429, "slow down")),
        ({"error": "overloaded", "status": 503}, (503, "overloaded")),
        ({"choices": [{"error": {"code": 502, "message": "upstream"}, "message": {"content": ""}}]}, (502, "upstream")),
        ({"error": {"message": "odd"}}, (None, "odd")),
        ({"choices": [{"message": {"content": "{}"}}], "error": None}, None),
        ([], None),
    ],
)
def test_an_error_inside_an_answer_is_found(completion: Any, error: Any) -> None:
    assert find_error(completion) == error


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "choices", "code", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_any_body_is_read_without_an_error(body: Any) -> None:
    assert len(read_words(body)) <= 500
    assert "\n" not in read_words(body)
    find_error(body)
