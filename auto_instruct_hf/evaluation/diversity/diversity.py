"""Diversity of a set of texts, a module for `evaluate`."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import (
    Figures,
    embed_texts,
    measure_distinct,
    measure_evenness,
    measure_nearest,
    measure_vendi,
)
from auto_instruct_hf.recipe import EmbeddingSettings


def _measure_diversity(
    texts: Sequence[str],
    embeddings: npt.ArrayLike | None = None,
    model: str = EmbeddingSettings.model,
    clusters: Sequence[Hashable] | None = None,
    num_clusters: int | None = None,
    tokenizer: str = "auto",
    num_rows: int | None = None,
    seed: int = 42,
) -> Figures:
    """Measure the diversity of a set of texts.

    Compare sets of the same size: distinct-n falls as a set grows. A Vendi score is at most the number of dimensions.

    Args:
        texts: The set.
        embeddings: Shape (texts, dimensions); None embeds the texts by `model`; False skips the Vendi score.
        model: A sentence-transformers model.
        clusters: The cluster of each text.
        num_clusters: The number of clusters; None: those that occur.
        tokenizer: `rouge` (a-z and 0-9), `unicode`, or `auto`.
        num_rows: Texts that are compared with all others, a random sample; None: all.
        seed: Seed of the sample.

    Returns:
        `distinct`: `num_tokens` and `distinct_1` to `distinct_4`; `nearest`: the ROUGE-L F1 with the nearest other text
        as the distribution `rouge_l` and the `share_above` the `threshold` of 0.7; `vendi`: the Vendi score of order 1
        of the cosine, None if skipped; `coverage`: the share of the clusters that occur, `num_met` and `num_kinds`,
        None without clusters.

    Raises:
        ValueError: If there is not one embedding per text.
    """
    vendi = None
    if embeddings is not False:
        vectors = embed_texts(texts, EmbeddingSettings(model=model)) if embeddings is None else np.asarray(embeddings)
        if len(vectors) != len(texts):
            raise ValueError(f"{len(vectors)} embeddings for {len(texts)} texts: give one per text")
        vendi = measure_vendi(vectors)
    evenness = None if clusters is None else measure_evenness(clusters, num_clusters)
    return {
        "distinct": measure_distinct(texts, tokenizer=tokenizer),
        "nearest": measure_nearest(texts, tokenizer=tokenizer, num_rows=num_rows, seed=seed),
        "vendi": vendi,
        "coverage": evenness and {name: evenness[name] for name in ("coverage", "num_met", "num_kinds")},
    }


Diversity = make_measurement(
    "diversity",
    _measure_diversity,
    ("texts",),
    example="""\
    >>> diversity.compute(texts=["Name a fruit.", "Name a fruit."], embeddings=False)["nearest"]["share_above"]
    1.0
""",
    citation="""\
@inproceedings{li2016diversity, author = {Li, Jiwei and Galley, Michel and Brockett, Chris and Gao, Jianfeng and Dolan,
  Bill}, title = {A Diversity-Promoting Objective Function for Neural Conversation Models}, booktitle = {NAACL},
  year = {2016}, note = {arXiv:1510.03055, distinct-n}}
@inproceedings{lin2004rouge, author = {Lin, Chin-Yew}, year = {2004},
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries}, booktitle = {Text Summarization Branches Out}}
@article{friedman2022vendi, author = {Friedman, Dan and Dieng, Adji Bousso}, year = {2022},
  title = {The Vendi Score: A Diversity Evaluation Metric for Machine Learning}, journal = {arXiv:2210.02410}}
""",
)
