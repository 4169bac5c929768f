"""`auto-instruct push`: publish a build on the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .console import exit_status, say


def push_command(
    out: Annotated[Path, typer.Argument(help="Folder of a build.")],
    repo_id: Annotated[str, typer.Argument(help="USER/NAME of the dataset on the Hub.")],
    license: options.License = None,
    language: options.Language = None,
    private: options.Private = False,
    revision: options.Revision = None,
    tag: options.Tag = None,
    create_pr: options.CreatePr = False,
) -> None:
    """Publish a build on the Hub in one commit, or not at all. Needs no teacher.

    HF_TOKEN and HF_ENDPOINT mean what they mean everywhere. License and language replace those of the build.
    """
    with exit_status():
        from ..publishing import push_build

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
        say(pushed.describe())
        if not pushed.license:
            say("The card states no license: push again with --license to add one.")
