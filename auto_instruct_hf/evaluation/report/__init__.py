"""Measurements, verdicts and ratings of a dataset in one report."""

from .evaluation import Evaluation, evaluate
from .headlines import list_headlines
from .page import render_page
from .reading import Material, digest_splits

__all__ = ["Evaluation", "Material", "digest_splits", "evaluate", "list_headlines", "render_page"]
