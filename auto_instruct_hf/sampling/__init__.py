"""Phase 4: splits without leakage, and a stratified sample."""

from .apportionment import apportion
from .messages import add_messages
from .picking import pick, spread
from .splits import split
from .stratified_sample import EXPONENTS, SAMPLES_AN_INSTRUCTION, stratify

__all__ = ["EXPONENTS", "SAMPLES_AN_INSTRUCTION", "add_messages", "apportion", "pick", "split", "spread", "stratify"]
