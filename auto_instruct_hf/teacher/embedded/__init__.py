"""The model that comes with the package, served on this machine."""

from .embedded_server import MODEL, SLOTS, start_embedded_server

__all__ = ["MODEL", "SLOTS", "start_embedded_server"]
