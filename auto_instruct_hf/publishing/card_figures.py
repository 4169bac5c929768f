"""The figures of the card and their data."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from ..core import Batch, Columns, apply, count_words, from_rows, root_verb_and_object

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = Features({"name": Value("string")})
_PLOTS = Features({"name": Value("string"), "png": Value("binary")})
CAPTIONS = {
    "map": "The instructions by similarity of their embeddings (UMAP to two dimensions), coloured by topic",
    "topics": "The share of each topic among the instances, before and after sampling",
    "lengths": "Lengths in words of instruction with input, and of output, each instance once",
    "similarity": "The highest ROUGE-L of each instruction against all earlier ones",
    "verbs": "The 20 most frequent root verbs, each with its four most frequent objects, beside those of the seeds",
}
"""The figures in the order of the card: file name without suffix -> caption."""


@dataclass(frozen=True)
class CardInputs:
    """The data of the figures."""

    instructions: Dataset
    """After bootstrap."""
    instances: DatasetDict
    sample: DatasetDict
    seeds: Dataset
    map: Dataset | None
    """Columns `place` (two floats) and `cluster` (int), one row per instruction; None: no map."""
    max_similarity: float


def draw_plots(inputs: CardInputs, *, cache_dir: Path | None = None) -> dict[str, bytes]:
    """Draw the card's figures.

    Args:
        inputs: The data.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        PNG files by name, in the order of CAPTIONS; the map is left out if there is none.
    """
    names = [name for name in CAPTIONS if name != "map" or inputs.map is not None]
    prints = [inputs.instructions, *inputs.instances.values(), *inputs.sample.values(), inputs.seeds]
    drawn = apply(
        from_rows([{"name": name} for name in names], _NAMES),
        plot_batch,
        phase="plots",
        features=_PLOTS,
        resources={"inputs": inputs},
        depends_on=[
            [data._fingerprint for data in [*prints, *([inputs.map] if inputs.map else [])]],
            inputs.max_similarity,
        ],
        batch_size=1,
        show_progress=True,
        cache_dir=cache_dir,
    )
    return dict(zip(drawn["name"], drawn["png"], strict=True))


def plot_batch(batch: Batch, *, inputs: CardInputs) -> Columns:
    """Draw a batch of figures: column `name` in, columns `name` and `png` out."""
    from .plots import to_png  # takes a second to import

    return {"name": batch["name"], "png": [to_png(_DRAW[name](inputs)) for name in batch["name"]]}


def _map(inputs: CardInputs) -> "Figure":
    from .plots import draw_map

    assert inputs.map is not None
    positions = np.array(inputs.map["place"][:], dtype=float)
    return draw_map(positions, np.array(inputs.map["cluster"][:]), _topics(inputs))


def _draw_topics(inputs: CardInputs) -> "Figure":
    from .plots import draw_cluster_sizes

    topics = _topics(inputs)
    before, after = (
        Counter(cluster for part in splits.values() for cluster in part["cluster"])
        for splits in (inputs.instances, inputs.sample)
    )
    return draw_cluster_sizes(topics, *([counts[n] for n in range(len(topics))] for counts in (before, after)))


def _lengths(inputs: CardInputs) -> "Figure":
    from .plots import draw_lengths

    whole = concatenate_datasets(list(inputs.instances.values()))
    asked = [count_words(f"{task} {given}") for task, given in zip(whole["instruction"], whole["input"], strict=True)]
    return draw_lengths(asked, [count_words(output) for output in whole["output"]])


def _similarity(inputs: CardInputs) -> "Figure":
    from .plots import draw_similarity

    return draw_similarity(np.array(inputs.instructions["similarity"][:], dtype=float), inputs.max_similarity)


def _verbs(inputs: CardInputs) -> "Figure":
    from .plots import draw_verbs

    found = (
        [root_verb_and_object(text) for text in data["instruction"]] for data in (inputs.instructions, inputs.seeds)
    )
    return draw_verbs(*([pair for pair in pairs if all(pair)] for pairs in found))


def _topics(inputs: CardInputs) -> list[str]:
    names: list[str] = next(iter(inputs.instances.values())).features["cluster"].names
    return names


_DRAW: Mapping[str, Callable[[CardInputs], "Figure"]] = {
    "map": _map,
    "topics": _draw_topics,
    "lengths": _lengths,
    "similarity": _similarity,
    "verbs": _verbs,
}
