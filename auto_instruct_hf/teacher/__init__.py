"""Everything that talks to a language model, and nothing else does."""

from .client import Reply, Request, Teacher
from .journal import Journal

__all__ = ["Journal", "Reply", "Request", "Teacher"]
