"""What tokens cost, from the list prices that `genai-prices` ships. No network."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ..recipe import TeacherSettings
from .embedded import MODEL as EMBEDDED_MODEL
from .journal import Usage

# What OpenAI, and those who follow it, ask for requests that may wait for a day.
BATCH_DISCOUNT = 0.5
_MILLION = 1_000_000


@dataclass(frozen=True)
class Rates:
    """US dollars a token: not cached input, input from the server's prefix cache, output."""

    input: float
    cached: float
    output: float

    def cost(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0, *, is_batch: bool) -> float:
        """Return the price in US dollars; `cached_tokens` are part of `input_tokens`."""
        full = (input_tokens - cached_tokens) * self.input + cached_tokens * self.cached + output_tokens * self.output
        return full * (BATCH_DISCOUNT if is_batch else 1.0)


@dataclass(frozen=True)
class Cost:
    """US dollars; `dollars` is None where a model's price is not known."""

    dollars: float | None

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(None if self.dollars is None or other.dollars is None else self.dollars + other.dollars)

    def __str__(self) -> str:
        return "price unknown" if self.dollars is None else f"${self.dollars:.2f}"


class Prices:
    """Prices of models: those given by hand before the list's.

    Args:
        given: Rates by model.
    """

    def __init__(self, given: Mapping[str, Rates] | None = None) -> None:
        self._given = dict(given or {})

    def find(self, model: str) -> Rates | None:
        """Return a model's rates, or None where nobody knows them."""
        return self._given.get(model) or _list_price(model)

    def learn(self, other: "Prices") -> None:
        """Take over the rates that others were given by hand, of models that have none here."""
        self._given = {**other._given, **self._given}

    def price(self, usage: Usage) -> Cost:
        """Return what a sum of the journal costs."""
        rates = self.find(usage.model)
        if rates is None:
            return Cost(None)
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        return Cost(rates.cost(*tokens, is_batch=usage.is_batch))


@cache
def _list_price(model: str) -> Rates | None:
    import genai_prices  # takes half a second to import: only where it is used

    if model == EMBEDDED_MODEL:
        return Rates(0.0, 0.0, 0.0)

    # For a short request: some models cost more in long ones, and sums over many requests say nothing of that.
    def a_token(**tokens: int) -> float:
        return float(genai_prices.calc_price(genai_prices.Usage(**tokens), model_ref=model).total_price) / 1000

    try:
        return Rates(
            a_token(input_tokens=1000), a_token(input_tokens=1000, cache_read_tokens=1000), a_token(output_tokens=1000)
        )
    except LookupError:
        return None


def rates_from(settings: TeacherSettings) -> Rates | None:
    """Return the rates that a recipe gives, or None; cached tokens cost as others where it does not say."""
    if settings.input_price is None or settings.output_price is None:
        return None
    cached = settings.input_price if settings.cached_price is None else settings.cached_price
    return Rates(settings.input_price / _MILLION, cached / _MILLION, settings.output_price / _MILLION)


def find_provider(model: str) -> tuple[str, str]:
    """Return the id and the name of the company that sells a model, ("", "") where it is not known."""
    import genai_prices

    try:
        found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model_ref=model.rpartition("/")[2])
    except LookupError:
        return "", ""
    return found.provider.id, found.provider.name
