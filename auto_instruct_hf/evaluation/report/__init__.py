"""Measurements, verdicts and ratings of a dataset in one report."""

from .page import list_faults, list_headlines, render_page
from .reading import EvaluatedDataset, read_any, read_build
from .results import Evaluation, EvaluationFigures, evaluate

__all__ = [
    "EvaluatedDataset",
    "Evaluation",
    "EvaluationFigures",
    "evaluate",
    "list_faults",
    "list_headlines",
    "read_any",
    "read_build",
    "render_page",
]
