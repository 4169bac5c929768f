"""Evaluate a dataset: measurements, a judge and people, beside the published figures."""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

from datasets import ClassLabel, Dataset, concatenate_datasets

from ...core import from_rows
from ...recipe import JudgeSettings
from ...sampling import pick
from ...teacher import Teacher
from ..judging import assess, index, judge, measure_agreement
from ..measures import Figures, count_lengths, measure_dataset, measure_evenness, measure_labels, measure_overlap
from ..questions import QUESTIONS, DatasetRow
from ..rating import list_answers, rated_only, summarise_people, vote
from .reading import EvaluatedDataset

_DIGITS = 6  # further digits differ between machines and mean nothing
_MAX_SHOWN = 300  # ours: browsers show this many instances of a hundred words at once


class EvaluationFigures(TypedDict):
    """The content of `evaluation.json`; unknown parts are None."""

    dataset: Figures  # name, teacher, rows, splits; `digest` identifies the rows
    measures: Figures  # as `measure_dataset` returns them
    lengths: Figures  # as `count_lengths` returns them
    clusters: list[Figures] | None  # rows of each cluster, among the instances and in the sample
    splits: Figures  # overlap of each split but the first with all others
    sample: Figures | None  # of the stratified sample: rows, different rows, balance
    judge: Figures | None  # the fields of `JudgeFigures`
    ratings: Figures | None  # as `summarise_people` returns them
    training: Figures | None  # what a model gains by training on it, as `finetuning.finetune` returns it
    agreement: Figures | None  # question -> the fields of `Agreement`, of the judge with the majority of people
    table: list[Figures]  # one row per question: the judge's and people's shares beside the published ones
    left_out: dict[str, str]  # what is missing -> the reason
    version: str


@dataclass(frozen=True)
class Evaluation:
    """The figures, ready for JSON, and the instances that the page shows."""

    figures: EvaluationFigures
    samples: Sequence[DatasetRow]
    """Columns of `schema.INSTANCES`, `cluster` (str), `judgement` (a row of `questions.JUDGEMENTS`, or None) and
    `ratings` (a list of such rows)."""


