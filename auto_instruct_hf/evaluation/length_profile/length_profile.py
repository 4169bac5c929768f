"""Lengths of texts, a module for `evaluate`."""

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import measure_lengths

LengthProfile = make_measurement(
    "length_profile",
    measure_lengths,
    ("texts",),
    example="""\
    >>> length_profile.compute(texts=["", "two words"])["share_empty"]
    0.5
""",
)
