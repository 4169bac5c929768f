"""Prices of tokens, from the list prices in `genai-prices` (offline)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ..recipe import TeacherSettings
from .embedded import SMOLLM, SUFFIX
from .journal import Usage

_CONTEXT = 131_072  # tokens, of a model that is not known: that of most
BATCH_DISCOUNT = 0.5
"""Price factor of OpenAI and others for batches."""
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
    """US dollars; `dollars` is None if the price of a model is unknown.

    `is_estimated`: an endpoint did not report all tokens.
    """

    dollars: float | None
    is_estimated: bool = False

    def __add__(self, other: "Cost") -> "Cost":
        is_known = self.dollars is not None and other.dollars is not None
        dollars = (self.dollars or 0.0) + (other.dollars or 0.0) if is_known else None
        return Cost(dollars, self.is_estimated or other.is_estimated)

    def __str__(self) -> str:
        if self.dollars is None:
            return "price unknown"
        return f"${self.dollars:.2f}" + (" (tokens estimated)" if self.is_estimated else "")


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
        dollars = None if rates is None else rates.cost(*tokens, is_batch=usage.is_batch)
        return Cost(dollars, usage.estimated > 0)


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


@cache
def max_context(model: str) -> int:
    """Return the maximum tokens of a request and its reply together, by the model; 131,072 if it is unknown."""
    import genai_prices

    try:
        found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model_ref=model).model.context_window
    except LookupError:
        found = None
    return found or _CONTEXT
