"""A model judges instances, and its verdicts are tested."""

from .assessment import Assessment, JudgeFigures, assess, filter_judged, passed_all
from .checks import measure_agreement
from .judge_model import (
    EMBEDDED_WARNING,
    choose_evaluator,
    choose_model,
    judge_where_asked,
    known_prices,
    open_judge,
)
from .verdicts import index, judge, judge_batch, judge_prompts

__all__ = [
    "EMBEDDED_WARNING",
    "Assessment",
    "JudgeFigures",
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
    "open_judge",
    "passed_all",
]
