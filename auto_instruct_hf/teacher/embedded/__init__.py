"""Models served on this machine: the one that comes with the package, or any GGUF file."""

from .local_models import MODEL, SLOTS, SUFFIX, LocalModel, find_model, is_gguf, start_embedded_server

__all__ = ["MODEL", "SLOTS", "SUFFIX", "LocalModel", "find_model", "is_gguf", "start_embedded_server"]
