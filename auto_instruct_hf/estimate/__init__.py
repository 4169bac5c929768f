"""Estimate what a build will cost, without sending its requests."""

from .estimator import Estimate, compare, estimate, read_or_make, write
from .preview import describe, preview

__all__ = ["Estimate", "compare", "describe", "estimate", "preview", "read_or_make", "write"]
