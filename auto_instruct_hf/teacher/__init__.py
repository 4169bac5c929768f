"""Everything that talks to a language model, and nothing else does."""

from .client import Teacher
from .exchange import Ask, Reply, Request
from .journal import Journal

__all__ = ["Ask", "Journal", "Reply", "Request", "Teacher"]
