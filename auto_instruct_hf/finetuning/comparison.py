"""Results of runs as figures: gains over the untouched model, with intervals."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from datasets import Dataset, DatasetDict

from ..core import INSTANCES, FloatArray, Trace, count_words, from_rows, instruction_id
from ..evaluation import bootstrap_mean, measure_share
from ..evaluation.judging import compare_outputs
from ..evaluation.measures import Figures
from ..teacher import Teacher
from .runs import UNTOUCHED, VALIDATION, Result, TestTasks
from .scoring import measure_rouge

# Ours: fewer tasks of a kind say nothing.
_MIN_TASKS = 5


def compare_losses(results: Mapping[str, Sequence[Result]], tasks: TestTasks, main: str) -> dict[str, Figures]:
    """Compare the losses of the reference answers.

    Args:
        results: The runs of each arm, one for each training seed, the untouched model first.
        tasks: The tasks.
        main: The arm that the others are compared with.

    Returns:
        Set -> arm -> `loss` (nats per answer token, all tokens together, mean over the seeds); `gain`, how much lower
        it is than the untouched model's, with the interval over tasks and seeds; `lower`, the share of tasks whose loss
        is lower in the mean over seeds; `by_kind`, the gain for classification and other tasks; and
        `ahead`, the gain of `main` over this arm. Gains are as `intervals.MeanDifference`.
    """
    found: dict[str, Figures] = {}
    for name, tokens in tasks.tokens.items():
        lengths = np.array([one.num_answer for one in tokens], dtype=np.float64)
        sums = {arm: np.array([run.losses[name] for run in runs]) for arm, runs in results.items()}
        means = {arm: own / lengths for arm, own in sums.items()}
        kinds = np.array(tasks.rows[name]["is_classification"][:], dtype=bool)
        found[name] = {arm: {"loss": float(own.sum() / lengths.sum() / len(own))} for arm, own in sums.items()}
        for arm in [arm for arm in results if arm != UNTOUCHED]:
            gains = means[UNTOUCHED] - means[arm]
            found[name][arm] |= {
                "gain": asdict(bootstrap_mean(gains, lengths)),
                "lower": asdict(measure_share(bool(gain > 0) for gain in gains.mean(axis=0))),
                "by_kind": _by_kind(gains, kinds, lengths),
            }
            if arm != main:
                found[name][arm]["ahead"] = asdict(bootstrap_mean(means[arm] - means[main], lengths))
    return found


def _by_kind(gains: FloatArray, kinds: npt.NDArray[np.bool_], lengths: FloatArray) -> Figures:
    groups = {"classification": kinds, "other": ~kinds}
    return {
        name: asdict(bootstrap_mean(gains[:, own], lengths[own]))
        for name, own in groups.items()
        if own.sum() >= _MIN_TASKS
    }


def compare_answers(results: Mapping[str, Sequence[Result]], tasks: TestTasks) -> dict[str, Figures]:
    """Compare greedy answers with the references.

    Returns set -> arm -> `rouge_l` (mean F1), `words` (mean), and `gain` in ROUGE-L over the untouched model, as
    `intervals.MeanDifference`; `references` has the words of the references. Sets without answers are left out.
    """
    found: dict[str, Figures] = {}
    for name in tasks.rows:
        references = tasks.answered(name)["output"][:]
        if not references:
            continue
        scores = {
            arm: np.array([measure_rouge(run.answers[name], references) for run in runs])
            for arm, runs in results.items()
        }
        found[name] = {"references": {"words": statistics.mean(map(count_words, references))}}
        for arm, own in scores.items():
            words = [count_words(answer) for run in results[arm] for answer in run.answers[name]]
            found[name][arm] = {"rouge_l": float(own.mean()), "words": statistics.mean(words)}
            if arm != UNTOUCHED:
                found[name][arm]["gain"] = asdict(bootstrap_mean(own - scores[UNTOUCHED]))
    return found


def judge_answers(
    results: Mapping[str, Sequence[Result]],
    tasks: TestTasks,
    judge: Teacher,
    cache_dir: Path | None = None,
) -> dict[str, Figures]:
    """Let a judge compare the greedy answers of the first seed with the untouched model's, each pair in both orders.

    Returns set -> arm -> `tasks`, `wins`, `losses`, `ties` (equal answers, ties, and verdicts that depend on the
    order), `unjudged`, and `win_rate`: wins and half of the ties.
    """
    splits, number = DatasetDict(), dict[str, tuple[str, str]]()
    for name in tasks.rows:
        rows = tasks.answered(name)
        for arm in [arm for arm in results if arm != UNTOUCHED and len(rows)]:
            key = f"set{len(number)}"
            number[key] = (name, arm)
            splits[key] = _pair_rows(rows, {one: results[one][0].answers[name] for one in (UNTOUCHED, arm)})
    trace = Trace()
    preferred = compare_outputs(splits, judge, cache_dir=cache_dir, trace=trace)
    failed = [row["split"] for row in trace.rejected or () if row["rejected"].startswith("judge: ")]
    found: dict[str, Figures] = {}
    for key, (name, arm) in number.items():
        wins = sum(one.startswith(f"{arm}:") for one in preferred[key]["chosen_id"][:]) if key in preferred else 0
        lost = len(preferred[key]) - wins if key in preferred else 0
        unjudged = failed.count(key)
        judged = len(splits[key]) // 2 - unjudged
        ties = judged - wins - lost
        rate = (wins + ties / 2) / judged if judged else None
        figures = {"tasks": judged, "wins": wins, "losses": lost, "ties": ties, "unjudged": unjudged, "win_rate": rate}
        found.setdefault(name, {})[arm] = figures
    return found


def _pair_rows(tasks: Dataset, answers: Mapping[str, Sequence[str]]) -> Dataset:
    """Return two instances of each task; their ids begin with the arm."""
    rows = [
        {
            "instance_id": f"{arm}:{number}",
            "instruction_id": instruction_id(f"{number} {task['instruction']}"),
            "instruction": task["instruction"],
            "is_classification": task["is_classification"],
            "attribute": "",
            "input": task["input"],
            "output": answers[arm][number],
        }
        for number, task in enumerate(tasks)
        for arm in answers
    ]
    return from_rows(rows, INSTANCES)


def choose_rate(candidates: Sequence[Result]) -> Result:
    """Return the run with the lowest loss on the validation tasks; of equals the first."""
    return min(candidates, key=lambda run: sum(run.losses[VALIDATION]))
