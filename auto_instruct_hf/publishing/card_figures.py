"""The figures of the card and their data."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from ..core import Batch, Columns, apply, count_words, from_rows, root_verb_and_object, to_table
from .build_report import Facts

_NAMES = Features({"name": Value("string")})
CAPTIONS = {
    "map": "The instructions by similarity of their embeddings (UMAP to two dimensions), coloured by topic",
    "topics": "The share of each topic among the instances, before and after sampling",
    "lengths": "Lengths in words of instruction with input, and of output, each instance once",
    "similarity": "The highest ROUGE-L of each instruction against all earlier ones",
    "verbs": "The 20 most frequent root verbs, each with its four most frequent objects, beside those of the seeds",
}
"""The figures in the order of the card: file name without suffix -> caption."""
GAINS = "gains"
"""The figure of fine-tuning, which the card shows if there are figures of it."""


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
        PNG files by name, in the order of CAPTIONS, without the map if there is none, and without similarities if they
        are not known.
    """
    tables = [inputs.instructions, *inputs.instances.values(), *inputs.sample.values(), inputs.seeds]
    tables += [inputs.map] if inputs.map else []
    similarity = to_table(inputs.instructions, ["similarity"])["similarity"]
    missing = {"map": inputs.map is None, "similarity": similarity.null_count > 0}
    drawn = apply(
        from_rows([{"name": name} for name in CAPTIONS if not missing.get(name)], _NAMES),
        plot_batch,
        phase="plots",
        features=Features({**_NAMES, "png": Value("binary")}),
        resources={"inputs": inputs},
        depends_on=[[table._fingerprint for table in tables], inputs.max_similarity],
        batch_size=1,
        show_progress=True,
        cache_dir=cache_dir,
    )
    return dict(zip(drawn["name"], drawn["png"], strict=True))


def plot_gains(training: Facts) -> bytes:
    """Draw the gains of fine-tuning as PNG; `training` are the figures as `finetuning.finetune` returns them."""
    from .plots import draw_gains, to_png

    gains = {}
    for name in training["shown"]:
        trained = {arm: one["gain"] for arm, one in training["losses"][name].items() if "gain" in one}
        gains[name] = [(arm, one["value"], one["low"], one["high"]) for arm, one in trained.items()]
    return to_png(draw_gains(gains, training["main"], training["summary"]))


def plot_batch(batch: Batch, *, inputs: CardInputs) -> Columns:
    """Draw a batch of figures: column `name` in, columns `name` and `png` out."""
    return {"name": batch["name"], "png": [_draw(name, inputs) for name in batch["name"]]}


def _draw(name: str, inputs: CardInputs) -> bytes:
    # matplotlib takes a second to import
    from .plots import draw_cluster_sizes, draw_lengths, draw_map, draw_similarity, draw_verbs, to_png

    rows = concatenate_datasets(list(inputs.instances.values()))
    topics: list[str] = rows.features["cluster"].names
    if name == "map" and inputs.map is not None:
        positions = np.array(inputs.map["place"][:], dtype=float)
        figure = draw_map(positions, np.array(inputs.map["cluster"][:]), topics)
    elif name == "topics":
        sampled = concatenate_datasets(list(inputs.sample.values()))
        counts = [np.bincount(data["cluster"][:], minlength=len(topics)).tolist() for data in (rows, sampled)]
        figure = draw_cluster_sizes(topics, *counts)
    elif name == "lengths":
        asked = (f"{task} {given}" for task, given in zip(rows["instruction"], rows["input"], strict=True))
        figure = draw_lengths([count_words(text) for text in asked], [count_words(text) for text in rows["output"]])
    elif name == "similarity":
        figure = draw_similarity(np.array(inputs.instructions["similarity"][:], dtype=float), inputs.max_similarity)
    else:
        texts = (inputs.instructions["instruction"], inputs.seeds["instruction"])
        figure = draw_verbs(*([pair for pair in map(root_verb_and_object, part) if all(pair)] for part in texts))
    return to_png(figure)
