"""ROUGE-L between two sets of texts, a module for `evaluate`."""

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import measure_overlap

Overlap = make_measurement(
    "overlap",
    measure_overlap,
    ("texts",),
    example="""\
    >>> overlap.compute(texts=["Name a fruit.", "Sort the list."], others=["Name a fruit."])["share_above"]
    0.5
""",
    citation="""\
@inproceedings{lin2004rouge, author = {Lin, Chin-Yew}, year = {2004},
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries}, booktitle = {Text Summarization Branches Out}}
""",
)
