"""What tokens cost, from the list prices that `genai-prices` ships. No network."""

from dataclasses import dataclass

from .embedded import MODEL as EMBEDDED_MODEL
from .journal import Usage


@dataclass(frozen=True)
class Cost:
    """US dollars; `dollars` is None where a model's price is not known."""

    dollars: float | None

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(None if self.dollars is None or other.dollars is None else self.dollars + other.dollars)

    def __str__(self) -> str:
        return "price unknown" if self.dollars is None else f"${self.dollars:.2f}"


def price(usage: Usage) -> Cost:
    """Return what a sum of the journal costs at list price, prefix-cached tokens at theirs."""
    import genai_prices  # takes half a second to import: only where it is used

    if usage.model == EMBEDDED_MODEL:
        return Cost(0.0)
    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens, cache_read_tokens=usage.cached_tokens, output_tokens=usage.output_tokens
    )
    try:
        return Cost(float(genai_prices.calc_price(tokens, model_ref=usage.model).total_price))
    except LookupError:
        return Cost(None)


def find_provider(model: str) -> tuple[str, str]:
    """Return the id and the name of the company that sells a model, ("", "") where it is not known."""
    import genai_prices

    try:
        found = genai_prices.calc_price(genai_prices.Usage(input_tokens=1), model_ref=model.rpartition("/")[2])
    except LookupError:
        return "", ""
    return found.provider.id, found.provider.name