def evaluate(
    dataset: EvaluatedDataset,
    teacher: Teacher | None = None,
    *,
    settings: JudgeSettings | None = None,
    unjudged: str = "",
    warnings: Sequence[str] = (),
    ratings: Dataset | None = None,
    training: Figures | None = None,
    with_embeddings: bool = True,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Evaluate a dataset. Neither the order of its rows nor a rerun changes the figures.

    Args:
        dataset: As `read_build` or `read_any` returns it.
        teacher: The model that judges; None: no judge.
        settings: The number of instances that are judged.
        unjudged: The reason why no model judges.
        warnings: Further warnings about the judge.
        ratings: As `rating.read_ratings` returns them; None: there are none.
        training: Figures of fine-tuning on it; None: there are none.
        with_embeddings: Whether to measure what needs an embedding model.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        The evaluation.
    """
    settings = settings or JudgeSettings()
    rows, splits, seed = dataset.judged, dataset.splits, dataset.seed
    people, votes, answers = None, [], {}
    if ratings is not None and rows is not None:
        people, current = summarise_people(ratings, rows)
        votes, answers = vote(current), list_answers(current)
    judged, judgements, agreement = None, [], None
    if teacher is not None and rows is not None:
        found = assess(rows, teacher, settings=settings, seed=seed, written_by=dataset.teacher, cache_dir=cache_dir)
        judged = asdict(replace(found.figures, warnings=[*found.figures.warnings, *warnings]))
        judgements = found.judgements.to_list()
        if votes:
            # The rated instances count for the agreement with people, not for the shares.
            more = rated_only(rows, votes, found.judgements["instance_id"][:])
            if len(more):
                more = from_rows(more.to_list(), more.features)
                judgements += judge(more, teacher, settings=settings, cache_dir=cache_dir).to_list()
            agreement = {name: asdict(one) for name, one in measure_agreement(judgements, votes).items()}
    # After the judge, so that a judge that cannot be asked fails at once.
    measures = measure_dataset(
        dataset.measured,
        references=dataset.seeds,
        embedding=dataset.embedding,
        with_embeddings=with_embeddings,
        seed=seed,
        cache_dir=cache_dir,
    )
    left_out = {f"measures.{name}": reason for name, reason in measures.pop("left_out").items()}
    if judged is None:
        reason = "a column that the questions are about is missing" if rows is None else unjudged
        left_out["judge"] = reason or "no model was asked to judge"
    if dataset.seeds is None:
        left_out["overlap with the seeds"] = "the seed tasks are not available: name them with --seeds"
    if training is None:
        left_out["training"] = "no model was trained on it: auto-instruct finetune does it"
    clusters = _count_clusters(dataset)
    figures: EvaluationFigures = {
        "dataset": {
            "name": dataset.name,
            "teacher": dataset.teacher,
            "is_embedded": dataset.is_embedded,
            "rows": len(dataset.measured),
            "splits": {name: len(texts) for name, texts in splits.items()},
            "digest": dataset.digest(),
        },
        "measures": measures,
        "lengths": count_lengths(dataset.measured),
        "clusters": clusters,
        "splits": {
            name: measure_overlap(own, [text for other, texts in splits.items() if other != name for text in texts])
            for name, own in list(splits.items())[1:]
            if own
        },
        "sample": _measure_sample(dataset, clusters),
        "judge": judged,
        "ratings": people,
        "training": training,
        "agreement": agreement,
        "table": _tabulate(judged, people),
        "left_out": left_out,
        "version": importlib.metadata.version("auto-instruct-hf"),
    }
    # Through JSON, which rounds the floats.
    figures = json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.{_DIGITS}g}"))
    size = min(settings.size, _MAX_SHOWN) if judged is None else settings.size
    return Evaluation(figures, [] if rows is None else _pick_samples(rows, judgements, answers, size, seed))


def _count_clusters(dataset: EvaluatedDataset) -> list[Figures] | None:
    if "cluster" not in dataset.measured.column_names:
        return None
    feature = dataset.measured.features["cluster"]
    whole = Counter(dataset.measured["cluster"][:])
    drawn = Counter(one for part in (dataset.sample or {}).values() for one in part["cluster"][:])
    names = feature.names if isinstance(feature, ClassLabel) else sorted(whole)
    kinds = range(len(names)) if isinstance(feature, ClassLabel) else names
    return [
        {"name": str(name), "instances": whole[kind], "sample": drawn[kind] if dataset.sample else None}
        for kind, name in zip(kinds, names, strict=True)
    ]


def _measure_sample(dataset: EvaluatedDataset, clusters: Sequence[Figures] | None) -> Figures | None:
    if dataset.sample is None:
        return None
    names = ["instance_id", "instruction_id", "attribute", "is_classification", "cluster"]
    rows = concatenate_datasets(list(dataset.sample.values())).select_columns(names).to_list()
    times = Counter(row["instance_id"] for row in rows)
    labelled = [row for row in rows if row["is_classification"] and row["attribute"]]
    return {
        "rows": len(rows),
        "different_rows": len(times),
        "most_draws": max(times.values()),
        "classification_share": sum(row["is_classification"] for row in rows) / len(rows),
        "clusters": measure_evenness([row["cluster"] for row in rows], len(clusters or ())),
        "labels": measure_labels([row["instruction_id"] for row in labelled], [row["attribute"] for row in labelled]),
    }


def _tabulate(judged: Figures | None, people: Figures | None) -> list[Figures]:
    return [
        {
            "name": question.name,
            "question": question.text,
            "published": dict(question.published),
            "judge": judged and _select_bounds(judged["shares"][question.name]),
            "people": people and _select_bounds(people["questions"][question.name]["majority"]),
        }
        for question in QUESTIONS
    ]


def _select_bounds(share: Figures) -> Figures | None:
    return {name: share[name] for name in ("share", "low", "high", "yes", "asked")} if share["asked"] else None


def _pick_samples(
    rows: Dataset,
    judgements: Sequence[DatasetRow],
    answers: Mapping[str, Sequence[DatasetRow]],
    size: int,
    seed: int,
) -> list[DatasetRow]:
    """Return the instances to show: those that people rated, and a random sample of `size`, which the judge judged."""
    picked = pick(rows, size, seed)["instance_id"][:]
    keys = list(dict.fromkeys([*answers, *picked]))[:_MAX_SHOWN]
    place = {key: row for row, key in enumerate(rows["instance_id"][:])}
    judged, feature = index(judgements), rows.features.get("cluster")
    shown = [
        {
            **row,
            "cluster": feature.int2str(row["cluster"]) if isinstance(feature, ClassLabel) else "",
            "judgement": judged.get(row["instance_id"]),
            "ratings": answers.get(row["instance_id"], []),
        }
        for row in rows.select([place[key] for key in keys if key in place])
    ]
    return sorted(shown, key=lambda row: row["cluster"])
