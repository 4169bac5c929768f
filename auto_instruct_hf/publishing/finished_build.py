"""Compare a build with the finished one in its folder, so that none is replaced by mistake."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset

from ..core import fingerprint, hide_folder
from ..errors import BuildError, PromptError, RecipeError
from ..prompts import find_folder, list_names
from ..recipe import Recipe
from ..teacher import Teacher

# They change what a build costs, not its rows.
_WITHOUT_EFFECT = ("input_price", "cached_price", "output_price", "base_url", "batch_tokens")


def describe_seeds(seeds: Dataset) -> str:
    """Return the name of a seed set with a hash of its rows."""
    return f"{hide_folder(seeds.info.dataset_name or 'custom seeds')} ({fingerprint(seeds.to_list())[:8]})"


def require_same_build(out: Path, seeds: Dataset, teacher: Teacher, recipe: Recipe) -> None:
    """Raise a BuildError if the folder has a finished build with another teacher, other seeds or another recipe.

    The message names each difference. A build by a version whose recipe cannot be read counts as not finished.
    """
    try:
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        before = Recipe.from_yaml(out / "dataset" / "recipe.yaml")
        earlier = {
            "teacher": report.get("teacher"),
            "seeds": report.get("seeds", {}).get("digest"),
            **_list_settings(before, before.prompts or "default"),
        }
    except (OSError, ValueError, RecipeError, PromptError):
        return
    now = {
        "teacher": hide_folder(teacher.model),
        "seeds": describe_seeds(seeds),
        **_list_settings(recipe, recipe.prompts or teacher.prompts),
    }
    changes = [
        f"{name} is {_brief(now[name])} (was {_brief(value)})"
        for name, value in earlier.items()
        if name in now and value != now[name] and not (value is None and name == "seeds")  # of an earlier version
    ]
    if changes:
        raise BuildError(
            f"{out} holds a finished build that differs: {'; '.join(changes)}. Name another folder with --out, or "
            "replace it with --overwrite; the journal is kept in any case"
        )


def _list_settings(recipe: Recipe, prompts: str) -> dict[str, object]:
    """Return the settings that affect the rows, by their path, as they are published."""
    values = asdict(recipe)
    values["prompts"] = prompts
    if prompts not in ("default", "small"):
        texts = [(find_folder(prompts) / f"{name}.yaml").read_text() for name in list_names(prompts)]
        values["prompts"] = f"custom ({fingerprint(texts)[:8]})"
    values["teacher"] = {"max_attempts": recipe.teacher.max_attempts}
    values["embedding"]["model"] = hide_folder(recipe.embedding.model)
    values["decontamination"]["sources"] = [hide_folder(source) for source in recipe.decontamination.sources]
    if not recipe.judge.judges_builds:
        values["judge"] = {"min_judge": None}
    values["judge"].pop("model", None)  # the published recipe names the model that was chosen
    values["judge"]["judges_builds"] = recipe.judge.judges_builds
    return {
        f"{section}.{name}" if name else section: value
        for section, content in values.items()
        for name, value in (content if isinstance(content, Mapping) else {"": content}).items()
        if name not in _WITHOUT_EFFECT
    }


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:60] + "…"
