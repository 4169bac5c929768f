"""Requests through the Batch API."""

from .rounds import BatchRounds

__all__ = ["BatchRounds"]
