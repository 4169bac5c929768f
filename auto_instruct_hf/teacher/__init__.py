"""Everything that talks to a language model, and nothing else does."""

from .client import Teacher
from .endpoint import EMBEDDED, Endpoint
from .exchange import Ask, Reply, Request
from .journal import Journal, Usage
from .prices import Cost, Prices, Rates, find_provider, rates_from

__all__ = [
    "EMBEDDED",
    "Ask",
    "Cost",
    "Endpoint",
    "Journal",
    "Prices",
    "Rates",
    "Reply",
    "Request",
    "Teacher",
    "Usage",
    "find_provider",
    "rates_from",
]
