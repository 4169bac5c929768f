"""Measurements of a dataset: diversity, balance, lengths, overlap, alignment."""

from .alignment_score import join_prompt, measure_alignment
from .dataset import list_instructions, measure_dataset
from .evenness import measure_evenness, measure_labels
from .lengths import Figures, count_lengths, find_figure, measure_lengths
from .nearest import THRESHOLD, measure_nearest, measure_overlap
from .variety import measure_distinct, measure_verb_nouns
from .vendi import embed_texts, measure_vendi

__all__ = [
    "THRESHOLD",
    "Figures",
    "count_lengths",
    "embed_texts",
    "find_figure",
    "join_prompt",
    "list_instructions",
    "measure_alignment",
    "measure_dataset",
    "measure_distinct",
    "measure_evenness",
    "measure_labels",
    "measure_lengths",
    "measure_nearest",
    "measure_overlap",
    "measure_vendi",
    "measure_verb_nouns",
]
