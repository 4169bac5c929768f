"""The typer app: one subcommand per module of this folder."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from .ablate import ablate_command
from .build import build_command
from .evaluate import evaluate_command
from .finetune import TRL_ARGUMENTS, finetune_command
from .journal import journal_command
from .prompts import prompts_app
from .push import push_command
from .rate import rate_command
from .recipe import recipe_command
from .work import work_command

app = typer.Typer(
    name="auto-instruct", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
app.command("build")(build_command)
app.command("work")(work_command)
app.command("push")(push_command)
app.command("evaluate")(evaluate_command)
app.command("rate")(rate_command)
app.command("ablate")(ablate_command)
app.command("finetune", context_settings=TRL_ARGUMENTS)(finetune_command)
app.command("journal")(journal_command)
app.command("recipe")(recipe_command)
app.add_typer(prompts_app, name="prompts")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"auto-instruct-hf {version('auto-instruct-hf')}")
        raise typer.Exit


@app.callback()
def _describe(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Make instruction-tuning datasets from a few seed tasks and a teacher model."""


def main() -> None:
    """Run `auto-instruct` with the arguments of the process."""
    app()


def run_command(name: str) -> None:
    """Run one subcommand with the arguments of the process, as `scripts/NAME.py` does."""
    app([name, *sys.argv[1:]], prog_name=f"python {Path(sys.argv[0]).name}")
