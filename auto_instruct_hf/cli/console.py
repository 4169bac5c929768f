"""What all commands share: consoles, tables, and the exit status of an error."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ..errors import AutoInstructError, RecipeError

OUT = Console(highlight=False, soft_wrap=True, markup=False)
ERR = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
_WIDTH_OF_A_FILE = 120


@contextmanager
def exit_status(out: Path | None = None, remedy: str = "") -> Iterator[None]:
    """Print an error as one line and exit: 2 for wrong usage, 1 for a failure, 130 for Ctrl-C.

    Args:
        out: Folder whose journal makes the command resumable; None: nothing to resume.
        remedy: What to do after a failure, in place of running the same command again.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    resume = f"All replies so far are in {out}; run the same command again to resume" if out else ""
    try:
        yield
    except RecipeError as error:
        ERR.print(f"wrong usage: {error}")
        raise typer.Exit(2) from None
    except AutoInstructError as error:
        ERR.print(f"error: {error}{f'. {remedy}' if remedy else ''}")
        raise typer.Exit(1) from None
    except OSError as error:
        ERR.print(f"error: {error}{f'. {resume}' if resume else ''}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        ERR.print(f"stopped. {resume}" if resume else "stopped")
        raise typer.Exit(130) from None


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right, as wide as the terminal."""
    table = Table(title=title, box=SIMPLE)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    width = None if OUT.is_terminal else _WIDTH_OF_A_FILE
    Console(width=width, highlight=False, markup=False).print(table)
