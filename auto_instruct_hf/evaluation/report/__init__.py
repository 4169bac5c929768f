"""Measurements, verdicts and ratings of a dataset in one report."""

from ..built_folder import digest_splits
from .evaluation import Evaluation, EvaluationFigures, evaluate
from .headlines import list_headlines
from .page import render_page
from .reading import EvaluatedDataset, read_any, read_build

__all__ = [
    "EvaluatedDataset",
    "Evaluation",
    "EvaluationFigures",
    "digest_splits",
    "evaluate",
    "list_headlines",
    "read_any",
    "read_build",
    "render_page",
]
