"""A model judges instances, and its verdicts are tested."""

from .assessment import Assessment, assess, filter_judged
from .checks import NUM_CHECKS, measure_agreement
from .judge_model import (
    EMBEDDED_WARNING,
    choose_evaluator,
    choose_model,
    judge_where_asked,
    known_prices,
    open_judge,
)
from .preferences import compare_batch, compare_outputs, comparison_prompt, count_pairs
from .verdicts import index, judge, judge_batch, judge_prompts, passed_all

__all__ = [
    "EMBEDDED_WARNING",
    "NUM_CHECKS",
    "Assessment",
    "assess",
    "choose_evaluator",
    "choose_model",
    "compare_batch",
    "compare_outputs",
    "comparison_prompt",
    "count_pairs",
    "filter_judged",
    "index",
    "judge",
    "judge_batch",
    "judge_prompts",
    "judge_where_asked",
    "known_prices",
    "measure_agreement",
    "open_judge",
    "passed_all",
]
