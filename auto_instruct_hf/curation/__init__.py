"""Phase 4: drop broken instances, and those close to an evaluation set."""

from .decontamination import decontaminate, read_evaluation_set
from .rules import curate

__all__ = ["curate", "decontaminate", "read_evaluation_set"]
