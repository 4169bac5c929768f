"""`auto-instruct recipe`: every setting of a recipe, to begin one with."""

from typing import Annotated

import typer

from .console import exit_status, say


def recipe_command(
    name: Annotated[str, typer.Argument(help="default; published, the published recipe; or a YAML file.")] = "default",
) -> None:
    """Print a recipe: every setting of a build, as YAML. `auto-instruct recipe > recipe.yaml` begins one."""
    with exit_status():
        from ..recipe import Recipe

        say(Recipe.from_yaml(name).to_yaml().rstrip())
