"""The questions about an instance: the four of the published table, in our words, and one of ours.

Ours, `output_follows_strategy`, is asked apart from `output_correct`: an answer can be right without following its
strategy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Features, Value


@dataclass(frozen=True)
class Question:
    """One question, answered yes or no.

    `published` has the shares of yes in the paper (Mansutti) by dataset, {} for a question of ours.
    """

    name: str
    text: str
    published: Mapping[str, float]
    needs_strategy: bool = False
    """Whether it applies only to instances that were written by a strategy."""


QUESTIONS = (
    Question(
        "valid_task",
        "Does the instruction describe a task that can be done, in words a reader understands?",
        {"Auto-Instruct": 0.962, "Self-Instruct": 0.92},
    ),
    Question(
        "input_fits",
        "Does the input suit the instruction? Where there is none: can the task be done without one?",
        {"Auto-Instruct": 0.846, "Self-Instruct": 0.79},
    ),
    Question(
        "strategy_valid",
        "Is the strategy a sound way to carry out the task?",
        {"Auto-Instruct": 0.94},
        needs_strategy=True,
    ),
    Question("output_follows_strategy", "Does the output follow the strategy?", {}, needs_strategy=True),
    Question(
        "output_correct",
        "Is the output a correct and acceptable answer to the instruction and its input?",
        {"Auto-Instruct": 0.923, "Self-Instruct": 0.58},
    ),
)
NAMES = tuple(question.name for question in QUESTIONS)

JUDGEMENTS = Features(
    {
        "instance_id": Value("string"),
        "rater": Value("string"),
        **{name: Value("bool") for name in NAMES},
        "confidence": Value("float32"),
        "reason": Value("string"),
    }
)
"""One row per instance and rater (a model or a person). An answer is null where the question does not apply or was not
answered; `confidence` is in [0, 1], null for people; `reason` is a model's reason or a person's note, or ""."""
DatasetRow = Mapping[str, Any]
"""A row of a dataset: column -> value."""
_COLUMNS = {f"judge_{name.removeprefix('output_')}": name for name in (*NAMES, "confidence")}
VERDICTS = Features({column: JUDGEMENTS[name] for column, name in _COLUMNS.items()})
"""The columns of a judged dataset: `judge_correct`, `judge_confidence` and so on, as in JUDGEMENTS."""


def applies(question: Question, instance: DatasetRow) -> bool:
    """Return whether a question applies to an instance: a classification task has a label instead of a strategy."""
    return not question.needs_strategy or bool(instance["attribute"] and not instance["is_classification"])


def list_verdicts(judgement: DatasetRow) -> dict[str, bool | float | None]:
    """Return the values of VERDICTS for an instance with this row of JUDGEMENTS; {}: it has none."""
    return {column: judgement.get(name) for column, name in _COLUMNS.items()}


def describe_verdicts() -> dict[str, str]:
    """Return the meaning of each of VERDICTS."""
    texts = {one.name: f"the judge's answer to: {one.text}" for one in QUESTIONS}
    texts["confidence"] = "how sure the judge is of all its answers, from 0 to 1"
    return {column: texts[name] for column, name in _COLUMNS.items()}
