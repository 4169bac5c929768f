"""The model that comes with the package, served on this machine."""

from .embedded_server import MODEL

__all__ = ["MODEL"]
