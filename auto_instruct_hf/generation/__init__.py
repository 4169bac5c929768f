"""Phases 1 to 3: bootstrap instructions, attribute and complete them."""

from .attribution import attribute, attribute_batch
from .bootstrap import bootstrap, count_per_request, draw_batch
from .completion import complete, complete_batch
from .instruction_pool import MORE_THAN_ASKED_FOR, InstructionPool
from .rounds import simulate_rounds
from .seeds import BUNDLED, BUNDLED_NAME, read_seeds

__all__ = [
    "BUNDLED",
    "BUNDLED_NAME",
    "MORE_THAN_ASKED_FOR",
    "InstructionPool",
    "attribute",
    "attribute_batch",
    "bootstrap",
    "complete",
    "complete_batch",
    "count_per_request",
    "draw_batch",
    "read_seeds",
    "simulate_rounds",
]
