"""All requests to language models: the client, its journal, budget and prices."""

from .client import Teacher
from .endpoint import EMBEDDED, EMBEDDED_MODEL, Endpoint
from .exchange import NO_ANSWER, Ask, Reply, Request
from .journal import (
    PERCENTILES,
    Journal,
    JournalRow,
    Usage,
    failed_requests,
    find_request,
    open_journal,
    search_journal,
    summarise_journal,
)
from .prices import Cost, Prices, Rates, find_provider, rates_from

__all__ = [
    "EMBEDDED",
    "EMBEDDED_MODEL",
    "NO_ANSWER",
    "PERCENTILES",
    "Ask",
    "Cost",
    "Endpoint",
    "Journal",
    "JournalRow",
    "Prices",
    "Rates",
    "Reply",
    "Request",
    "Teacher",
    "Usage",
    "failed_requests",
    "find_provider",
    "find_request",
    "open_journal",
    "rates_from",
    "search_journal",
    "summarise_journal",
]
