"""All requests to language models: the client, its journal, budget and prices."""

from .client import Teacher
from .embedded import find_packaged_weights
from .endpoint import EMBEDDED, EMBEDDED_MODEL, Endpoint
from .exchange import NO_ANSWER, NOT_YET, Ask, Reply, Request
from .groups import GroupedItem, ask_groups
from .inspection import (
    PERCENTILES,
    JournalRow,
    failed_requests,
    find_request,
    open_journal,
    recover_journal,
    search_journal,
    summarise_journal,
)
from .journal import Journal, Usage
from .prices import Cost, Prices, Rates, find_provider, rates_from
from .redaction import without_secrets
from .shared_ask import SharedAsk

__all__ = [
    "EMBEDDED",
    "EMBEDDED_MODEL",
    "NOT_YET",
    "NO_ANSWER",
    "PERCENTILES",
    "Ask",
    "Cost",
    "Endpoint",
    "GroupedItem",
    "Journal",
    "JournalRow",
    "Prices",
    "Rates",
    "Reply",
    "Request",
    "SharedAsk",
    "Teacher",
    "Usage",
    "ask_groups",
    "failed_requests",
    "find_packaged_weights",
    "find_provider",
    "find_request",
    "open_journal",
    "rates_from",
    "recover_journal",
    "search_journal",
    "summarise_journal",
    "without_secrets",
]
