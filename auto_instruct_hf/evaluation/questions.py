"""The four questions about an instance, as they were put to people for the published table, in our words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Features, Value


@dataclass(frozen=True)
class Question:
    """One question, answered yes or no.

    `published` are the shares of yes that Auto-Instruct (Mansutti) reports, of 50 instructions each, by dataset.
    """

    name: str
    text: str
    published: Mapping[str, float]
    needs_strategy: bool = False
    """Whether it is asked only of an instance that was written by a strategy."""


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
"""One row for each instance and rater, a model or a person. An answer is null where the question does not apply or was
not answered, `confidence` (0 to 1) where none was asked for; `reason` is a model's reason or a person's note, or ""."""


def applies(question: Question, instance: Mapping[str, Any]) -> bool:
    """Return whether a question is asked of an instance, a row with `is_classification` and `attribute`.

    A classification task has a label in the place of a strategy; it is not asked about.
    """
    return not question.needs_strategy or bool(instance["attribute"] and not instance["is_classification"])
