"""Estimate what a build will cost, without sending its requests."""

from .estimator import Estimate, PhaseComparison, compare_with_usage, estimate, read_or_make_estimate, write_estimate
from .preview import describe_exchanges, preview

__all__ = [
    "Estimate",
    "PhaseComparison",
    "compare_with_usage",
    "describe_exchanges",
    "estimate",
    "preview",
    "read_or_make_estimate",
    "write_estimate",
]
