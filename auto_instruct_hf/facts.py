"""The figures of a build: the table beside the published one, rejects by reason, tokens and money by phase."""

import importlib.metadata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets

from .teacher.journal import Usage
from .teacher.prices import Cost, price

PHASES = ("bootstrap", "attributes", "completion", "sampled")
# Auto-Instruct (Mansutti), its table of the dataset's statistics by phase.
_PUBLISHED: dict[str, tuple[float | None, ...]] = {
    "instructions": (10_000, 10_000, 10_000, 9_200),
    "instances": (10_000, 10_000, 19_200, 50_000),
    "empty input": (None, None, 16_300, 37_300),
    "CLF instructions": (None, 161, 161, 152),
    "CLF instances": (None, None, 515, 5_200),
    "labels a CLF instruction": (None, 3.20, 3.20, 3.28),
    "strategies a NON-CLF instruction": (None, 1.90, 1.90, 1.90),
}
_VERSIONS = (
    "auto-instruct-hf", "datasets", "huggingface-hub", "openai", "sentence-transformers", "umap-learn", "scikit-learn",
    "rapidfuzz", "numpy", "torch",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of the table: ours and the published figure for each of PHASES, None where there is none."""

    name: str
    ours: tuple[float | None, ...]
    published: tuple[float | None, ...]


def summarise(instructions: Dataset, attributed: Dataset, instances: Dataset, sample: DatasetDict) -> list[Row]:
    """Count what the published table counts.

    Args:
        instructions: After bootstrap.
        attributed: After attribute.
        instances: After complete.
        sample: After stratify.

    Returns:
        The rows of the table.
    """
    kinds = attributed["is_classification"][:]
    sizes = list(zip(kinds, map(len, attributed["attributes"]), strict=True))
    second: dict[str, float | None] = {
        "instructions": len(attributed),
        "instances": len(attributed),
        "CLF instructions": sum(kinds),
        "labels a CLF instruction": _mean([size for kind, size in sizes if kind]),
        "strategies a NON-CLF instruction": _mean([size for kind, size in sizes if not kind]),
    }
    first: dict[str, float | None] = {"instructions": len(instructions), "instances": len(instructions)}
    by_phase = (first, second, _count(instances), _count(concatenate_datasets(list(sample.values()))))
    return [
        Row(name, tuple(found.get(name) for found in by_phase), published) for name, published in _PUBLISHED.items()
    ]


def _count(instances: Dataset) -> dict[str, float | None]:
    kind_of = dict(zip(instances["instruction_id"], instances["is_classification"], strict=True))
    attributes: dict[str, set[str]] = {key: set() for key in kind_of}
    for key, attribute in zip(instances["instruction_id"], instances["attribute"], strict=True):
        attributes[key] |= {attribute} - {""}
    return {
        "instructions": len(kind_of),
        "instances": len(instances),
        "empty input": sum(text == "" for text in instances["input"]),
        "CLF instructions": sum(kind_of.values()),
        "CLF instances": sum(instances["is_classification"]),
        "labels a CLF instruction": _mean([len(attributes[key]) for key, kind in kind_of.items() if kind]),
        "strategies a NON-CLF instruction": _mean([len(attributes[key]) for key, kind in kind_of.items() if not kind]),
    }


def _mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def format_figure(figure: float | None) -> str:
    """Return a figure of the table as text: whole numbers with separators, means with two digits, "" for None."""
    if figure is None:
        return ""
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.2f}"


def count_reasons(rejected: Dataset | None) -> dict[str, int]:
    """Return how many rows were rejected for each reason, the most frequent first."""
    return dict(Counter(rejected["rejected"]).most_common()) if rejected is not None else {}


def list_costs(usages: Iterable[Usage]) -> list[dict[str, Any]]:
    """Return the journal's sums with their price in US dollars (None where it is unknown)."""
    return [{**asdict(usage), "dollars": price(usage).dollars} for usage in usages]


def total_cost(usages: Iterable[Usage]) -> Cost:
    """Return the price of all the journal's sums."""
    return sum(map(price, usages), Cost(0.0))


def list_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the result."""
    return {name: importlib.metadata.version(name) for name in _VERSIONS}
