"""Compare a build with the finished one in its folder, so that none is replaced by mistake."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import fingerprint, hide_folder, read_manifest
from ..errors import BuildError, PromptError, RecipeError, SourceError
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

    The message names each difference, or the damaged file that hides them. A build by a version whose recipe cannot be
    read counts as not finished.
    """
    folder = out / "dataset"
    try:
        report = _read_report(folder) or _read_report(out)
        before = Recipe.from_yaml(folder / "recipe.yaml")
        earlier = {
            "teacher": report["teacher"],
            "seeds": report.get("seeds", {}).get("digest"),
            **_list_settings(before, before.prompts or "default"),
        }
    except (KeyError, AttributeError, RecipeError, PromptError):
        _require_undamaged(folder)
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


def _read_report(folder: Path) -> dict[str, Any]:
    """Return the content of `report.json`; nothing if it is missing or damaged."""
    try:
        content = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _require_undamaged(folder: Path) -> None:
    """Raise a BuildError if a finished build cannot be compared because it is damaged, not because of its version."""
    try:
        if folder.exists() and folder.with_name("manifest.json").exists():
            read_manifest(folder, only=("report.json", "recipe.yaml"))
    except SourceError as error:
        raise BuildError(f"whether the build in {folder} differs cannot be told: {error}, with --overwrite") from None


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
    if not recipe.judge.is_asked_in_builds:
        values["judge"] = {"min_judge": None, "preferences": False}
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
