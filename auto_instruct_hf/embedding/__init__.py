"""Embeddings of texts, each computed once."""

from .encoders import identify, make_encoder
from .phase import embed, encode_new

__all__ = ["embed", "encode_new", "identify", "make_encoder"]
