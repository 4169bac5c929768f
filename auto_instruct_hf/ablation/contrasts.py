"""Arms side by side: measurements of coordinated samples, and a judge's shares, with differences to a reference arm."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TypeVar

from datasets import Dataset

from ..evaluation import NAMES, DatasetRow, measure_paired_difference, measure_share
from ..evaluation.judging import index, passed_all
from ..evaluation.measures import Figures, find_figure, measure_evenness
from .coordinated_samples import take_one_each

MEASURES = {
    "instructions in the sample": "sample.instructions",
    "topics reached": "balance.clusters.coverage",
    "evenness over topics": "balance.clusters.normalised_entropy",
    "Vendi score of instructions": "instructions.vendi",
    "distinct-2 of instructions": "instructions.distinct.distinct_2",
    "ROUGE-L with the nearest instruction": "instructions.nearest.rouge_l.mean",
    "effective verb-noun pairs": "instructions.verb_nouns.effective_pairs",
    "rows without an input": "inputs.lengths.share_empty",
    "words an output": "outputs.lengths.words.mean",
    "distinct-2 of outputs": "outputs.distinct.distinct_2",
    "ROUGE-L with the nearest output": "outputs.nearest.rouge_l.mean",
    "alignment of outputs": "alignment.other.auc",
}
"""What is compared -> its place in the figures of `measure_sample`."""
ALL_QUESTIONS = "all that apply"
T = TypeVar("T")


def measure_sample(
    sample: Dataset, size: int, topic_of: Mapping[str, int], num_topics: int, measure: Callable[[Dataset], Figures]
) -> Figures:
    """Measure a sample of an arm.

    Args:
        sample: As `sample_coordinated` returns it.
        size: Number of instructions that are measured by one row each, since most measures depend on the number of
            rows; topics are counted over all rows.
        topic_of: Instruction id -> the number of its topic, the same for all arms; other instructions have no topic.
        num_topics: The number of topics.
        measure: `measures.measure_dataset` with its settings.

    Returns:
        Figures of `measure_dataset`, with `balance.clusters` over the rows of the sample, and `sample`: its `rows`, its
        `instructions`, and the rows `without_topic`.
    """
    keys = sample["instruction_id"][:]
    dropped = [name for name in ("cluster", "cluster_probability") if name in sample.column_names]
    found = measure(take_one_each(sample, size).remove_columns(dropped))
    found["left_out"].pop("balance.clusters", None)
    topics = [topic_of[key] for key in keys if key in topic_of]
    found.setdefault("balance", {})["clusters"] = measure_evenness(topics, num_topics)
    counts = {"rows": len(keys), "instructions": len(set(keys)), "without_topic": len(keys) - len(topics)}
    return {**found, "sample": counts}


def contrast_measures(draws: Sequence[Mapping[str, Figures]], reference: str) -> dict[str, dict[str, Figures]]:
    """Set the measurements of arms side by side.

    Args:
        draws: For each draw, arm -> figures as `measure_sample` returns them; at least one draw.
        reference: The arm that differences are taken to; none are taken if it is missing.

    Returns:
        Measure -> arm -> `value`, `low` and `high`: mean, minimum and maximum over the draws with the measure, None
        where none has. A further draw is between `low` and `high` of n draws with probability (n - 1) / (n + 1),
        whatever the distribution (Wilks 1941, "Determination of sample sizes for setting tolerance limits"); and
        `difference` to the reference with the same three, taken within each draw.
    """

    def subtract(own: Sequence[float | None], other: Sequence[float | None]) -> Figures:
        pairs = zip(own, other, strict=True)
        return _describe_range([None if a is None or b is None else a - b for a, b in pairs])

    return {
        name: _contrast(
            {arm: [_read(draw[arm], path) for draw in draws] for arm in draws[0]}, _describe_range, subtract, reference
        )
        for name, path in MEASURES.items()
    }


def _contrast(
    arms: Mapping[str, T], describe: Callable[[T], Figures], subtract: Callable[[T, T], Figures], reference: str
) -> dict[str, Figures]:
    """Return the figures of each arm, with its difference to the reference."""
    found = {arm: describe(own) for arm, own in arms.items()}
    for arm in arms.keys() - {reference} if reference in arms else ():
        found[arm]["difference"] = subtract(arms[arm], arms[reference])
    return found


def _read(figures: Figures, path: str) -> float | None:
    value = find_figure(figures, path)
    return float(value) if isinstance(value, int | float) else None


def _describe_range(values: Sequence[float | None]) -> Figures:
    known = [value for value in values if value is not None]
    if not known:
        return {"value": None, "low": None, "high": None}
    # A mean of equal values can be off by a rounding error.
    mean = min(max(statistics.fmean(known), min(known)), max(known))
    return {"value": mean, "low": min(known), "high": max(known)}


def contrast_judgements(
    judgements: Iterable[DatasetRow], judged: Mapping[str, Dataset], reference: str
) -> dict[str, dict[str, Figures]]:
    """Set a judge's shares of yes side by side.

    Args:
        judgements: Rows with the columns of `questions.JUDGEMENTS`.
        judged: Arm -> its rows that were judged, columns `instance_id`, `instruction_id`; each instruction once.
        reference: As for `contrast_measures`.

    Returns:
        Question, and ALL_QUESTIONS -> arm -> the fields of `ShareOfYes`, and `difference` to the reference with the
        fields of `Difference`, over the instructions with an answer in both arms.
    """
    said = index(judgements)
    arms = {
        arm: {
            row["instruction_id"]: said[row["instance_id"]]
            for row in rows.select_columns(["instruction_id", "instance_id"])
            if row["instance_id"] in said
        }
        for arm, rows in judged.items()
    }
    return {
        name: _contrast(
            {arm: {key: _answer(row, name) for key, row in own.items()} for arm, own in arms.items()},
            lambda own: asdict(measure_share(own.values())),
            lambda own, other: asdict(measure_paired_difference((own[key], other[key]) for key in own if key in other)),
            reference,
        )
        for name in (*NAMES, ALL_QUESTIONS)
    }


def _answer(judgement: DatasetRow, question: str) -> bool | None:
    answer: bool | None = passed_all(judgement) if question == ALL_QUESTIONS else judgement[question]
    return answer
