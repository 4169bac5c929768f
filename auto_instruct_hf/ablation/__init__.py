"""Compare recipes: the same instructions completed in several ways."""

from .arm_files import ARMS, read_arms
from .arms import ablate
from .tables import make_tables

__all__ = ["ARMS", "ablate", "make_tables", "read_arms"]
