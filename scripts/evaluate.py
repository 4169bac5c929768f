"""Evaluate a build, or any instruction dataset: measurements, a judge, people's ratings, and an HTML page."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from auto_instruct_hf import AutoInstructError, Recipe
from auto_instruct_hf.core import parse_columns
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.evaluation.measures import Figures
from auto_instruct_hf.evaluation.report import EvaluationFigures, read_any, read_build
from auto_instruct_hf.evaluation_pipeline import evaluate_into
from auto_instruct_hf.settings import override

TABLE_WIDTH = 120
MAX_SEED = 2**32 - 1

_OUT = Console(highlight=False, soft_wrap=True, markup=False)
_ERR = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def main(
    source: Annotated[
        str, typer.Argument(help="Folder of a build; or a Parquet, JSON(L) or CSV file, or a dataset on the Hub.")
    ],
    column: Annotated[
        list[str] | None,
        typer.Option(help="Where names differ: instruction=prompt; with a build, in --seeds. May be repeated."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of a dataset on the Hub.")] = None,
    split: Annotated[str | None, typer.Option(help="Which split of it; else train, or the only one.")] = None,
    revision: Annotated[str | None, typer.Option(help="Its revision.")] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Seed tasks to compare with: a file or a dataset; else the bundled, if it has those."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Model that judges, or 'embedded'; else gpt-4.1 with OPENAI_API_KEY, or OPENAI_BASE_URL's teacher."
        ),
    ] = None,
    judge_base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible endpoint; else OPENAI_BASE_URL. Its key: JUDGE_API_KEY.")
    ] = None,
    no_judge: Annotated[bool, typer.Option("--no-judge", help="Ask no model.")] = False,
    size: Annotated[int | None, typer.Option(min=1, help="Instances judged; 200.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0, max=MAX_SEED, help="US dollars for all requests in the journal, those of the build as well."
        ),
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Ask through the Batch API: half the price, slower.")] = False,
    no_embeddings: Annotated[bool, typer.Option("--no-embeddings", help="Measure only what needs no model.")] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="Seed of the samples; default: the build's, or 42.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="YAML file with settings of `judge` and `teacher`: prices, rates, retries.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; a build's are in its own, others in ./evaluation.")
    ] = None,
) -> None:
    """Measure a dataset, let a model judge a sample of it, and summarise people's ratings.

    Writes evaluation.json and evaluation.html, and the card of a build. A rerun sends no request.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    folder, is_build = out or Path("evaluation"), Path(source).is_dir()
    try:
        if no_judge and (judge or judge_base_url):
            raise RecipeError("--no-judge asks no model: leave out --judge and --judge-base-url, or that")
        if is_build and out is not None:
            raise RecipeError("--out is for datasets that are no build: the results of a build are in its folder")
        of_hub = {"--config": config, "--split": split, "--revision": revision}
        if Path(source).exists() and (unread := [name for name, value in of_hub.items() if value is not None]):
            raise RecipeError(
                f"{', '.join(unread)}: for datasets on the Hub, and {source} is on this disk: leave it out"
            )
        given = Recipe.from_yaml(recipe) if recipe else Recipe()
        judging = override(given.judge, {"model": judge, "base_url": judge_base_url, "size": size})
        asking = override(given.teacher, {"budget": budget, "batch": batch or None})
        columns = parse_columns(column)
        if is_build:
            folder = Path(source)
            dataset = read_build(folder, seeds, columns)
        else:
            dataset = read_any(source, columns, config=config, split=split, revision=revision, seeds=seeds)
        if recipe:
            dataset = replace(dataset, embedding=given.embedding)
        if seed is not None:
            dataset = replace(dataset, seed=seed)
        found, cost = evaluate_into(
            folder,
            dataset,
            is_build=is_build,
            settings=judging,
            asking=asking,
            with_judge=not no_judge,
            with_embeddings=not no_embeddings,
        )
    except RecipeError as error:
        _ERR.print(f"wrong usage: {error}")
        raise typer.Exit(2) from None
    except (AutoInstructError, OSError) as error:
        _ERR.print(f"error: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _ERR.print(f"stopped. All replies so far are in {folder}; run the same command again to resume")
        raise typer.Exit(1) from None
    _show(found.figures)
    if found.figures["judge"]:
        _OUT.print(f"Spent so far: {cost}.")
    _OUT.print(f"{folder / 'evaluation.html'} shows it; {folder / 'evaluation.json'} has all figures.")


def _show(figures: EvaluationFigures) -> None:
    """Print the four questions beside the published shares, and what is missing."""
    peers = list(dict.fromkeys(peer for row in figures["table"] for peer in row["published"]))
    table = Table(title=f"{figures['dataset']['name']}: shares of yes", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for name in ("judge", "people", *peers):
        table.add_column(name, justify="right", no_wrap=True)
    for row in figures["table"]:
        shares = (row["published"].get(peer) for peer in peers)
        published = ["" if share is None else f"{share:.1%}" for share in shares]
        table.add_row(row["name"], _interval(row["judge"]), _interval(row["people"]), *published)
    Console(width=TABLE_WIDTH, highlight=False, markup=False).print(table)
    for warning in (figures["judge"] or {}).get("warnings", ()):
        _OUT.print(warning)
    for name, reason in figures["left_out"].items():
        _OUT.print(f"left out: {name} ({reason})")


def _interval(share: Figures | None) -> str:
    return "" if share is None else f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


if __name__ == "__main__":
    typer.run(main)
