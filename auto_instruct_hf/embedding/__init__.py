"""Embeddings of texts, each computed once."""

from .encoders import Encode, identify, make_encoder, require_model
from .phase import embed, open_encoder

__all__ = ["Encode", "embed", "identify", "make_encoder", "open_encoder", "require_model"]
