"""Publish a build on the Hub; no teacher is needed."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from auto_instruct_hf import AutoInstructError, push_build
from auto_instruct_hf.errors import RecipeError


def main(
    out: Annotated[Path, typer.Argument(help="Folder of a build.")],
    repo_id: Annotated[str, typer.Argument(help="USER/NAME of the dataset on the Hub.")],
    license: Annotated[str | None, typer.Option(help="License of the dataset; replaces that of the build.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the dataset; replaces that of the build.")] = None,
    private: Annotated[bool, typer.Option(help="A new repository is private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to publish on.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the published commit, like v1.2.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")] = False,
) -> None:
    """Publish a build on the Hub in one commit, or not at all.

    HF_TOKEN and HF_ENDPOINT mean what they mean everywhere.
    """
    try:
        pushed = push_build(
            out / "dataset",
            repo_id,
            license=license,
            language=language,
            private=private,
            revision=revision,
            tag=tag,
            create_pr=create_pr,
        )
        Console(highlight=False, soft_wrap=True, markup=False).print(pushed.describe())
    except RecipeError as error:
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"wrong usage: {error}")
        raise typer.Exit(2) from None
    except (AutoInstructError, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"error: {error}")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
