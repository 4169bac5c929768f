"""Is the data good? Measurements, a judge, people's ratings, and a report of all three.

Four of the questions and the published figures are those of Auto-Instruct (Mansutti), which takes three of them from
Self-Instruct (arXiv:2212.10560, section 4.4).
"""

from .built_folder import BuiltFolder, digest_splits, read_built
from .intervals import bootstrap_mean, measure_paired_difference, measure_share
from .questions import NAMES, QUESTIONS, VERDICTS, DatasetRow, describe_verdicts

__all__ = [
    "NAMES",
    "QUESTIONS",
    "VERDICTS",
    "BuiltFolder",
    "DatasetRow",
    "bootstrap_mean",
    "describe_verdicts",
    "digest_splits",
    "measure_paired_difference",
    "measure_share",
    "read_built",
]
