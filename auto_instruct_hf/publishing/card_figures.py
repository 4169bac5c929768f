"""Which figures the card shows, and of what. Each is drawn once for the same data."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from ..core import Batch, apply, count_words, from_rows, root_verb_and_object

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = Features({"name": Value("string")})
_PLOTS = Features({"name": Value("string"), "png": Value("binary")})
CAPTIONS = {
    "map": "The instructions by likeness of their embeddings (UMAP to two dimensions), coloured by topic",
    "curve": "How well the instructions part into each number of clusters, and the number taken",
    "topics": "The share of each topic among the instances, before and after sampling",
    "lengths": "Lengths in words of instruction with input, and of output, each instance once",
    "similarity": "The highest ROUGE-L of each instruction against all before it, when it was admitted",
    "acceptance": "How many candidates each round of the bootstrap kept",
    "verbs": "The 20 most frequent root verbs, each with its four most frequent objects, beside those of the seeds",
    "cost": "What each phase cost, in dollars where prices are known, else in tokens",
}
"""The figures in the order of the card: file name without its ending -> caption."""


@dataclass(frozen=True)
class Material:
    """What the figures are drawn from."""

    instructions: Dataset
    """After bootstrap."""
    instances: DatasetDict
    sample: DatasetDict
    seeds: Dataset
    map: Dataset | None
    """Columns `place` (two floats) and `cluster` (int), one row an instruction; None: there is no map."""
    rounds: list[dict[str, int]]
    usage: list[dict[str, Any]]
    max_similarity: float
    curve: list[dict[str, Any]] = field(default_factory=list)
    """What was measured for each number of clusters tried; none where the number was given."""


def draw_plots(material: Material, *, cache_dir: Path | None = None) -> dict[str, bytes]:
    """Draw the card's figures.

    Args:
        material: What they are drawn from.
        cache_dir: Folder of the cache; None: as in `transform.apply`.

    Returns:
        PNG files by name, in the order of CAPTIONS; those without data are left out.
    """
    absent = {"map": material.map is None, "curve": not material.curve}
    names = [name for name in CAPTIONS if not absent.get(name)]
    prints = [material.instructions, *material.instances.values(), *material.sample.values(), material.seeds]
    drawn = apply(
        from_rows([{"name": name} for name in names], _NAMES),
        plot_batch,
        phase="plots",
        features=_PLOTS,
        resources={"material": material},
        depends_on=[
            [data._fingerprint for data in [*prints, *([material.map] if material.map else [])]],
            material.rounds,
            material.usage,
            material.max_similarity,
            material.curve,
        ],
        batch_size=1,
        show_progress=True,
        cache_dir=cache_dir,
    )
    return dict(zip(drawn["name"], drawn["png"], strict=True))


def plot_batch(batch: Batch, *, material: Material) -> dict[str, list[Any]]:
    """Draw a batch of figures: column `name` in, columns `name` and `png` out."""
    from .plots import to_png  # takes a second to import: only where it is used

    return {"name": batch["name"], "png": [to_png(_DRAW[name](material)) for name in batch["name"]]}


def _map(material: Material) -> "Figure":
    from .plots import draw_map

    assert material.map is not None
    positions = np.array(material.map["place"][:], dtype=float)
    return draw_map(positions, np.array(material.map["cluster"][:]), _topics(material))


def _curve(material: Material) -> "Figure":
    from .plots import draw_curve

    return draw_curve(material.curve, len(_topics(material)))


def _draw_topics(material: Material) -> "Figure":
    from .plots import draw_cluster_sizes

    topics = _topics(material)
    before, after = (
        Counter(cluster for part in splits.values() for cluster in part["cluster"])
        for splits in (material.instances, material.sample)
    )
    return draw_cluster_sizes(topics, *([counts[n] for n in range(len(topics))] for counts in (before, after)))


def _lengths(material: Material) -> "Figure":
    from .plots import draw_lengths

    whole = concatenate_datasets(list(material.instances.values()))
    asked = [count_words(f"{task} {given}") for task, given in zip(whole["instruction"], whole["input"], strict=True)]
    return draw_lengths(asked, [count_words(output) for output in whole["output"]])


def _similarity(material: Material) -> "Figure":
    from .plots import draw_similarity

    return draw_similarity(np.array(material.instructions["similarity"][:], dtype=float), material.max_similarity)


def _acceptance(material: Material) -> "Figure":
    from .plots import draw_acceptance

    return draw_acceptance(material.rounds)


def _verbs(material: Material) -> "Figure":
    from .plots import draw_verbs

    found = (
        [root_verb_and_object(text) for text in data["instruction"]] for data in (material.instructions, material.seeds)
    )
    return draw_verbs(*([pair for pair in pairs if all(pair)] for pairs in found))


def _cost(material: Material) -> "Figure":
    from .plots import draw_costs

    return draw_costs(material.usage)


def _topics(material: Material) -> list[str]:
    names: list[str] = next(iter(material.instances.values())).features["cluster"].names
    return names


_DRAW: Mapping[str, Callable[[Material], "Figure"]] = {
    "map": _map,
    "curve": _curve,
    "topics": _draw_topics,
    "lengths": _lengths,
    "similarity": _similarity,
    "acceptance": _acceptance,
    "verbs": _verbs,
    "cost": _cost,
}
