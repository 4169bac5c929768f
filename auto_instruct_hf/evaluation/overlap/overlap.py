"""ROUGE-L between two sets of texts, a module for `evaluate`."""

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import measure_overlap

# `references` would be a column with as many rows as `texts` in `evaluate`.
Overlap = make_measurement(
    "Overlap",
    lambda texts, others, **options: measure_overlap(texts, references=others, **options),
    ("texts",),
    description="""\
ROUGE-L between two sets of texts: the F1 of each text of one set with the nearest text of the other. The values are
those of the `rouge_score` package without stemming; all pairs are compared.
""",
    inputs="""
Args:
    texts (list of str): the set that is judged.
    others (list of str): the set to compare with, of any size: seeds, a benchmark, another split.
    tokenizer (str): 'rouge' (a-z and 0-9), 'unicode', or 'auto'.
    threshold (float): of the share.
Returns:
    rouge_l (the distribution of the highest F1 of each text), share_above the threshold, threshold, num_texts,
    num_references.
Examples:
    >>> overlap = evaluate.load("auto_instruct_hf/evaluation/overlap")
    >>> overlap.compute(texts=["Name a fruit.", "Sort the list."], others=["Name a fruit."])["share_above"]
    0.5
""",
    citation="""\
@inproceedings{lin2004rouge,
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries},
  author = {Lin, Chin-Yew}, booktitle = {Text Summarization Branches Out}, year = {2004}
}
""",
)
