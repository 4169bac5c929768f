"""Compare recipes: the same instructions completed in several ways."""

from .arms import ARMS, ablate
from .tables import make_tables

__all__ = ["ARMS", "ablate", "make_tables"]
