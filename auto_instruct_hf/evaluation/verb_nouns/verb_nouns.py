"""Variety of root verbs and their objects, a module for `evaluate`."""

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import measure_verb_nouns

VerbNouns = make_measurement(
    "verb_nouns",
    measure_verb_nouns,
    ("instructions",),
    example="""\
    >>> verb_nouns.compute(instructions=["Write a story.", "Sort the list."])["num_pairs"]
    2
""",
    citation="""\
@article{wang2022selfinstruct, author = {Wang, Yizhong and Kordi, Yeganeh and Mishra, Swaroop and Liu, Alisa and
  Smith, Noah A. and Khashabi, Daniel and Hajishirzi, Hannaneh}, journal = {arXiv:2212.10560}, year = {2022},
  title = {Self-Instruct: Aligning Language Models with Self-Generated Instructions}, note = {figure 3}}
""",
)
