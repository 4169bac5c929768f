"""Variety of root verbs and their objects, a module for `evaluate`."""

from typing import Any

import datasets
import evaluate

from auto_instruct_hf.evaluation.measures import measure_verb_nouns

_DESCRIPTION = """\
How varied the root verbs of English instructions and their direct objects are. The words are found by rules, not by a
parser.
"""
_INPUTS = """
Args:
    instructions (list of str): English texts.
Returns:
    num_texts, share_with_verb, share_with_both, num_verbs, num_pairs (different ones), effective_verbs and
    effective_pairs (so many equally frequent ones have the same entropy), top_verbs (the 20 most frequent),
    share_of_top_verbs.
Examples:
    >>> verb_nouns = evaluate.load("auto_instruct_hf/evaluation/verb_nouns")
    >>> verb_nouns.compute(instructions=["Write a story.", "Sort the list."])["num_pairs"]
    2
"""
_CITATION = """\
@article{wang2022selfinstruct,
  title = {Self-Instruct: Aligning Language Models with Self-Generated Instructions},
  author = {Wang, Yizhong and Kordi, Yeganeh and Mishra, Swaroop and Liu, Alisa and Smith, Noah A. and Khashabi, Daniel
            and Hajishirzi, Hannaneh},
  journal = {arXiv:2212.10560}, year = {2022}, note = {figure 3}
}
"""


class VerbNouns(evaluate.Measurement):
    """Variety of root verbs and their objects."""

    def _info(self) -> Any:
        return evaluate.MeasurementInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"instructions": datasets.Value("string")}),
        )

    def _compute(self, instructions: list[str]) -> dict[str, Any]:
        return measure_verb_nouns(instructions)
