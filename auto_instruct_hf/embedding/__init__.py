"""Embeddings of texts, each computed once."""

from .encoders import identify, make_encoder, require_model
from .phase import embed, encode_new

__all__ = ["embed", "encode_new", "identify", "make_encoder", "require_model"]
