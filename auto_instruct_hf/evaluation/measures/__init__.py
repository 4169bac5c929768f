"""Measurements of a dataset: diversity, balance, lengths, overlap, alignment."""

from .dataset import count_lengths, measure_dataset
from .distributions import Figures, find_figure, measure_evenness, measure_labels, measure_lengths
from .embeddings import embed_texts, join_prompt, measure_alignment, measure_meaning, measure_vendi
from .wording import measure_distinct, measure_nearest, measure_overlap, measure_verb_nouns

__all__ = [
    "Figures",
    "count_lengths",
    "embed_texts",
    "find_figure",
    "join_prompt",
    "measure_alignment",
    "measure_dataset",
    "measure_distinct",
    "measure_evenness",
    "measure_labels",
    "measure_lengths",
    "measure_meaning",
    "measure_nearest",
    "measure_overlap",
    "measure_vendi",
    "measure_verb_nouns",
]
