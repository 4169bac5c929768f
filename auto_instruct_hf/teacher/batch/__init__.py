"""Requests through the Batch API."""

from .batches import Answer
from .rounds import BatchRounds

__all__ = ["Answer", "BatchRounds"]
