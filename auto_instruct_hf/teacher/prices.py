"""Prices of tokens, from the list prices in `genai-prices`. Offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ..recipe import TeacherSettings
from .embedded import MODEL as EMBEDDED_MODEL
from .embedded import SUFFIX
from .journal import Usage

# Price factor of OpenAI and others for batches.
BATCH_DISCOUNT = 0.5
_MILLION = 1_000_000


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
        if rates is None:
            return Cost(None)
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        return Cost(rates.cost(*tokens, is_batch=usage.is_batch))


@cache
def _list_price(model: str) -> Rates | None:
    import genai_prices  # imports in half a second

    if model == EMBEDDED_MODEL or model.endswith(SUFFIX):  # on this machine
        return Rates(0.0, 0.0, 0.0)

    # For a short request: some models cost more in long ones, and sums over many requests do not show their lengths.
    def per_token(**tokens: int) -> float:
        return float(genai_prices.calc_price(genai_prices.Usage(**tokens), model_ref=model).total_price) / 1000

    try:
        return Rates(
            per_token(input_tokens=1000),
            per_token(input_tokens=1000, cache_read_tokens=1000),
            per_token(output_tokens=1000),
        )
    except LookupError:
        return None


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
