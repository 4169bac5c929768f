"""Phase 4: drop broken instances, and those close to an evaluation set."""

from .decontamination import EvaluationSet, decontaminate, decontaminate_batch, read_evaluation_set
from .rules import curate

__all__ = ["EvaluationSet", "curate", "decontaminate", "decontaminate_batch", "read_evaluation_set"]
