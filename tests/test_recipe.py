"""A recipe decides what a run costs: a slip in it must not pass in silence."""

import re
from pathlib import Path

import pytest

from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.recipe import Recipe


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return Recipe.from_yaml(path)


def test_written_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = read(tmp_path, "seed: 7\nbootstrap: {banned: [map], max_words: 9}\nteacher: {model: m, timeout: 5}")
    assert recipe.bootstrap.banned == ("map",)
    assert recipe.teacher.timeout == 5.0
    assert read(tmp_path, recipe.to_yaml()) == recipe


def test_nothing_given_is_the_published_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, "")
    assert recipe == Recipe()
    assert (recipe.num_instructions, recipe.bootstrap.max_similarity, recipe.clf_share) == (10_000, 0.7, 0.1)
    assert (recipe.bootstrap.seed_examples, recipe.bootstrap.machine_examples) == (6, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 7", "unknown seeds"),
        ("bootstrap: {max_wrods: 9}", "bootstrap.unknown max_wrods"),
        ("num_instructions: many", "num_instructions is 'many'; it must be of type int"),
        ("num_instructions: 1.5", "it must be of type int"),
        ("num_instructions: true", "it must be of type int"),
        ("num_instructions: 0", "num_instructions is 0; it must be at least 1"),
        ("seed: -1", "seed is -1; it must be from 0"),
        ("bootstrap: {tokeniser: nltk}", "bootstrap.tokeniser is 'nltk'; it must be"),
        ("clf_share: 2", "clf_share is 2.0; it must be in [0, 1]"),
        ("bootstrap: 3", "expected settings by name"),
        ("bootstrap: {banned: [1]}", "bootstrap.banned is [1]"),
        ("completion: {instances_per_request: 0}", "completion.instances_per_request is 0; it must be at least 1"),
        ("attribution: {instructions_per_request: 0}", "attribution.instructions_per_request is 0"),
        ("decontamination: {sources: exam.csv}", "decontamination.sources is 'exam.csv'; it must be of type tuple"),
        ("decontamination: {method: hash}", "decontamination.method is 'hash'"),
        ("decontamination: {ngram: 0}", "decontamination.ngram is 0; it must be at least 1"),
        ("sampling: {balance: none}", "sampling.balance is 'none'; it must be"),
        ("sampling: {max_draws: 0}", "sampling.max_draws is 0; it must be at least 1"),
        ("splitting: {test: 0.6, validation: 0.5}", "below 1 less splitting.validation"),
        ("[1, 2]", "expected settings by name"),
        ("a: [", "is not YAML"),
    ],
)
def test_slips_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        read(tmp_path, text)


def test_missing_file() -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        Recipe.from_yaml("absent.yaml")
