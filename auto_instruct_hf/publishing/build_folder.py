"""What a build leaves behind, and the folder of it that is published: Parquet, the card, the recipe, the figures."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
from datasets import Dataset, DatasetDict

from ..core import Trace, hide_folder, to_json, without_bars, write_changed
from ..errors import HubError
from ..evaluation.report import digest_splits
from ..prompts import REQUESTS, find_folder, list_names
from ..recipe import Recipe, TeacherSettings
from .card import render_card
from .card_figures import CAPTIONS, Material, draw_plots
from .hub import Pushed, push

_SHARD_BYTES = 500_000_000
# What an earlier push may have left; anything else in a repository is its owner's.
_OURS = "|".join(
    [
        r"data/[^/]+/[^/]+-\d{5}-of-\d{5}\.parquet",
        *(rf"assets/{name}\.png" for name in CAPTIONS),
        *(rf"prompts/{name}\.yaml" for name in REQUESTS),
    ]
)


def write_build(
    out: Path, report: Mapping[str, Any], recipe: Recipe, material: Material, traces: Mapping[str, Trace]
) -> None:
    """Write what a build leaves behind: the published folder, the rejected rows, the report.

    Args:
        out: Folder of the build.
        report: As `facts.make_report` returns it.
        recipe: The recipe that was used.
        material: The rows, and what else the figures need.
        traces: What the phases found, by name.
    """
    plots = draw_plots(material, cache_dir=out / "cache")
    shown = [{"file": f"assets/{name}.png", "caption": CAPTIONS[name]} for name in plots]
    public = {**report, "plots": shown, "phases": {name: _timeless(found) for name, found in report["phases"].items()}}
    public["usage"] = [_timeless(one) for one in report["usage"]]
    public.pop("estimate", None)  # of interest to who paid
    evaluation = _read_evaluation(out / "evaluation.json")
    if evaluation and evaluation["dataset"]["digest"] == digest_splits(material.instances, material.sample):
        public["evaluation"] = evaluation  # of these very rows
    files = {
        "README.md": render_card(public, (out / "dataset").as_posix()).encode(),
        **_copy_prompts(recipe.prompts),
        "recipe.yaml": _resolve(recipe, report).to_yaml().encode(),
        "report.json": to_json(public),
        **{f"assets/{name}.png": png for name, png in plots.items()},
    }
    write_dataset(out / "dataset", {"default": material.sample, "instances": material.instances}, files)
    for name, trace in traces.items():
        if trace.rejected is not None:
            (out / "rejected").mkdir(exist_ok=True)
            with without_bars():
                trace.rejected.to_parquet(out / "rejected" / f"{name}.parquet")
    if "judge" in traces:
        with without_bars():
            traces["judge"].tables["judgements"].to_parquet(out / "judgements.parquet")
    (out / "report.json").write_bytes(to_json(report))


def add_evaluation(out: Path, figures: Mapping[str, Any]) -> None:
    """Let the card of a build tell of its evaluation. Files that say so already stay untouched.

    Args:
        out: Folder of the build.
        figures: As `evaluation.report.evaluate` returns them.

    Raises:
        HubError: If there is no built dataset in the folder, or it was built by another version.
    """
    folder = out / "dataset"
    report = {**_read_report(folder), "evaluation": figures}
    card = _render(report, folder.as_posix(), folder)
    write_changed(folder / "report.json", to_json(report))
    write_changed(folder / "README.md", card.encode())


def write_dataset(folder: Path, configs: Mapping[str, DatasetDict], files: Mapping[str, bytes]) -> None:
    """Write the published folder beside an earlier one, then put it in its place: it is never half of each.

    Args:
        folder: Where. A kill between two renames leaves none; the next run writes it.
        configs: Splits by config.
        files: The others by path: the card, the recipe, the figures.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for config, splits in configs.items():
        for split, dataset in splits.items():
            _write_parquet(dataset, fresh / "data" / config, split)
    for name, content in files.items():
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        (fresh / name).write_bytes(content)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def push_build(
    folder: str | Path,
    repo_id: str,
    *,
    license: str | None = None,
    language: str | None = None,
    **options: Any,
) -> Pushed:
    """Publish a built `dataset` folder on the Hub, in one commit, its card telling how to load it from there.

    Args:
        folder: The folder.
        repo_id: `user/name`.
        license: Of the dataset, in place of what the build was told.
        language: Likewise.
        **options: As `hub.push` takes them.

    Returns:
        Where it ended.

    Raises:
        HubError: If the folder is no built dataset, the Hub refuses, or it cannot be reached.
    """
    words = {"license": license, "language": language}
    report = {**_read_report(Path(folder)), **{name: word for name, word in words.items() if word}}
    card = _render(report, repo_id, folder)
    return push(folder, repo_id, replaced={"README.md": card}, owned=_OURS, **options)


