"""Compare the recipe with parts of it, with one teacher and one budget."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from auto_instruct_hf import AutoInstructError, Recipe, Teacher, read_seeds
from auto_instruct_hf.ablation import ARMS, ablate, make_tables
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.evaluation.measures import Figures
from auto_instruct_hf.settings import override

DEMONSTRATION_SIZE = 16
DEMONSTRATION_JUDGED = 6
TABLE_WIDTH = 132
DEMONSTRATION = (
    " A demonstration: it shows that everything works; the output and the verdicts of so small a model say nothing "
    "about the recipe. For real figures set OPENAI_API_KEY or --teacher."
)

_OUT = Console(highlight=False, soft_wrap=True, markup=False)
_ERR = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def main(
    seeds: Annotated[
        str | None, typer.Option(help="Seed tasks: a JSON(L), CSV or Parquet file, or a dataset on the Hub.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Model name, or 'embedded' for the small one that comes with the package.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint; else OPENAI_BASE_URL.")] = None,
    num_instructions: Annotated[
        int | None, typer.Option(min=1, help="Instructions to bootstrap, for all arms.")
    ] = None,
    num_samples: Annotated[
        int | None, typer.Option(min=1, help="Rows of the sample of each arm; else half of the instructions.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    arms: Annotated[str, typer.Option(help="Which to compare, with commas between them.")] = ",".join(ARMS),
    size: Annotated[int | None, typer.Option(min=1, help="Instructions judged in each arm.")] = None,
    judge: Annotated[str | None, typer.Option(help="Model that judges; default: another than the teacher.")] = None,
    judge_base_url: Annotated[str | None, typer.Option(help="Endpoint of the judge; default: the teacher's.")] = None,
    no_judge: Annotated[bool, typer.Option("--no-judge", help="Measure only.")] = False,
    budget: Annotated[
        float | None, typer.Option(min=0, help="US dollars for all requests of all arms, the judge's included.")
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Ask through the Batch API: half the price, slower.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the build and of the comparison.")] = Path("out"),
    recipe: Annotated[Path | None, typer.Option(help="YAML file with settings that differ from the defaults.")] = None,
) -> None:
    """Take the same instructions of one teacher through parts of the recipe and through all of it, and compare.

    What the arms have in common is requested once. After an interruption the same command resumes. In the folder of a
    build that was made with the same settings, the build is not made again.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        given = Recipe.from_yaml(recipe) if recipe else Recipe()
        settings = replace(
            override(given, {"num_instructions": num_instructions, "seed": seed}),
            teacher=override(given.teacher, {"budget": budget, "batch": batch or None}),
            judge=override(given.judge, {"size": size, "model": judge, "base_url": judge_base_url}),
        )
        with Teacher(teacher, base_url=base_url, journal=out / "journal.sqlite", settings=settings.teacher) as model:
            if model.is_embedded and recipe is None:
                settings = _make_small(settings, num_instructions, size)
            _OUT.print(f"Teacher: {model.describe()}.{DEMONSTRATION if model.is_embedded else ''}")
            names = [name.strip() for name in arms.split(",") if name.strip()]
            report = ablate(
                read_seeds(seeds), model, out, settings, arms=names, num_samples=num_samples, with_judge=not no_judge
            )
            _show(report)
            _OUT.print(
                f"Spent so far: {model.spent()}. The tables: {out / 'ablation.md'}; all: {out / 'ablation.json'}."
            )
    except RecipeError as error:
        _ERR.print(f"wrong usage: {error}")
        raise typer.Exit(2) from None
    except AutoInstructError as error:
        _ERR.print(f"error: {error}")
        raise typer.Exit(1) from None
    except OSError as error:
        _ERR.print(f"error: {error}. All replies so far are in {out}; fix this and run the same command again")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _ERR.print(f"stopped. All replies so far are in {out}; run the same command again to resume")
        raise typer.Exit(1) from None


def _make_small(recipe: Recipe, num_instructions: int | None, size: int | None) -> Recipe:
    """Return a recipe of a size that a small model on a CPU gets through in minutes."""
    return replace(
        recipe,
        num_instructions=num_instructions or DEMONSTRATION_SIZE,
        judge=replace(recipe.judge, size=size or DEMONSTRATION_JUDGED),
    )


def _show(report: Figures) -> None:
    console = Console(width=max(_OUT.width, TABLE_WIDTH), highlight=False, markup=False)
    for one in make_tables(report):
        table = Table(title=one.title, box=SIMPLE)
        for number, name in enumerate(one.header):
            table.add_column(name, justify="right" if number else "left")
        for row in one.rows:
            table.add_row(*row)
        console.print(table)
        if one.note:
            _OUT.print(one.note)
    for warning in report["warnings"]:
        _OUT.print(warning)


if __name__ == "__main__":
    typer.run(main)
