"""Models served on this machine: the one that comes with the package, or any GGUF file."""

from .embedded_server import MODEL, SLOTS, start_embedded_server
from .gguf_model import SUFFIX, LocalModel, find_model, is_gguf

__all__ = ["MODEL", "SLOTS", "SUFFIX", "LocalModel", "find_model", "is_gguf", "start_embedded_server"]
