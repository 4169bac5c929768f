"""A recipe decides what a run costs: a slip in it must not pass in silence."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from auto_instruct_hf import recipe
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.recipe import PUBLISHED_BANNED, Recipe


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return Recipe.from_yaml(path)


def test_written_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = read(tmp_path, "seed: 7\nbootstrap: {banned: [map], max_words: 9}\nteacher: {model: m, timeout: 5}")
    assert recipe.bootstrap.banned == ("map",)
    assert recipe.teacher.timeout == 5.0
    assert read(tmp_path, recipe.to_yaml()) == recipe


def test_nothing_given_is_the_default_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, "")
    assert recipe == Recipe()
    assert (recipe.num_instructions, recipe.bootstrap.max_similarity, recipe.clf_share) == (10_000, 0.7, 0.1)
    assert (recipe.bootstrap.seed_examples, recipe.bootstrap.machine_examples) == (6, 2)


def test_the_recipes_of_the_package_differ_where_ours_is_not_the_published_one() -> None:
    ours, published = Recipe.from_yaml("default"), Recipe.from_yaml("published")
    assert ours == Recipe()
    assert (published.bootstrap.max_cosine, published.bootstrap.domains) == (None, ())
    folder = Path(recipe.__file__).parent / "recipes"
    named = [yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("default", "published")]
    different = {
        section: sorted(name for name, value in values.items() if value != getattr(getattr(published, section), name))
        for section, values in asdict(ours).items()
        if isinstance(values, dict)
    }
    for content in named:
        assert {section: sorted(values) for section, values in content.items()} == {
            section: names for section, names in different.items() if names
        }


def test_the_published_list_of_banned_words_has_a_name(tmp_path: Path) -> None:
    recipe = read(tmp_path, "bootstrap: {banned: published}\nfilters: {skip: [needs more than text]}")
    assert recipe.bootstrap.banned == PUBLISHED_BANNED
    assert recipe.filters.skip == ("needs more than text",)
    assert read(tmp_path, recipe.to_yaml()) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 7", "unknown setting seeds; known here: seed,"),
        ("bootstrap: {max_wrods: 9}", "unknown setting bootstrap.max_wrods"),
        ("num_instructions: many", "num_instructions is 'many'; it should be a valid integer"),
        ("num_instructions: 1.5", "num_instructions is 1.5; it should be a valid integer"),
        ("num_instructions: true", "num_instructions is True; it should be a valid integer"),
        ("num_instructions: 0", "num_instructions is 0; it should be greater than or equal to 1"),
        ("seed: -1", "seed is -1; it should be greater than or equal to 0"),
        ("bootstrap: {tokenizer: nltk}", "bootstrap.tokenizer is 'nltk'; it should be 'auto', 'rouge' or 'unicode'"),
        ("clf_share: 2", "clf_share is 2; it should be less than or equal to 1"),
        ("bootstrap: 3", "bootstrap: expected settings by name, found 3"),
        ("bootstrap: {banned: [1]}", "bootstrap.banned is 1; it should be a valid string"),
        ("completion: {instances_per_request: 0}", "completion.instances_per_request is 0; it should be"),
        ("attribution: {instructions_per_request: 0}", "attribution.instructions_per_request is 0"),
        ("decontamination: {sources: exam.csv}", "decontamination.sources is 'exam.csv'; it should be a valid tuple"),
        ("decontamination: {method: hash}", "decontamination.method is 'hash'"),
        ("decontamination: {ngram: 0}", "decontamination.ngram is 0; it should be greater than or equal to 1"),
        ("sampling: {balance: none}", "sampling.balance is 'none'; it should be"),
        ("sampling: {max_draws: 0}", "sampling.max_draws is 0; it should be"),
        ("splitting: {test: 0.6, validation: 0.5}", "below 1 less splitting.validation"),
        ("teacher: {input_price: 1.0}", "given together with teacher.input_price"),
        ("[1, 2]", "expected settings by name"),
        ("a: [", "is not YAML"),
    ],
)
def test_slips_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        read(tmp_path, text)


def test_settings_of_earlier_versions_are_renamed_or_ignored(tmp_path: Path) -> None:
    recipe = read(tmp_path, "clustering: {neighbours: 7, resamples: 3}\nteacher: {attempts: 2}")
    assert (recipe.clustering.n_neighbors, recipe.teacher.max_attempts) == (7, 2)


def test_missing_file() -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        Recipe.from_yaml("absent.yaml")
