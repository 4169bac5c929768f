"""Compare arms: measurements of coordinated samples, and a judge's shares, with differences to a reference arm."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict

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


def measure_sample(
    sample: Dataset, size: int, topic_of: Mapping[str, int], num_topics: int, measure: Callable[[Dataset], Figures]
) -> Figures:
    """Return the figures of a sample of an arm.

    Most measures depend on the number of rows, so `size` instructions are measured by one row each; `balance.clusters`
    and `sample` (the numbers of `rows`, of `instructions`, and of rows `without_topic`) are of all rows. `topic_of` has
    the numbers of the topics by instruction id, the same for all arms.
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
    """Compare the measurements of arms over draws of samples (arm -> figures of `measure_sample`), at least one.

    Returns measure -> arm -> `value`, `low` and `high`: mean, minimum and maximum over the draws with the measure, None
    if there are none; and `difference` to the reference, if it is among the arms, with the same three, within each
    draw. A further draw is between `low` and `high` of n draws with probability (n - 1) / (n + 1), whatever the
    distribution (Wilks 1941, "Determination of sample sizes for setting tolerance limits").
    """
    found = {}
    for name, path in MEASURES.items():
        values = {arm: [_read(draw[arm], path) for draw in draws] for arm in draws[0]}
        found[name] = {arm: _describe_range(own) for arm, own in values.items()}
        for arm in values.keys() - {reference} if reference in values else ():
            pairs = zip(values[arm], values[reference], strict=True)
            differences = [None if one is None or other is None else one - other for one, other in pairs]
            found[name][arm]["difference"] = _describe_range(differences)
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
    """Compare a judge's shares of yes in arms.

    Reads judgements with the columns of `questions.JUDGEMENTS`, and for each arm its judged rows, columns `instance_id`
    and `instruction_id`, each instruction once. Returns question, and ALL_QUESTIONS -> arm -> the fields of
    `ShareOfYes`, and `difference` to the reference with the fields of `Difference`, over the instructions with an
    answer in both arms.
    """
    by_id = index(judgements)
    found = {}
    for name in (*NAMES, ALL_QUESTIONS):
        answers: dict[str, dict[str, bool | None]] = {arm: {} for arm in judged}
        for arm, rows in judged.items():
            for key, instance in zip(rows["instruction_id"], rows["instance_id"], strict=True):
                if row := by_id.get(instance):
                    answers[arm][key] = passed_all(row) if name == ALL_QUESTIONS else row[name]
        found[name] = {arm: asdict(measure_share(own.values())) for arm, own in answers.items()}
        for arm in answers.keys() - {reference} if reference in answers else ():
            own, other = answers[arm], answers[reference]
            pairs = ((own[key], other[key]) for key in own if key in other)
            found[name][arm]["difference"] = asdict(measure_paired_difference(pairs))
    return found
