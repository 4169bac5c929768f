"""Estimate what a build will cost, without sending its requests."""

from .estimator import compare, read_or_make

__all__ = ["compare", "read_or_make"]
