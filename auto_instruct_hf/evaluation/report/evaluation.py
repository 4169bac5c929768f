"""All that is known of whether a dataset is good: measurements, a judge, people, beside what is published."""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset

from ...core import TEXT_COLUMNS, from_rows
from ...recipe import JudgeSettings
from ...sampling import pick
from ...teacher import Teacher
from ..judging import Assessment, assess, index, judge, measure_agreement
from ..measures import (
    count_lengths,
    list_instructions,
    measure_dataset,
    measure_evenness,
    measure_labels,
    measure_overlap,
)
from ..questions import QUESTIONS
from ..rating import list_answers, rated_only, summarise_people, vote
from .reading import Material

# Of a figure: more would differ between two machines, and none of them means anything.
_DIGITS = 6
# Ours: a page of so many instances with texts of a hundred words is read by a browser at once.
_MOST_SHOWN = 300


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: `figures`, ready for JSON, and `samples`, the instances that the page shows.

    Samples are rows with the columns of `schema.INSTANCES`, `cluster` (str), `judgement` (a row with the columns of
    `questions.JUDGEMENTS`, or None) and `ratings` (a list of such rows).
    """

    figures: dict[str, Any]
    samples: list[dict[str, Any]]


def evaluate(
    material: Material,
    teacher: Teacher | None = None,
    *,
    settings: JudgeSettings | None = None,
    unjudged: str = "",
    warnings: Sequence[str] = (),
    ratings: Dataset | None = None,
    with_embeddings: bool = True,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Evaluate a dataset. The order of its rows decides nothing, and the same input gives the same figures.

    Args:
        material: What, as `reading` returns it.
        teacher: The model that judges; None: none does.
        settings: How many instances it judges.
        unjudged: Why no model judges, to be told where none does.
        warnings: What else is to be told of the judge.
        ratings: People's, as `people.read_ratings` returns them; None: there are none.
        with_embeddings: Whether to measure what needs an embedding model.
        cache_dir: Folder of the cache; None: as in `transform.apply`.

    Returns:
        The evaluation. Its figures by name: `dataset` (what it is; `digest` tells it from another), `measures` (as
        `measures.measure_dataset`), `lengths` (as `distribution.count_lengths`, by column; instructions
        as `measures` counts them), `clusters` (rows by name, of the instances and of the sample), `splits` (overlap of
        each but the first with the others), `sample` (of the stratified sample: rows, different rows, balance), `judge`
        (as `assessment.summarise`), `ratings` (as `people.summarise_people`), `agreement` (of the judge with most
        people, as `judge_checks.measure_agreement`), `table` (a row a question: what the judge and people say beside
        what is published), `left_out` (what is missing, and why). What is not known is None.
    """
    settings = settings or JudgeSettings()
    rows = material.judged
    people, votes, answers = None, [], {}
    if ratings is not None and rows is not None:
        people, current = summarise_people(ratings, rows)
        votes, answers = vote(current), list_answers(current)
    found, agreement = None, None
    if teacher is not None and rows is not None:
        found = assess(
            rows, teacher, settings=settings, seed=material.seed, written_by=material.teacher, cache_dir=cache_dir
        )
        found.figures["warnings"] += list(warnings)
        if votes:
            agreement, found = _ask_about_rated(found, rows, votes, teacher, settings, cache_dir)
    # After the judge: where none can be asked, that is told at once.
    measures = measure_dataset(
        material.measured,
        references=material.seeds,
        embedding=material.embedding,
        with_embeddings=with_embeddings,
        seed=material.seed,
        cache_dir=cache_dir,
    )
    left_out = {f"measures.{name}": reason for name, reason in measures.pop("left_out").items()}
    if found is None:
        reason = "a column that the questions are about is missing" if rows is None else unjudged
        left_out["judge"] = reason or "no model was asked to judge"
    if material.seeds is None:
        left_out["overlap with the seeds"] = "the seed tasks are not to be had: name them"
    clusters = _count_clusters(material)
    figures = {
        "dataset": _describe(material),
        "measures": measures,
        "lengths": _count_lengths(material.measured),
        "clusters": clusters,
        "splits": _compare_splits(material.splits),
        "sample": _measure_sample(material, clusters),
        "judge": None if found is None else found.figures,
        "ratings": people,
        "agreement": agreement,
        "table": _tabulate(None if found is None else found.figures, people),
        "left_out": left_out,
        "version": importlib.metadata.version("auto-instruct-hf"),
    }
    plain: dict[str, Any] = json.loads(json.dumps(_round(figures)))
    return Evaluation(plain, [] if rows is None else _show(rows, found, answers, settings.size, material.seed))


