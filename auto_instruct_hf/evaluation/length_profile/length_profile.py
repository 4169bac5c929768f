"""Lengths of texts, a module for `evaluate`."""

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import measure_lengths

LengthProfile = make_measurement(
    "LengthProfile",
    measure_lengths,
    ("texts",),
    description="""\
How long texts are, in words: mean, median, quartiles and deciles of the non-empty texts, and the share of empty ones.
In scripts written without spaces two characters count as one word.
""",
    inputs="""
Args:
    texts (list of str): any texts.
Returns:
    num_texts, share_empty (only white space), words (count, mean, min, max, median, quartiles, deciles of the others).
Examples:
    >>> length_profile = evaluate.load("auto_instruct_hf/evaluation/length_profile")
    >>> length_profile.compute(texts=["", "two words"])["share_empty"]
    0.5
""",
)
