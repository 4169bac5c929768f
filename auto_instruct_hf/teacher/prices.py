"""Prices of tokens, from the list prices in `genai-prices` (offline), and the budget for them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, islice, takewhile

from ..errors import BudgetError
from ..recipe import TeacherSettings
from .embedded import SMOLLM, SUFFIX
from .exchange import Body
from .journal import Journal, Usage

BATCH_DISCOUNT = 0.5
"""Price factor of OpenAI and others for batches."""
_MILLION = 1_000_000
_TOKENS_PER_MESSAGE = 16  # role and separators, rounded up
_MARGIN = 1.25


@dataclass(frozen=True)
class Rates:
    """US dollars per token: uncached input, input from the prefix cache, output."""

    input: float
    cached: float
    output: float

    def cost(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0, *, is_batch: bool) -> float:
        """Return the price in US dollars; `cached_tokens` are part of `input_tokens`."""
        full = (input_tokens - cached_tokens) * self.input + cached_tokens * self.cached + output_tokens * self.output
        return full * (BATCH_DISCOUNT if is_batch else 1.0)


@dataclass(frozen=True)
class Cost:
    """US dollars; `dollars` is None if the price of a model is unknown."""

    dollars: float | None

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(None if self.dollars is None or other.dollars is None else self.dollars + other.dollars)

    def __str__(self) -> str:
        return "price unknown" if self.dollars is None else f"${self.dollars:.2f}"


class Prices:
    """Prices of models; `given` are rates by model, which take precedence over list prices."""

    def __init__(self, given: Mapping[str, Rates] | None = None) -> None:
        self._given = dict(given or {})

    def find(self, model: str) -> Rates | None:
        """Return the rates of a model, or None if they are unknown."""
        return self._given.get(model) or _list_price(model)

    def learn(self, other: "Prices") -> None:
        """Add the given rates of `other` for models that have none here."""
        self._given = {**other._given, **self._given}

    def price(self, usage: Usage) -> Cost:
        """Return the cost of a sum of the journal."""
        rates = self.find(usage.model)
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        return Cost(None if rates is None else rates.cost(*tokens, is_batch=usage.is_batch))


class Budget:
    """A limit in US dollars (None: no limit) on the cost of all requests in a journal; unknown prices count as zero."""

    def __init__(self, dollars: float | None, journal: Journal, prices: Prices) -> None:
        self._dollars, self._journal, self._prices = dollars, journal, prices
        self._reserved: dict[object, float] = {}
        self._settled = asyncio.Event()

    @asynccontextmanager
    async def reserve(self, body: Body) -> AsyncIterator[None]:
        """Wait until the worst-case cost of a request fits, and reserve it until its cost is in the journal.

        Raise BudgetError if it does not fit and no other request is in flight.
        """
        rates = None if self._dollars is None else self._prices.find(body["model"])
        worst = rates.cost(*max_request_tokens(body), is_batch=False) if rates else 0.0
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


def max_request_tokens(body: Body) -> tuple[int, int]:
    """Return the maximum input tokens (no token is shorter than a byte) and output tokens of a request."""
    schema = json.dumps(body.get("response_format", ""), ensure_ascii=False)
    texts = [schema, *(message["content"] for message in body["messages"])]
    return sum(len(text.encode()) + _TOKENS_PER_MESSAGE for text in texts), body["max_tokens"]


def rates_from(settings: TeacherSettings) -> Rates | None:
    """Return the rates of a recipe, or None; without `cached_price`, cached tokens cost as much as others."""
    if settings.input_price is None or settings.output_price is None:
        return None
    cached = settings.input_price if settings.cached_price is None else settings.cached_price
    return Rates(settings.input_price / _MILLION, cached / _MILLION, settings.output_price / _MILLION)


def find_provider(model: str) -> tuple[str, str]:
    """Return the id and the name of the provider of a model, or ("", "") if it is unknown."""
    import genai_prices

    try:
        found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model_ref=model.rpartition("/")[2])
    except LookupError:
        return "", ""
    return found.provider.id, found.provider.name


@cache
def _list_price(model: str) -> Rates | None:
    import genai_prices  # imports in half a second

    if model == SMOLLM.name or model.endswith(SUFFIX):  # on this machine
        return Rates(0.0, 0.0, 0.0)

    # For a short request: some models cost more in long ones, and sums over many requests do not show their lengths.
    kinds = ({"input_tokens": 1000}, {"input_tokens": 1000, "cache_read_tokens": 1000}, {"output_tokens": 1000})
    try:
        prices = [genai_prices.calc_price(genai_prices.Usage(**tokens), model_ref=model) for tokens in kinds]
    except LookupError:
        return None
    return Rates(*(float(price.total_price) / 1000 for price in prices))
