"""Models served on this machine: the one that comes with the package, or any GGUF file."""

from .local_models import SMOLLM, SUFFIX, LocalModel, find_model, find_packaged_weights, is_gguf, start_embedded_server

__all__ = [
    "SMOLLM",
    "SUFFIX",
    "LocalModel",
    "find_model",
    "find_packaged_weights",
    "is_gguf",
    "start_embedded_server",
]
