"""`auto-instruct evaluate`: measurements, a judge, people's ratings, and an HTML page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import exit_status, print_table, say
from .judge_output import show_faults

if TYPE_CHECKING:
    from ..evaluation.measures import Figures
    from ..evaluation.report import EvaluationFigures

_HUB = "A dataset on the Hub"


def evaluate_command(
    source: Annotated[
        str, typer.Argument(help="Folder of a build; or a Parquet, JSON(L) or CSV file, or a dataset on the Hub.")
    ],
    column: options.Column = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seed tasks to compare with: a file, or a dataset on the Hub.",
            show_default="the 175 of the package, if the build used them",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    recipe: options.RecipeFile = None,
    config: Annotated[str | None, typer.Option(help="Its configuration.", rich_help_panel=_HUB)] = None,
    split: Annotated[
        str | None, typer.Option(help="Its split.", show_default="train, or the only one", rich_help_panel=_HUB)
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Its revision.", rich_help_panel=_HUB)] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Model that judges, or 'embedded'.",
            show_default="gpt-4.1 with OPENAI_API_KEY, the teacher with OPENAI_BASE_URL",
            rich_help_panel=options.JUDGE,
        ),
    ] = None,
    judge_base_url: options.JudgeBaseUrl = None,
    no_judge: options.NoJudge = False,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Instances to judge.", show_default="200", rich_help_panel=options.JUDGE),
    ] = None,
    budget: options.MaxDollars = None,
    batch: options.UseBatch = False,
    no_embeddings: Annotated[
        bool, typer.Option("--no-embeddings", help="Leave out the measurements that need an embedding model.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=options.MAX_SEED, help="Seed of the samples.", show_default="the build's, or 42"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the results, for a dataset that is not a build.",
            show_default="the build's folder, else evaluation",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Measure a dataset, let a model judge a sample of it, and summarise people's ratings.

    Writes evaluation.json and evaluation.html, and the card of a build. A rerun sends no request.
    """
    is_build = Path(source).is_dir()
    folder = Path(source) if is_build else out or Path("evaluation")
    with exit_status(folder):
        from ..core import parse_columns
        from ..errors import RecipeError
        from ..evaluation.report import read_any, read_build
        from ..evaluation_pipeline import evaluate_into
        from ..recipe import Recipe
        from ..settings import override

        if no_judge and (judge or judge_base_url):
            raise RecipeError("--no-judge asks no model: leave out --judge and --judge-base-url, or that")
        if is_build and out is not None:
            raise RecipeError("--out is for datasets that are not a build: the results of a build are in its folder")
        of_hub = {"--config": config, "--split": split, "--revision": revision}
        if Path(source).exists() and (unread := [name for name, value in of_hub.items() if value is not None]):
            raise RecipeError(
                f"{', '.join(unread)}: for datasets on the Hub, and {source} is a local path: leave it out"
            )
        given = Recipe.from_yaml(recipe) if recipe else Recipe()
        if is_build:
            dataset = read_build(folder, seeds, parse_columns(column))
        else:
            columns = parse_columns(column)
            dataset = read_any(source, columns, config=config, split=split, revision=revision, seeds=seeds)
        if recipe:
            dataset = replace(dataset, embedding=given.embedding)
        if seed is not None:
            dataset = replace(dataset, seed=seed)
        found, cost = evaluate_into(
            folder,
            dataset,
            is_build=is_build,
            settings=override(given.judge, {"model": judge, "base_url": judge_base_url, "size": size}),
            asking=override(given.teacher, {"budget": budget, "batch": batch or None}),
            with_judge=not no_judge,
            with_embeddings=not no_embeddings,
        )
        _show(found.figures)
        if found.figures["judge"]:
            say(f"Spent so far: {cost}.")
        say(f"{folder / 'evaluation.html'} shows it; {folder / 'evaluation.json'} has all figures.")


def _show(figures: EvaluationFigures) -> None:
    """Print the questions beside the published shares, how many planted faults were caught, and what is missing."""
    peers = list(dict.fromkeys(peer for row in figures["table"] for peer in row["published"]))
    rows = []
    for row in figures["table"]:
        shares = (row["published"].get(peer) for peer in peers)
        published = ["" if share is None else f"{share:.1%}" for share in shares]
        rows.append([row["name"], _interval(row["judge"]), _interval(row["people"]), *published])
    if figures["judge"] or figures["ratings"]:
        print_table(f"{figures['dataset']['name']}: shares of yes", ("", "judge", "people", *peers), rows)
    if figures["judge"]:
        show_faults(figures["judge"])
    for warning in (figures["judge"] or {}).get("warnings", ()):
        say(warning)
    for name, reason in figures["left_out"].items():
        say(f"left out: {name} ({reason})")


def _interval(share: Figures | None) -> str:
    return "" if share is None else f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})"