def _describe(material: Material) -> dict[str, Any]:
    return {
        "name": material.name,
        "teacher": material.teacher,
        "is_embedded": material.is_embedded,
        "rows": len(material.measured),
        "splits": {name: len(texts) for name, texts in material.splits.items()},
        "digest": material.digest(),
    }


def _count_lengths(rows: Dataset) -> dict[str, Any]:
    """Return the lengths by column, those of instructions as often as `measures` measures them."""
    there = [name for name in (*TEXT_COLUMNS, "instruction_id") if name in rows.column_names]
    columns = {name: rows[name][:] for name in there}
    if "instruction" in columns:
        columns["instruction"] = list_instructions(columns)
    return {name: count_lengths(columns[name]) for name in TEXT_COLUMNS if name in columns}


def _ask_about_rated(
    found: Assessment,
    rows: Dataset,
    votes: Sequence[Mapping[str, Any]],
    teacher: Teacher,
    settings: JudgeSettings,
    cache_dir: Path | None,
) -> tuple[dict[str, Any], Assessment]:
    """Let the judge answer about what people rated as well. It counts for their agreement, not for the shares."""
    more = rated_only(rows, votes, found.judgements["instance_id"][:])
    said = found.judgements.to_list()
    if len(more):
        more = from_rows(more.to_list(), more.features)
        said += judge(more, teacher, settings=settings, cache_dir=cache_dir).to_list()
    judgements = from_rows(said, found.judgements.features)
    return measure_agreement(said, votes), Assessment(judgements, found.checks, found.figures)


def _count_clusters(material: Material) -> list[dict[str, Any]] | None:
    if "cluster" not in material.measured.column_names:
        return None
    feature = material.measured.features["cluster"]
    whole = Counter(material.measured["cluster"][:])
    drawn = Counter(one for part in (material.sample or {}).values() for one in part["cluster"][:])
    is_named = isinstance(feature, ClassLabel)
    kinds = range(feature.num_classes) if is_named else sorted(whole)
    return [
        {
            "name": feature.int2str(kind) if is_named else str(kind),
            "instances": whole[kind],
            "sample": drawn[kind] if material.sample else None,
        }
        for kind in kinds
    ]


def _compare_splits(splits: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return how near the instructions of each split but the first are to those of all the others."""
    return {
        name: measure_overlap(texts, [text for other, own in splits.items() if other != name for text in own])
        for name, texts in list(splits.items())[1:]
        if texts
    }


def _measure_sample(material: Material, clusters: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    if material.sample is None:
        return None
    parts = material.sample.values()
    ids = Counter(key for part in parts for key in part["instance_id"][:])
    rows = [
        (key, label)
        for part in parts
        for key, label, is_clf in zip(
            part["instruction_id"][:], part["attribute"][:], part["is_classification"][:], strict=True
        )
        if is_clf and label
    ]
    kinds = [one for part in parts for one in part["cluster"][:]]
    return {
        "rows": ids.total(),
        "different_rows": len(ids),
        "most_draws": max(ids.values()),
        "classification_share": sum(sum(part["is_classification"][:]) for part in parts) / ids.total(),
        "clusters": measure_evenness(kinds, len(clusters or ())),
        "labels": measure_labels([task for task, _ in rows], [label for _, label in rows]),
    }


def _tabulate(judged: Mapping[str, Any] | None, people: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [
        {
            "name": question.name,
            "question": question.text,
            "published": dict(question.published),
            "judge": None if judged is None else _bounded(judged["shares"][question.name]),
            "people": None if people is None else _bounded(people["questions"][question.name]["majority"]),
        }
        for question in QUESTIONS
    ]


def _bounded(share: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: share[name] for name in ("share", "low", "high", "yes", "asked")} if share["asked"] else None


def _show(
    rows: Dataset, found: Assessment | None, answers: Mapping[str, list[dict[str, Any]]], size: int, seed: int
) -> list[dict[str, Any]]:
    """Return the instances to look at: those that people rated, and a sample of those judged."""
    picked = pick(rows, min(size, _MOST_SHOWN), seed) if found is None else pick(rows, size, seed)
    keys = [*answers, *(key for key in picked["instance_id"][:] if key not in answers)][:_MOST_SHOWN]
    place = {key: row for row, key in enumerate(rows["instance_id"][:])}
    judged = {} if found is None else index(found.judgements.to_list())
    feature = rows.features.get("cluster")
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


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: _round(one) for name, one in value.items()}
    return [_round(one) for one in value] if isinstance(value, list | tuple) else value
