"""Instruction-tuning datasets from a few seed tasks and a teacher model."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
# Imported at first use (PEP 562): datasets, openai and scikit-learn take seconds.
_MODULES = {
    "clustering": ("cluster",),
    "curation": ("curate", "decontaminate"),
    "errors": ("AutoInstructError",),
    "generation": ("attribute", "bootstrap", "complete", "read_seeds"),
    "novelty": ("filter_novel",),
    "pipeline": ("Build", "build"),
    "publishing": ("push_build",),
    "recipe": ("Recipe",),
    "sampling": ("split", "stratify"),
    "teacher": ("Teacher",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version("auto-instruct-hf")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
