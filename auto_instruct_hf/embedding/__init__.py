"""Embeddings of texts, each computed once."""

from .embed import embed, encode_new
from .encoders import identify, make_encoder

__all__ = ["embed", "encode_new", "identify", "make_encoder"]
