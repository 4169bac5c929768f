"""ROUGE-L between two sets of texts, a module for `evaluate`."""

from typing import Any

import datasets
import evaluate

from auto_instruct_hf.evaluation.measures import THRESHOLD, measure_overlap

_DESCRIPTION = """\
ROUGE-L between two sets of texts: the F1 of each text of the one with the text of the other that is nearest to it. The
values are those of the `rouge_score` package without stemming; no pair is left out.
"""
_INPUTS = """
Args:
    texts (list of str): the set that is judged.
    others (list of str): what it is compared with, of any number: seeds, a benchmark, another split.
    tokenizer (str): 'rouge' (a-z and 0-9), 'unicode', or 'auto'.
    threshold (float): of the share.
Returns:
    rouge_l (the distribution of the highest F1 of each text), share_above the threshold, threshold, num_texts,
    num_references.
Examples:
    >>> overlap = evaluate.load("auto_instruct_hf/evaluation/overlap")
    >>> overlap.compute(texts=["Name a fruit.", "Sort the list."], others=["Name a fruit."])["share_above"]
    0.5
"""
_CITATION = """\
@inproceedings{lin2004rouge,
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries},
  author = {Lin, Chin-Yew}, booktitle = {Text Summarization Branches Out}, year = {2004}
}
"""


class Overlap(evaluate.Measurement):
    """ROUGE-L between two sets of texts."""

    def _info(self) -> Any:
        return evaluate.MeasurementInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"texts": datasets.Value("string")}),
        )

    # `references` would be a column of as many rows in `evaluate`.
    def _compute(
        self, texts: list[str], others: list[str], tokenizer: str = "auto", threshold: float = THRESHOLD
    ) -> dict[str, Any]:
        return measure_overlap(texts, others, tokenizer=tokenizer, threshold=threshold)
