"""`auto-instruct recipe`: every setting with its default, to begin a recipe with."""

from .console import exit_status, say


def recipe_command() -> None:
    """Print the default recipe: every setting of a build, as YAML. `auto-instruct recipe > recipe.yaml` begins one."""
    with exit_status():
        from ..recipe import Recipe

        say(Recipe().to_yaml().rstrip())
