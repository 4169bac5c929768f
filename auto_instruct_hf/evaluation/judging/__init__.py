"""A model judges instances, and its verdicts are tested."""

from .assessment import Assessment, assess, filter_judged
from .evaluator import WEAK, choose_evaluator, open_evaluator
from .judge import index, judge, judge_batch, judge_prompts
from .judge_checks import measure_agreement
from .judge_model import choose_model, judge_where_asked, known_prices, open_judge

__all__ = [
    "WEAK",
    "Assessment",
    "assess",
    "choose_evaluator",
    "choose_model",
    "filter_judged",
    "index",
    "judge",
    "judge_batch",
    "judge_prompts",
    "judge_where_asked",
    "known_prices",
    "measure_agreement",
    "open_evaluator",
    "open_judge",
]
