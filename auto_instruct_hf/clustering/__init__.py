"""Phase 4: topics of the instructions, by UMAP and a Gaussian mixture."""

from .phase import cluster
from .topics import name_table

__all__ = ["cluster", "name_table"]
