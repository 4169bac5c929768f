"""Root verbs and objects, which show the variety of a dataset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_instruct_hf.core.verb_objects import root_verb_and_object


@pytest.mark.parametrize(
    ("instruction", "pair"),
    [
        ("Write a short poem about rain.", ("write", "poem")),
        ("Please list three healthy breakfast recipes for busy people.", ("list", "recipe")),
        ("Given the review below, classify its sentiment.", ("classify", "sentiment")),
        ("Create a monthly budget plan for a family of four.", ("create", "plan")),
        ("You are a chemist. Balance the equation.", ("balance", "equation")),
        ("How do I clean a wool carpet?", ("clean", "carpet")),
        ("Explain why the sky is blue.", ("explain", "")),
        ("Carefully translate this sentence into German.", ("translate", "sentence")),
        ("Identify the main characters of the story.", ("identify", "character")),
        ("", ("", "")),
        ("列出三种水果", ("", "")),
    ],
)
def test_verbs_and_objects(instruction: str, pair: tuple[str, str]) -> None:
    assert root_verb_and_object(instruction) == pair


@given(st.text())
def test_any_text_gives_lower_case_words(text: str) -> None:
    verb, noun = root_verb_and_object(text)
    assert verb == verb.lower()
    assert noun == noun.lower()
    assert verb or not noun


def test_a_very_long_text_is_parsed_quickly() -> None:
    assert root_verb_and_object("Write a very " + "very " * 100_000 + "long poem.")[0] == "write"
