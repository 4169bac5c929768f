"""Requests of workers in other processes: all go through one teacher, which alone has the journal and the limits."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BuildError

if TYPE_CHECKING:
    from .client import Teacher


class SharedAsk:
    """Stands for `ask` in the work list of a phase; an engine replaces it. A pickled copy has the phase, no secret."""

    def __init__(self, teacher: "Teacher", phase: str) -> None:
        self.phase = phase
        self.arguments: dict[str, Any] = teacher.arguments()
        """The arguments of the teacher. They include its key: not for a file."""

    def __getstate__(self) -> dict[str, object]:
        return {"phase": self.phase}

    def __call__(self, _: Path) -> Mapping[str, object]:
        """Raise a BuildError: only an engine can reach the teacher."""
        raise BuildError(f"{self.phase} asks the teacher: let the build itself run it, here or with --engine ray")
