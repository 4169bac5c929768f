"""Phase 4: splits without leakage, and a stratified sample."""

from .allocation import allocate_by_kind
from .messages import add_messages, make_completion, make_prompt
from .splits import split
from .stratified_sample import SAMPLES_AN_INSTRUCTION, pick, stratify

__all__ = [
    "SAMPLES_AN_INSTRUCTION",
    "add_messages",
    "allocate_by_kind",
    "make_completion",
    "make_prompt",
    "pick",
    "split",
    "stratify",
]