def _read_report(folder: Path) -> dict[str, Any]:
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise HubError(
            f"{folder} is no built dataset (no report.json in it): build one with scripts/build.py"
        ) from None
    if not isinstance(report, dict):
        raise _of_another_version(folder)
    return report


def _render(report: Mapping[str, Any], location: str, folder: str | Path) -> str:
    try:
        return render_card(report, location)
    except (jinja2.UndefinedError, LookupError, TypeError, AttributeError):
        raise _of_another_version(folder) from None


def _of_another_version(folder: str | Path) -> HubError:
    return HubError(f"{folder} was built by another version: run the build again, it asks for nothing")


def _read_evaluation(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if found["dataset"]["digest"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not evaluated yet, or by another version


def _resolve(recipe: Recipe, report: Mapping[str, Any]) -> Recipe:
    """Return the recipe that gives the same build again: with the teacher used, without this machine's paths."""
    model = "embedded" if report["is_embedded"] else report["teacher"]
    return replace(
        recipe,
        prompts="prompts" if _copy_prompts(recipe.prompts) else recipe.prompts or report["prompts"],
        # How it was sent, and for how much, is nobody else's business and decides no row.
        teacher=TeacherSettings(model=model, max_attempts=recipe.teacher.max_attempts),
        decontamination=replace(
            recipe.decontamination, sources=tuple(map(hide_folder, recipe.decontamination.sources))
        ),
        embedding=replace(recipe.embedding, model=report["embedding"]),
        judge=replace(
            recipe.judge,
            model=_name_judge(recipe, report),
            base_url=None,
            input_price=None,
            cached_price=None,
            output_price=None,
        ),
    )


def _name_judge(recipe: Recipe, report: Mapping[str, Any]) -> str | None:
    """Return the model that judged the build, as a recipe names it; where none did, what the recipe says."""
    if "judge" not in report["phases"]:
        return hide_folder(recipe.judge.model) if recipe.judge.model else None
    used: str = report["phases"]["judge"]["before"]["judge"]
    return "embedded" if report["is_embedded"] and used == report["teacher"] else used


def _copy_prompts(source: str | None) -> dict[str, bytes]:
    """Return the prompts that do not come with the package, by their path in the published folder."""
    if source in (None, "default", "small"):
        return {}
    return {f"prompts/{name}.yaml": (find_folder(source) / f"{name}.yaml").read_bytes() for name in list_names(source)}


def _timeless(found: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out how long a phase took: the same rows should give the same files."""
    return {name: value for name, value in found.items() if name != "seconds"}


def _write_parquet(dataset: Dataset, folder: Path, split: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shards = min(max(1, -(-dataset.data.nbytes // _SHARD_BYTES)), len(dataset))
    for number in range(shards):
        path = folder / f"{split}-{number:05d}-of-{shards:05d}.parquet"
        with without_bars():
            dataset.shard(shards, number, contiguous=True).to_parquet(path)
