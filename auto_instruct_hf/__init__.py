"""Instruction-tuning datasets from a few seed tasks and a teacher model."""

from .attribution import attribute
from .bootstrap import bootstrap
from .clustering import cluster
from .completion import complete
from .curation import curate
from .decontamination import decontaminate
from .errors import AutoInstructError
from .novelty import filter_novel
from .pipeline import Build, build
from .publish import push_build
from .recipe import Recipe
from .sampling import stratify
from .seeds import read_seeds
from .splitting import split
from .teacher import Teacher

__all__ = [
    "AutoInstructError",
    "Build",
    "Recipe",
    "Teacher",
    "attribute",
    "bootstrap",
    "build",
    "cluster",
    "complete",
    "curate",
    "decontaminate",
    "filter_novel",
    "push_build",
    "read_seeds",
    "split",
    "stratify",
]
