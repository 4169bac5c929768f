"""Arms side by side: measurements of samples drawn alike, and a judge's shares, each with its difference to one arm."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..evaluation import NAMES, describe_share, measure_paired_difference, measure_share
from ..evaluation.measures import measure_dataset, measure_evenness
from .coordinated_samples import take_one_each

Figures = Mapping[str, Any]
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
"""What is compared, and where it stands in the figures of `measure_sample`."""
ALL_QUESTIONS = "all that apply"


def measure_sample(
    sample: Dataset, size: int, topic_of: Mapping[str, int], num_topics: int, **options: Any
) -> dict[str, Any]:
    """Measure a sample of an arm.

    Args:
        sample: As `drawing.draw` returns it.
        size: Of the first so many instructions one row each is measured, since most measures depend on the number of
            rows; topics are counted over all rows.
        topic_of: Instruction id -> the number of its topic, the same for all arms; rows of others are left out there.
        num_topics: How many topics there are.
        **options: As for `measures.measure_dataset`.

    Returns:
        Figures as of `measure_dataset`, with `balance.clusters` over the rows of the sample, and `sample`: its `rows`,
        its `instructions`, and how many rows are `without_topic`.
    """
    keys = sample["instruction_id"][:]
    there = [name for name in ("cluster", "cluster_probability") if name in sample.column_names]
    found = measure_dataset(take_one_each(sample, size).remove_columns(there), **options)
    found["left_out"].pop("balance.clusters", None)
    topics = [topic_of[key] for key in keys if key in topic_of]
    found.setdefault("balance", {})["clusters"] = measure_evenness(topics, num_topics)
    counts = {"rows": len(keys), "instructions": len(set(keys)), "without_topic": len(keys) - len(topics)}
    return {**found, "sample": counts}


def contrast_measures(draws: Sequence[Mapping[str, Figures]], reference: str) -> dict[str, dict[str, Any]]:
    """Set the measurements of arms beside each other.

    Args:
        draws: For each draw, arm -> figures as `measure_sample` returns them; at least one.
        reference: The arm that differences are taken to; an arm that is not there: none are taken.

    Returns:
        Measure -> arm -> `value`, `low` and `high`: the mean, the lowest and the highest over the draws that have the
        measure, None where none has. Between the last two of n a further draw lies with a chance of (n - 1) / (n + 1),
        whatever the distribution (Wilks 1941, "Determination of sample sizes for setting tolerance limits"). And
        `difference` to the reference with the same three, taken within each draw.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, path in MEASURES.items():
        values = {arm: [_read(draw[arm], path) for draw in draws] for arm in draws[0]}
        found[name] = {arm: _bound(own) for arm, own in values.items()}
        for arm, own in values.items():
            if reference in values and arm != reference:
                pairs = zip(own, values[reference], strict=True)
                found[name][arm]["difference"] = _bound(
                    [None if one is None or other is None else one - other for one, other in pairs]
                )
    return found


def _read(figures: Figures, path: str) -> float | None:
    value: Any = figures
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def _bound(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    if not known:
        return {"value": None, "low": None, "high": None}
    # A mean of equal values can be off by a rounding error.
    mean = min(max(statistics.fmean(known), min(known)), max(known))
    return {"value": mean, "low": min(known), "high": max(known)}


def contrast_judgements(
    judgements: Iterable[Mapping[str, Any]], judged: Mapping[str, Dataset], reference: str
) -> dict[str, dict[str, Any]]:
    """Set a judge's shares of yes beside each other.

    Args:
        judgements: Rows with the columns of `questions.JUDGEMENTS`.
        judged: Arm -> its rows that were put to the judge, columns `instance_id`, `instruction_id`; each instruction
            once.
        reference: As for `contrast_measures`.

    Returns:
        Question, and ALL_QUESTIONS -> arm -> figures of `shares.describe_share`, and `difference` to the reference as
        `measure_paired_difference` has it, over the instructions of which an instance of either arm has an answer.
    """
    said = {row["instance_id"]: row for row in judgements}
    by_arm = {
        arm: {
            row["instruction_id"]: said[row["instance_id"]]
            for row in rows.select_columns(["instruction_id", "instance_id"])
            if row["instance_id"] in said
        }
        for arm, rows in judged.items()
    }
    questions: dict[str, Callable[[Mapping[str, Any]], bool | None]] = {name: _answer_to(name) for name in NAMES}
    questions[ALL_QUESTIONS] = lambda row: all(row[name] is not False for name in NAMES)
    found: dict[str, dict[str, Any]] = {}
    for name, answer in questions.items():
        found[name] = {arm: describe_share(measure_share(map(answer, own.values()))) for arm, own in by_arm.items()}
        for arm, own in by_arm.items():
            if reference in by_arm and arm != reference:
                both = [key for key in own if key in by_arm[reference]]
                pairs = [(answer(own[key]), answer(by_arm[reference][key])) for key in both]
                found[name][arm]["difference"] = measure_paired_difference(pairs)
    return found


def _answer_to(name: str) -> Callable[[Mapping[str, Any]], bool | None]:
    return lambda row: row[name]
