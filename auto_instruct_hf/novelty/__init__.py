"""Novelty: whether a text is new against everything admitted before it, in words or in meaning.

In meaning the measure is the cosine of embeddings. In words it is that of the `rouge_score` package (Lin 2004, "ROUGE:
A Package for Automatic Evaluation of Summaries"), F1 without stemming, down to its floating point: at a tie with the
threshold its rounding decides.
"""

from .cosine import CosineIndex, cosine_groups, knows_script, nearest_cosines
from .filtering import filter_novel
from .index import NoveltyIndex, Verdicts
from .joins import connect, highest_similarity, near_copies, near_groups
from .measure import f1
from .tokens import TOKENIZERS, choose_tokenizer, tokenize, tokenize_unicode

__all__ = [
    "TOKENIZERS",
    "CosineIndex",
    "NoveltyIndex",
    "Verdicts",
    "choose_tokenizer",
    "connect",
    "cosine_groups",
    "f1",
    "filter_novel",
    "highest_similarity",
    "knows_script",
    "near_copies",
    "near_groups",
    "nearest_cosines",
    "tokenize",
    "tokenize_unicode",
]
