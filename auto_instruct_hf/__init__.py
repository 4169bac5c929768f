"""Instruction-tuning datasets from a few seed tasks and a teacher model."""

from .clustering import cluster
from .curation import curate, decontaminate
from .errors import AutoInstructError
from .generation import attribute, bootstrap, complete, read_seeds
from .novelty import filter_novel
from .pipeline import Build, build
from .publishing import push_build
from .recipe import Recipe
from .sampling import split, stratify
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
