"""`auto-instruct finetune`: train a small model on a dataset and on others, and measure what each brings."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .console import exit_status, print_table, say

if TYPE_CHECKING:
    from ..evaluation.measures import Figures
    from ..teacher import Teacher

_TRAINING = "Training"
_RESUME = "What is finished is kept; run the same command again to resume"
TRL_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}


def finetune_command(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(help="Folder of a build or an ablation; or a Parquet, JSON(L) or CSV file, or a Hub dataset."),
    ],
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Tasks that people wrote, to test on, in any shape that seeds have: a file, a dataset on the Hub, or "
            "self-instruct for the 252 of its authors. May be repeated.",
            show_default="the build's own test split alone",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="The seed tasks of the dataset: an arm, and never a test.",
            show_default="the 175 of the package, if the build used them",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SOURCE",
            help="Another dataset to train on at the same budget. May be repeated.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    training_seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Runs of each arm.", show_default="3 on a GPU, 1 on a CPU", rich_help_panel=_TRAINING),
    ] = None,
    max_tasks: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Tasks of each test set.",
            show_default="all on a GPU, 40 on a CPU",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Tasks of each test set that the models answer.",
            show_default="252 on a GPU, 12 on a CPU",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Train for more than an hour on a CPU.", rich_help_panel=_TRAINING)
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Model that compares answers with the untouched model's.",
            show_default="no judge",
            rich_help_panel=options.JUDGE,
        ),
    ] = None,
    judge_base_url: options.JudgeBaseUrl = None,
    budget: options.MaxDollars = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the results.",
            show_default="finetune in the build's folder, else finetune",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Train a model on a dataset, its seeds, and a control at one budget, and measure human tasks held out.

    All other options are TRL's, as `trl sft` takes them: --model_name_or_path, --learning_rate, --max_steps,
    --use_peft, --config FILE.yaml. Without --model_name_or_path the packaged SmolLM2-135M-Instruct is trained.
    """
    # Read when torch is loaded: with libgomp's default of spinning, a step takes twice as long beside another job.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with exit_status(remedy=_RESUME):
        from ..errors import RecipeError

        if source.startswith("-"):
            raise RecipeError(f"name the dataset before the options: the first argument is {source}")
        if find_spec("trl") is None:
            raise RecipeError("training needs the extra finetune: pip install 'auto-instruct-hf[finetune]'")
        import torch

        from ..evaluation_pipeline import TRAINING, add_training
        from ..finetuning import ON_CPU, ON_GPU, finetune
        from ..settings import override

        folder = out or (Path(source) / TRAINING if Path(source).is_dir() else Path("finetune"))
        given = {"num_seeds": training_seeds, "max_tasks": max_tasks, "num_answers": answers}
        size = override(ON_GPU if torch.cuda.is_available() else ON_CPU, given)
        with _open_judge(judge, judge_base_url, budget, folder) as model:
            figures = finetune(
                source,
                folder,
                context.args,
                held_out=held_out or (),
                seeds=seeds,
                arms=_parse_arms(arm or []),
                size=size,
                judge=model,
                may_take_long=yes,
                say=say,
            )
        if int(os.environ.get("RANK", "0")):  # of several processes that `accelerate launch` started, one reports
            return
        _show(figures)
        if figures["digest"] and folder == Path(source) / TRAINING and not add_training(Path(source)):
            say(f"The card shows it; `auto-instruct evaluate {source}` adds it to the page.")
        say(f"The tables: {folder / 'figures.md'}; all figures: {folder / 'figures.json'}.")
        say(f"The same training without this package: trl sft --config {folder / 'sft.yaml'}")


def _open_judge(
    model: str | None, base_url: str | None, budget: float | None, folder: Path
) -> AbstractContextManager[Teacher | None]:
    from ..evaluation.judging import open_judge
    from ..recipe import JudgeSettings, TeacherSettings

    if model is None:
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    settings = JudgeSettings(model=model, base_url=base_url)
    return open_judge(model, settings, TeacherSettings(budget=budget), journal=folder / "journal.sqlite")


def _parse_arms(pairs: list[str]) -> dict[str, str]:
    from ..errors import RecipeError

    for pair in pairs:
        name, _, source = pair.partition("=")
        if not re.fullmatch(r"[\w.-]+", name) or not source:
            raise RecipeError(f"--arm is {pair!r}; it should be like alpaca=yahma/alpaca-cleaned")
    return dict(pair.split("=", 1) for pair in pairs)


def _show(figures: Figures) -> None:
    say(figures["summary"])
    for table in figures["tables"]:
        print_table(**table)
    for note in figures["notes"]:
        say(note)
