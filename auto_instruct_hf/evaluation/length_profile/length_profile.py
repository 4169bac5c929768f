"""Lengths of texts, a module for `evaluate`."""

from typing import Any

import datasets
import evaluate

from auto_instruct_hf.evaluation.measures import measure_lengths

_DESCRIPTION = """\
How long texts are, in words: mean, median, quartiles and deciles of those that are not empty, and the share of those
that are. In scripts written without spaces two characters count as one word.
"""
_INPUTS = """
Args:
    texts (list of str): any texts.
Returns:
    num_texts, share_empty (nothing but white space), words (count, mean, min, max, median, quartiles, deciles of the
    others).
Examples:
    >>> length_profile = evaluate.load("auto_instruct_hf/evaluation/length_profile")
    >>> length_profile.compute(texts=["", "two words"])["share_empty"]
    0.5
"""


class LengthProfile(evaluate.Measurement):
    """Lengths of texts."""

    def _info(self) -> Any:
        return evaluate.MeasurementInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"texts": datasets.Value("string")}),
        )

    def _compute(self, texts: list[str]) -> dict[str, Any]:
        return measure_lengths(texts)
