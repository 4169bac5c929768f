"""Write the folder of a build, and push it: Parquet, the card, the recipe, the report."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import DatasetDict

from ..core import Trace, hide_folder, make_manifest, read_manifest, without_bars, write_changed, write_manifest
from ..errors import HubError
from ..evaluation import digest_splits
from ..prompts import REQUESTS, find_folder, list_names
from ..recipe import Recipe, TeacherSettings
from .build_report import CUSTOM, BuildReport, Facts, parse_report
from .card import render_card
from .card_figures import CAPTIONS, GAINS, CardInputs, draw_plots, plot_gains
from .hub import Pushed, push_files
from .hub_terms import check_terms

_LOG = logging.getLogger(__name__)
_SHARD_BYTES = 500_000_000
# Files that this or an earlier version pushed; all other files in a repository belong to its owner.
_OURS = "|".join(
    [
        r"data/[^/]+/[^/]+-\d{5}-of-\d{5}\.parquet",
        *(rf"assets/{name}\.png" for name in (*CAPTIONS, GAINS, "curve", "acceptance", "cost")),
        *(rf"prompts/{name}\.yaml" for name in REQUESTS),
    ]
)


def write_build(
    out: Path,
    report: BuildReport,
    recipe: Recipe,
    inputs: CardInputs,
    traces: Mapping[str, Trace],
    preferences: DatasetDict | None = None,
) -> BuildReport:
    """Write the published dataset, the rejected rows and the report of a build to its folder.

    `preferences` is a config besides the sample and the instances; None or empty: there is none. Returns the report
    with the figures of the card, as written to `out/report.json`.
    """
    plots = draw_plots(inputs, cache_dir=out / "cache")
    report = replace(report, plots=[{"file": f"assets/{name}.png", "caption": CAPTIONS[name]} for name in plots])
    evaluation, place = None, out / "evaluation.json"
    if place.exists():  # a digest takes a minute for millions of rows
        evaluation = _read_evaluation(place, digest_splits(inputs.instances, inputs.sample))
    if evaluation is None and place.exists():
        _LOG.warning("%s is of other rows: run `auto-instruct evaluate %s` again", place, out)
    public = replace(
        report,
        # Without durations, so that equal rows give equal files.
        phases={
            phase: {name: value for name, value in found.items() if name != "seconds"}
            for phase, found in report.phases.items()
        },
        usage=[replace(usage, seconds=0.0) for usage in report.usage],
        estimate=None,  # only of interest to the payer
        evaluation=evaluation,
    )
    custom = recipe.prompts if report.prompts == CUSTOM and recipe.prompts else None
    files = {
        "README.md": render_card(public, (out / "dataset").as_posix(), on_hub=False).encode(),
        **(
            {f"prompts/{name}.yaml": (find_folder(custom) / f"{name}.yaml").read_bytes() for name in list_names(custom)}
            if custom
            else {}
        ),
        "recipe.yaml": _resolve(recipe, report).to_yaml().encode(),
        "report.json": public.to_json(),
        **{f"assets/{name}.png": png for name, png in plots.items()},
        **_draw_gains(evaluation),
    }
    configs = {"default": inputs.sample, "instances": inputs.instances}
    write_dataset(out / "dataset", configs | ({"preferences": preferences} if preferences else {}), files)
    with without_bars():
        for name, trace in traces.items():
            if trace.rejected is not None:
                (out / "rejected").mkdir(exist_ok=True)
                trace.rejected.to_parquet(out / "rejected" / f"{name}.parquet")
        if "judge" in traces:
            traces["judge"].tables["judgements"].to_parquet(out / "judgements.parquet")
    write_changed(out / "report.json", report.to_json())
    return report


def add_evaluation(out: Path, figures: Mapping[str, object]) -> None:
    """Add the content of `evaluation.json` to the card and report of a build; unchanged files are not touched.

    Raises a HubError if the folder `out` has no built dataset, or it was built by another version, and a SourceError if
    a file but the card is not as it was built.
    """
    folder = out / "dataset"
    names = set(read_manifest(folder, without="README.md")) - {f"assets/{GAINS}.png"}
    report = replace(_read_report(folder), evaluation=dict(figures))
    gains = _draw_gains(figures)
    for name, png in gains.items():
        write_changed(folder / name, png)
    write_changed(folder / "report.json", report.to_json())
    write_changed(folder / "README.md", render_card(report, folder.as_posix(), on_hub=False).encode())
    write_manifest(folder, make_manifest(folder, {*names, *gains}))


def _draw_gains(evaluation: Mapping[str, Any] | None) -> dict[str, bytes]:
    """Return the figure of fine-tuning by its path; {} without figures of it."""
    training = (evaluation or {}).get("training")
    return {f"assets/{GAINS}.png": plot_gains(training)} if training else {}


def write_dataset(folder: Path, configs: Mapping[str, DatasetDict], files: Mapping[str, bytes]) -> None:
    """Write splits by config and other files by path next to an earlier folder, then replace that: never a mix of both.

    The manifest follows. A kill between the two renames leaves no folder; the next run writes it.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for config, splits in configs.items():
        (fresh / "data" / config).mkdir(parents=True)
        for split, dataset in splits.items():
            shards = min(max(1, -(-dataset.data.nbytes // _SHARD_BYTES)), len(dataset))
            for number in range(shards):
                path = fresh / "data" / config / f"{split}-{number:05d}-of-{shards:05d}.parquet"
                with without_bars():
                    dataset.shard(shards, number, contiguous=True).to_parquet(path)
    for name, content in files.items():
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        (fresh / name).write_bytes(content)
    manifest = make_manifest(fresh)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    write_manifest(folder, manifest)
    shutil.rmtree(old, ignore_errors=True)


def push_build(
    folder: str | Path,
    repo_id: str,
    *,
    license: str | None = None,
    language: str | None = None,
    private: bool = False,
    revision: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> Pushed:
    """Publish a built `dataset` folder on the Hub in one commit.

    Args:
        folder: The folder.
        repo_id: `user/name`.
        license: Of the dataset; replaces that of the build.
        language: Of the dataset; replaces that of the build.
        private: Whether a new repository is private.
        revision: Branch to commit to, created if missing; None: `main`.
        tag: Name for the commit.
        create_pr: Open a pull request instead of committing to the branch.
        token: Access token; None: HF_TOKEN or the stored one. Never written anywhere.

    Returns:
        The commit or pull request.

    Raises:
        HubError: If the folder is not a built dataset, or the Hub rejects the push or cannot be reached.
        SourceError: If a file but the card is not as it was built.
        RecipeError: If the name, the license or the language is not valid.
    """
    check_terms(license, language)
    report, built = _read_report(Path(folder)), read_manifest(Path(folder), without="README.md")
    _require_all_rows(report, built)
    report = replace(report, license=license or report.license, language=language or report.language)
    card = render_card(report, repo_id)
    files: dict[str, Path | bytes] = {**built, "README.md": card.encode()}
    pushed = push_files(
        files, repo_id, _OURS, private=private, revision=revision, tag=tag, create_pr=create_pr, token=token
    )
    return replace(pushed, license=report.license)


def _require_all_rows(report: BuildReport, files: Mapping[str, Path]) -> None:
    """Raise a HubError if the files do not have the rows that the report counts: a push would delete the others."""
    for config, splits in report.configs.items():
        for split, count in splits.items():
            shards = [path for name, path in files.items() if name.startswith(f"data/{config}/{split}-")]
            if (found := sum(pq.read_metadata(path).num_rows for path in shards)) != count:
                raise HubError(
                    f"the manifest names {found:,} of {count:,} rows of data/{config}/{split}: run the build again, it "
                    "sends no request"
                )


def _read_report(folder: Path) -> BuildReport:
    try:
        content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except OSError:
        raise HubError(
            f"{folder} is not a built dataset (it has no report.json): build one with `auto-instruct build`"
        ) from None
    except (ValueError, RecursionError):
        raise HubError(f"{folder / 'report.json'} is damaged: run the build again, it sends no request") from None
    return parse_report(content, folder)


def _read_evaluation(path: Path, digest: str) -> Facts | None:
    """Read an evaluation of the very rows with this digest; None if there is none."""
    try:
        found: Facts = json.loads(path.read_text(encoding="utf-8"))
        return found if found["dataset"]["digest"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not evaluated yet, or by another version


def _resolve(recipe: Recipe, report: BuildReport) -> Recipe:
    """Return the recipe that repeats the build: with the actual teacher and judge, without local paths."""
    model = "embedded" if report.is_embedded else report.teacher
    judge = hide_folder(recipe.judge.model) if recipe.judge.model else None
    if "judge" in report.phases or "preferences" in report.phases:
        found = report.phases.get("preferences") or report.phases["judge"]["before"]
        used: str = found["judge"]
        judge = model if used == report.teacher else used
    return replace(
        recipe,
        prompts="prompts" if report.prompts == CUSTOM else report.prompts,
        # Addresses, limits and prices are private and do not affect the rows.
        teacher=TeacherSettings(model=model, max_attempts=recipe.teacher.max_attempts),
        decontamination=replace(
            recipe.decontamination, sources=tuple(map(hide_folder, recipe.decontamination.sources))
        ),
        embedding=replace(recipe.embedding, model=report.embedding),
        judge=replace(recipe.judge, model=judge, base_url=None, input_price=None, cached_price=None, output_price=None),
    )
