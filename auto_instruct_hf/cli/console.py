"""What all commands share: consoles, tables, and the exit status of an error."""

import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ..errors import AutoInstructError, RecipeError

_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
_OUT = Console(soft_wrap=True, **_AS_IT_IS)
_ERR = Console(stderr=True, soft_wrap=True, **_AS_IT_IS)
# Control characters but line ends and tabs, and those that change the direction of text: a terminal obeys them. Halves
# of surrogate pairs cannot be printed.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_WIDTH_OF_A_FILE = 120


def printable(text: str) -> str:
    """Replace characters that a terminal would obey, as in replies of models and servers."""
    return _CONTROL.sub("\ufffd", text)


def say(text: str) -> None:
    """Print text to standard output."""
    _OUT.print(printable(text))


def complain(text: str) -> None:
    """Print text to standard error."""
    _ERR.print(printable(text))


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _PrintableRecord(logging.LogRecord):
    """For the handlers that libraries have of their own."""

    def getMessage(self) -> str:  # noqa: N802  # the name in logging
        return printable(super().getMessage())


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    complain("".join(traceback.format_exception(kind, error, trace)))


def _print_libraries_safely() -> None:
    """Make what libraries log, warnings and tracebacks printable: they repeat what servers send."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.setLogRecordFactory(_PrintableRecord)
    logging.captureWarnings(True)
    sys.excepthook = _print_traceback
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it repeats each retry; the error at the end says it


@contextmanager
def exit_status(out: Path | None = None, remedy: str = "") -> Iterator[None]:
    """Print an error as one line and exit: 2 for wrong usage, 1 for a failure, 130 for Ctrl-C.

    Args:
        out: Folder whose journal makes the command resumable; None: nothing to resume.
        remedy: What to do after a failure, in place of running the same command again.
    """
    _print_libraries_safely()
    resume = f"All replies so far are in {out}; run the same command again to resume" if out else ""
    try:
        yield
    except RecipeError as error:
        complain(f"wrong usage: {error}")
        raise typer.Exit(2) from None
    except AutoInstructError as error:
        complain(f"error: {error}{f'. {remedy}' if remedy else ''}")
        raise typer.Exit(1) from None
    except OSError as error:
        complain(f"error: {error}{f'. {resume}' if resume else ''}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        complain(f"stopped. {resume}" if resume else "stopped")
        raise typer.Exit(130) from None


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right, as wide as the terminal."""
    table = Table(title=printable(title), box=SIMPLE)
    for number, name in enumerate(header):
        table.add_column(printable(name), justify="right" if number else "left")
    for row in rows:
        table.add_row(*map(printable, row))
    width = None if _OUT.is_terminal else _WIDTH_OF_A_FILE
    Console(width=width, **_AS_IT_IS).print(table)
