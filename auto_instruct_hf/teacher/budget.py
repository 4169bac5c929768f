"""A budget: a request goes out only if even the dearest answer to it, and to all in flight, stays within it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import accumulate, islice, takewhile
from typing import Any

from ..errors import BudgetError
from .prices import Rates

# What servers add to each message (role, separators), with room to spare.
_TOKENS_A_MESSAGE = 16
_MARGIN = 1.25


def most_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens a request can have at most: input (no token is shorter than a byte) and output."""
    schema = json.dumps(body.get("response_format", ""), ensure_ascii=False)
    texts = [schema, *(message["content"] for message in body["messages"])]
    return sum(len(text.encode()) + _TOKENS_A_MESSAGE for text in texts), body["max_tokens"]


class Budget:
    """Money for all requests of a journal, those of earlier runs included.

    Args:
        dollars: US dollars; None: as much as it takes.
        spent: Returns what has been spent so far.
    """

    def __init__(self, dollars: float | None, spent: Callable[[], float]) -> None:
        self._dollars = dollars
        self._spent = spent
        self._reserved: dict[int, float] = {}
        self._last = 0
        self._settled = asyncio.Event()

    @asynccontextmanager
    async def room(self, body: dict[str, Any], rates: Rates | None) -> AsyncIterator[None]:
        """Wait until a request fits, and keep its room until its cost is known.

        Args:
            body: The request.
            rates: The model's.

        Yields:
            Nothing; on leaving, the cost must stand in the journal.

        Raises:
            BudgetError: If it does not fit although nothing else is in flight.
        """
        if self._dollars is None or rates is None:
            yield
            return
        most = rates.cost(*most_tokens(body), is_batch=False)
        while not self._has_room(most):
            if not self._reserved:
                raise BudgetError(self._describe(most))
            self._settled.clear()
            await self._settled.wait()
        self._last += 1
        number = self._last
        self._reserved[number] = most
        try:
            yield
        finally:
            del self._reserved[number]
            self._settled.set()

    def choose(
        self, bodies: dict[str, dict[str, Any]], rates: Rates | None, mean: float | None, least: int
    ) -> dict[str, dict[str, Any]]:
        """Choose the requests of a batch: what it will cost is known only when all of it is paid for.

        Args:
            bodies: The requests by key.
            rates: The model's.
            mean: What such requests cost until now in a batch, on the mean; a quarter more is reckoned with. None: not
                known, so each is reckoned at the dearest answer.
            least: As few are not worth a batch.

        Returns:
            As many of the first as fit.

        Raises:
            BudgetError: If fewer than `least` do, of more.
        """
        if self._dollars is None or rates is None:
            return bodies
        each = [
            rates.cost(*most_tokens(body), is_batch=True) if mean is None else _MARGIN * mean
            for body in bodies.values()
        ]
        number = sum(1 for _ in takewhile(self._has_room, accumulate(each)))
        if number < min(least, len(bodies)):
            raise BudgetError(self._describe(sum(each[:least])))
        return dict(islice(bodies.items(), number))

    def _has_room(self, most: float) -> bool:
        """Return whether a request that costs so much at most still fits."""
        return self._dollars is None or self._spent() + sum(self._reserved.values()) + most <= self._dollars

    def _describe(self, most: float) -> str:
        return (
            f"the budget of ${self._dollars:.2f} does not cover the next request: ${self._spent():.4f} are spent, and "
            f"it may cost ${most:.4f}. Raise --budget and run the same command again to go on from there"
        )
