"""`auto-instruct prompts`: prompts of one's own, beginning with those of the package."""

from pathlib import Path
from typing import Annotated

import typer

from .console import exit_status, say

prompts_app = typer.Typer(no_args_is_help=True, help="Copy the prompts of the package, to change them.")


@prompts_app.callback()
def _keep_subcommands() -> None:
    """Copy the prompts of the package, to change them."""


@prompts_app.command("copy")
def copy_prompts(
    folder: Annotated[Path, typer.Argument(help="New folder for the prompts.")],
    set_name: Annotated[
        str, typer.Option("--set", help="Which set: default for large models, small for small ones.")
    ] = "default",
) -> None:
    """Copy a set of prompts to a folder, for `build --prompts FOLDER`."""
    with exit_status():
        from ..errors import PromptError
        from ..prompts import find_folder, list_names

        if set_name not in ("default", "small"):
            raise PromptError(f"--set is {set_name!r}; it should be default or small")
        if folder.exists() and any(folder.iterdir()):
            raise PromptError(f"{folder} is not empty: name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        names = list_names(set_name)
        for name in names:
            text = (find_folder(set_name) / f"{name}.yaml").read_bytes()
            (folder / f"{name}.yaml").write_bytes(text)
        say(f"{len(names)} prompts in {folder}; use them with: auto-instruct build --prompts {folder}")
