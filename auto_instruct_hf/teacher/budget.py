"""A budget: the worst-case cost of each request is reserved before it is sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate, islice, takewhile

from ..errors import BudgetError
from .exchange import Body
from .journal import Journal
from .prices import Prices, Rates

_TOKENS_PER_MESSAGE = 16  # role and separators, rounded up
_MARGIN = 1.25


def max_request_tokens(body: Body) -> tuple[int, int]:
    """Return the maximum input tokens (no token is shorter than a byte) and output tokens of a request."""
    schema = json.dumps(body.get("response_format", ""), ensure_ascii=False)
    texts = [schema, *(message["content"] for message in body["messages"])]
    return sum(len(text.encode()) + _TOKENS_PER_MESSAGE for text in texts), body["max_tokens"]


class Budget:
    """A limit in US dollars (None: no limit) on the cost of all requests in a journal; unknown prices count as zero."""

    def __init__(self, dollars: float | None, journal: Journal, prices: Prices) -> None:
        self._dollars, self._journal, self._prices = dollars, journal, prices
        self._reserved: dict[object, float] = {}
        self._settled = asyncio.Event()

    @asynccontextmanager
    async def reserve(self, body: Body, rates: Rates | None) -> AsyncIterator[None]:
        """Wait until the worst-case cost of a request fits, and reserve it until the context ends.

        The cost must be in the journal when the context ends. Raise BudgetError if it does not fit and no other request
        is in flight.
        """
        if self._dollars is None or rates is None:
            yield
            return
        worst = rates.cost(*max_request_tokens(body), is_batch=False)
        while not self._fits(worst):
            if not self._reserved:
                raise BudgetError(self._explain(worst))
            self._settled.clear()
            await self._settled.wait()
        reservation = object()
        self._reserved[reservation] = worst
        try:
            yield
        finally:
            del self._reserved[reservation]
            self._settled.set()

    def choose(
        self, bodies: dict[str, Body], rates: Rates | None, average: float | None, min_requests: int
    ) -> dict[str, Body]:
        """Return the first requests of a batch that fit; its cost is known only when all of it is paid.

        A request counts as `average` (US dollars) with a 25 % margin, or as its worst case if that is None. Raise
        BudgetError if fewer than `min_requests` fit although there are more.
        """
        if self._dollars is None or rates is None:
            return bodies
        each = [
            rates.cost(*max_request_tokens(body), is_batch=True) if average is None else _MARGIN * average
            for body in bodies.values()
        ]
        number = sum(1 for _ in takewhile(self._fits, accumulate(each)))
        if number < min(min_requests, len(bodies)):
            raise BudgetError(self._explain(sum(each[:min_requests])))
        return dict(islice(bodies.items(), number))

    def _spent(self) -> float:
        return sum(self._prices.price(usage).dollars or 0.0 for usage in self._journal.usage())

    def _fits(self, dollars: float) -> bool:
        return self._dollars is None or self._spent() + sum(self._reserved.values()) + dollars <= self._dollars

    def _explain(self, dollars: float) -> str:
        return (
            f"the budget of ${self._dollars:.2f} does not cover the next request: ${self._spent():.4f} are spent, and "
            f"it may cost ${dollars:.4f}. Raise --budget and run the same command again to continue from here"
        )
