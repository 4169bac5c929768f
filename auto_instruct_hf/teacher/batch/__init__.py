"""Requests through the Batch API."""

from .batches import Answer
from .rounds import Waves

__all__ = ["Answer", "Waves"]
