"""The figures of the dataset card, drawn with matplotlib."""

from .drawing import to_png
from .figures import draw_cluster_sizes, draw_lengths, draw_similarity, draw_verbs
from .gains import draw_gains
from .topic_map import draw_map

__all__ = ["draw_cluster_sizes", "draw_gains", "draw_lengths", "draw_map", "draw_similarity", "draw_verbs", "to_png"]
