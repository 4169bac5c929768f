"""Is the data good? Measurements, a judge, people's ratings, and a report of all three.

The four questions and the published figures are those of Auto-Instruct (Mansutti), which takes three of the questions
from Self-Instruct (arXiv:2212.10560, section 4.4).
"""

from .intervals import measure_paired_difference, measure_share
from .questions import NAMES, QUESTIONS, DatasetRow

__all__ = ["NAMES", "QUESTIONS", "DatasetRow", "measure_paired_difference", "measure_share"]
