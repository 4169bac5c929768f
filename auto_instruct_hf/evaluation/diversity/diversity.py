"""Diversity of a set of texts, a module for `evaluate`."""

from typing import Any

import datasets
import evaluate
import numpy as np

from auto_instruct_hf.evaluation.measures import (
    embed_texts,
    measure_distinct,
    measure_evenness,
    measure_nearest,
    measure_vendi,
)
from auto_instruct_hf.recipe import EmbeddingSettings

_DESCRIPTION = """\
How varied a set of texts is: distinct-1 to distinct-4; ROUGE-L F1 of each text with the nearest other one; the Vendi
score of order 1 over sentence embeddings with the cosine as kernel; and how many of the clusters are met.
Distinct-n falls as a set grows, and a Vendi score is at most the number of dimensions: compare sets of like size.
"""
_INPUTS = """
Args:
    texts (list of str): the set.
    embeddings (array of shape (texts, dimensions), optional): None embeds the texts by `model`; False leaves it out.
    model (str): a sentence-transformers model.
    clusters (list, optional): the cluster of each text.
    num_clusters (int, optional): how many clusters there are; None: those that are met.
    tokenizer (str): 'rouge' (a-z and 0-9), 'unicode', or 'auto'.
    num_rows (int, optional): texts that are compared with all others, a random sample; None: all.
    seed (int): decides the sample.
Returns:
    distinct: `num_tokens` and `distinct_1` to `distinct_4`, in (0, 1].
    nearest: `rouge_l` (the distribution), `share_above` the `threshold` of 0.7.
    vendi: in [1, number of texts]; None where it was left out.
    coverage: of the clusters, with `num_met` and `num_kinds`; None without clusters.
Examples:
    >>> diversity = evaluate.load("auto_instruct_hf/evaluation/diversity")
    >>> diversity.compute(texts=["Name a fruit.", "Name a fruit."], embeddings=False)["nearest"]["share_above"]
    1.0
"""
_CITATION = """\
@inproceedings{li2016diversity,
  title = {A Diversity-Promoting Objective Function for Neural Conversation Models},
  author = {Li, Jiwei and Galley, Michel and Brockett, Chris and Gao, Jianfeng and Dolan, Bill},
  booktitle = {NAACL}, year = {2016}, note = {arXiv:1510.03055, distinct-n}
}
@inproceedings{lin2004rouge,
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries},
  author = {Lin, Chin-Yew}, booktitle = {Text Summarization Branches Out}, year = {2004}
}
@article{friedman2022vendi,
  title = {The Vendi Score: A Diversity Evaluation Metric for Machine Learning},
  author = {Friedman, Dan and Dieng, Adji Bousso}, journal = {arXiv:2210.02410}, year = {2022}
}
"""


class Diversity(evaluate.Measurement):
    """Diversity of a set of texts."""

    def _info(self) -> Any:
        return evaluate.MeasurementInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"texts": datasets.Value("string")}),
        )

    def _compute(
        self,
        texts: list[str],
        embeddings: Any = None,
        model: str = EmbeddingSettings.model,
        clusters: list[Any] | None = None,
        num_clusters: int | None = None,
        tokenizer: str = "auto",
        num_rows: int | None = None,
        seed: int = 42,
    ) -> dict[str, Any]:
        vendi = None
        if embeddings is not False:
            given = embed_texts(texts, EmbeddingSettings(model=model)) if embeddings is None else np.asarray(embeddings)
            if len(given) != len(texts):
                raise ValueError(f"{len(given)} embeddings for {len(texts)} texts: give one a text")
            vendi = measure_vendi(given)
        evenness = None if clusters is None else measure_evenness(clusters, num_clusters)
        return {
            "distinct": measure_distinct(texts, tokenizer=tokenizer),
            "nearest": measure_nearest(texts, tokenizer=tokenizer, num_rows=num_rows, seed=seed),
            "vendi": vendi,
            "coverage": evenness and {name: evenness[name] for name in ("coverage", "num_met", "num_kinds")},
        }
