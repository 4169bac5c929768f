"""`auto-instruct ablate`: the recipe beside parts of it, with one teacher and one budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import exit_status, print_table, say

if TYPE_CHECKING:
    from ..evaluation.measures import Figures

_DEMONSTRATION_SIZE = 16
_DEMONSTRATION_JUDGED = 6
_DEMONSTRATION = (
    " A demonstration: it shows that everything works; the output and the verdicts of so small a model say nothing "
    "about the recipe. For real figures set OPENAI_API_KEY or --teacher."
)


def ablate_command(
    seeds: options.Seeds = None,
    recipe: options.RecipeFile = None,
    teacher: options.TeacherModel = None,
    base_url: options.BaseUrl = None,
    num_instructions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instructions to bootstrap, shared by all arms.",
            show_default=f"10,000; {_DEMONSTRATION_SIZE} with the embedded teacher",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    num_samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of the sample of each arm.",
            show_default="half of the instructions",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(help="Arms to compare, separated by commas.", show_default="all", rich_help_panel=options.SIZE),
    ] = None,
    seed: options.Seed = None,
    judge: options.JudgeModel = None,
    judge_base_url: options.JudgeBaseUrl = None,
    no_judge: options.NoJudge = False,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instructions to judge in each arm.",
            show_default=f"200; {_DEMONSTRATION_JUDGED} with the embedded teacher",
            rich_help_panel=options.JUDGE,
        ),
    ] = None,
    budget: options.MaxDollars = None,
    batch: options.UseBatch = False,
    out: Annotated[
        Path, typer.Option(help="Folder of the build and of the comparison.", rich_help_panel=options.OUTPUT)
    ] = Path("out"),
    overwrite: options.Overwrite = False,
) -> None:
    """Complete the same instructions by parts of the recipe and by all of it, and compare.

    Requests that arms share are sent once. Interrupted at any point, the same command resumes. In the folder of a build
    that was made with the same settings, the build is not made again.
    """
    with exit_status(out):
        from ..ablation import ARMS, ablate
        from ..generation import read_seeds
        from ..recipe import Recipe
        from ..settings import override
        from ..teacher import Teacher

        given = Recipe.from_yaml(recipe) if recipe else Recipe()
        settings = replace(
            override(given, {"num_instructions": num_instructions, "seed": seed}),
            teacher=override(given.teacher, {"budget": budget, "batch": batch or None}),
            judge=override(given.judge, {"size": size, "model": judge, "base_url": judge_base_url}),
        )
        with Teacher(teacher, base_url=base_url, journal=out / "journal.sqlite", settings=settings.teacher) as model:
            if model.is_embedded and recipe is None:
                judged = replace(settings.judge, size=size or _DEMONSTRATION_JUDGED)
                settings = replace(settings, num_instructions=num_instructions or _DEMONSTRATION_SIZE, judge=judged)
            say(f"Teacher: {model.describe()}.{_DEMONSTRATION if model.is_embedded else ''}")
            names = [name.strip() for name in arms.split(",") if name.strip()] if arms else list(ARMS)
            report = ablate(
                read_seeds(seeds),
                model,
                out,
                settings,
                arms=names,
                num_samples=num_samples,
                with_judge=not no_judge,
                overwrite=overwrite,
            )
            _show(report)
            files = f"The tables: {out / 'ablation.md'}; all figures: {out / 'ablation.json'}."
            say(f"Spent so far: {model.spent()}. {files}")


def _show(report: Figures) -> None:
    from ..ablation import make_tables

    for one in make_tables(report):
        print_table(one.title, one.header, one.rows)
        if one.note:
            say(one.note)
    for warning in report["warnings"]:
        say(warning)
