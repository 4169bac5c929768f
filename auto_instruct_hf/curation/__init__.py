"""Phase 4: drop broken instances, and those close to an evaluation set."""

from .decontamination import decontaminate
from .rules import curate

__all__ = ["curate", "decontaminate"]
