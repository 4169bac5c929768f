"""Exact search in large pools, compiled with numba."""

from .engine import Compiled

__all__ = ["Compiled"]
