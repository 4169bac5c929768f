"""What a judge says of a dataset, what is to be thought of the judge, and the instances that pass."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset

from ...core import CLUSTERED, Batch, Trace, apply, from_rows, hide_folder, keep, require_columns, with_rejected
from ...recipe import JudgeSettings
from ...sampling import pick
from ...teacher import Teacher
from ..intervals import describe_share, measure_questions, measure_share
from ..questions import NAMES, QUESTIONS
from .judge import ASKED, READ, index, judge, judge_checks, passes
from .judge_checks import OTHER_OUTPUT, REVERSED, REWORDED, make_checks, measure_agreement, measure_discernment
from .judge_model import warn_of_own_words

_NEEDED = (*READ, "instruction_id")


@dataclass(frozen=True)
class Assessment:
    """Judgements (columns as `questions.JUDGEMENTS`), those of the checks (`judge.CHECKED`), figures ready for JSON."""

    judgements: Dataset
    checks: Dataset
    figures: dict[str, Any]


def assess(
    instances: Dataset,
    teacher: Teacher,
    *,
    settings: JudgeSettings | None = None,
    seed: int = 42,
    written_by: str = "",
    everything: bool = False,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Assessment:
    """Judge a sample of a dataset, and check the judge.

    Args:
        instances: Columns as `schema.INSTANCES`; with `cluster`, shares by cluster as well. The order of the rows
            decides nothing.
        teacher: The model that judges.
        settings: How many are judged, and how many of them serve the checks.
        seed: Decides which, and which outputs are swapped.
        written_by: The model that wrote the instances, to warn where it judges itself; "": not known.
        everything: Judge all instances in place of a sample; the checks stay as small.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the instances without a usable judgement.

    Returns:
        Judgements, checks and figures, as `summarise` tells them.
    """
    settings = settings or JudgeSettings()
    instances = require_columns(instances, CLUSTERED, "assess", _NEEDED)
    trace = trace or Trace()
    common: dict[str, Any] = {"settings": settings, "cache_dir": cache_dir}
    picked = pick(instances, settings.size, seed)
    # In a random order, so its first rows are a sample as well.
    checked = picked.select(range(round(len(picked) * settings.check_share)))
    judged = instances if everything else picked
    # By their content: a file that is read again is the same rows, whatever its date.
    rows = judged.select_columns(list(_NEEDED))
    if not everything:
        rows = from_rows(rows.to_list(), rows.features)
    judgements = judge(rows, teacher, trace=trace, **common)
    check_trace = Trace()
    asked = make_checks(checked.to_list(), instances, seed)
    checks = judge_checks(from_rows(asked, ASKED), teacher, trace=check_trace, **common)
    figures = summarise(
        judged,
        judgements,
        checks=checks.to_list(),
        failed=trace.rejected["rejected"][:] if trace.rejected is not None else (),
        failed_checks=check_trace.rejected.to_list() if check_trace.rejected is not None else (),
        judge=hide_folder(teacher.model),
        written_by=hide_folder(written_by),
    )
    return Assessment(judgements, checks, figures)


def summarise(
    instances: Dataset,
    judgements: Dataset,
    *,
    checks: Sequence[Mapping[str, Any]] = (),
    failed: Iterable[str] = (),
    failed_checks: Iterable[Mapping[str, Any]] = (),
    judge: str = "",
    written_by: str = "",
) -> dict[str, Any]:
    """Put what a judge said into figures.

    Args:
        instances: What was asked about; columns `instance_id`, `is_classification`, and `cluster` where there is one.
        judgements: What it said, columns as `questions.JUDGEMENTS`.
        checks: What it said when it was checked, rows with the columns of `judge.CHECKED`.
        failed: Why each of the others has no judgement.
        failed_checks: The checks without a judgement, rows with `check` and `rejected`.
        judge: The name of the judge.
        written_by: The name of the model that wrote the instances, "" where it is not known.

    Returns:
        Figures ready for JSON. `asked`, `judged`, `failed` (counts, the last by reason: a request that failed is no
        answer, and stands in no share). `shares` of yes by question, with the bounds of `shares.Share` and the
        `published` ones; `passed`, of all questions that apply at once; `by_kind` and `by_cluster`, the same for parts.
        `confidence`, the mean. `checks`, by the name of the check, each with `asked` and `failed`. `warnings` (str),
        where the shares are to be doubted.
    """
    said = judgements.to_list()
    by_id, kind_of, cluster_of = index(said), _kinds(instances), _clusters(instances)
    failed, failed_checks = list(failed), list(failed_checks)
    found: dict[str, Any] = {
        "judge": judge,
        "written_by": written_by,
        "asked": len(instances),
        "judged": len(said),
        "failed": dict(Counter(failed).most_common()),
        **_measure(said),
        "confidence": sum(row["confidence"] for row in said) / len(said) if said else None,
        "by_kind": _by(kind_of, by_id),
        "by_cluster": _by(cluster_of, by_id),
        "checks": _check(said, checks, failed_checks),
    }
    discernment = found["checks"].get(OTHER_OUTPUT)
    warnings = [warn_of_own_words(judge, written_by)] if written_by else []
    if discernment and not discernment["discerns"]:
        warnings.append(
            f"On {discernment['own']['asked']} instances the judge did not tell, with 95 % confidence, the outputs of "
            "other instructions from their own: do not rely on its shares."
        )
    return {**found, "warnings": [text for text in warnings if text]}


def filter_judged(
    instances: Dataset,
    teacher: Teacher,
    *,
    settings: JudgeSettings | None = None,
    seed: int = 42,
    written_by: str = "",
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Judge all instances and keep those that pass: every question that applies answered yes, with confidence enough.

    Args:
        instances: Columns as `schema.INSTANCES`.
        teacher: The model that judges.
        settings: `min_judge` is the least confidence; None there: 0.
        seed: Of the checks of the judge.
        written_by: As for `assess`.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the dropped rows, each with its reason (the first question answered no, too
            little confidence, or no usable judgement), and the figures: `before` as `summarise` tells them, `after` the
            shares among those kept.

    Returns:
        The instances that pass, with all columns that came in.
    """
    settings = settings or JudgeSettings()
    least, failures = settings.min_judge or 0.0, Trace()
    found = assess(
        instances,
        teacher,
        settings=settings,
        seed=seed,
        written_by=written_by,
        everything=True,
        cache_dir=cache_dir,
        trace=failures,
    )
    said = found.judgements.to_list()
    reasons = {row["instance_id"]: passes(row, least) for row in said}
    if failures.rejected is not None:
        reasons |= dict(zip(failures.rejected["instance_id"], failures.rejected["rejected"], strict=True))
    judged = apply(
        instances,
        reject_batch,
        phase="judge-passed",
        features=with_rejected(instances.features),
        resources={"reasons": reasons},
        depends_on=[found.judgements._fingerprint, least],
        cache_dir=cache_dir,
    )
    if trace is not None:
        kept = [row for row in said if not reasons[row["instance_id"]]]
        trace.facts.update(min_judge=least, before=found.figures, after=_measure(kept), kept=len(kept))
        trace.tables["judgements"] = found.judgements
    return keep(judged, phase="judge-passed", cache_dir=cache_dir, trace=trace)


def reject_batch(batch: Batch, *, reasons: Mapping[str, str]) -> dict[str, list[Any]]:
    """Add `rejected` to a batch of instances, by the reasons for their ids."""
    return {**batch, "rejected": [reasons[key] for key in batch["instance_id"]]}


def _measure(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    published = {question.name: dict(question.published) for question in QUESTIONS}
    shares = measure_questions(rows)
    return {
        "shares": {name: {**describe_share(share), "published": published[name]} for name, share in shares.items()},
        "passed": describe_share(measure_share(all(row[name] is not False for name in NAMES) for row in rows)),
    }


def _by(groups: Mapping[str, str], judgements: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of each group: instance id -> its name."""
    members: dict[str, list[Mapping[str, Any]]] = {}
    for key, name in groups.items():
        members.setdefault(name, []).extend([judgements[key]] if key in judgements else [])
    return {name: _measure(members[name]) for name in sorted(members)}


def _kinds(instances: Dataset) -> dict[str, str]:
    kinds = ("classification" if kind else "other" for kind in instances["is_classification"][:])
    return dict(zip(instances["instance_id"][:], kinds, strict=True))


def _clusters(instances: Dataset) -> dict[str, str]:
    if "cluster" not in instances.column_names:
        return {}
    feature = instances.features["cluster"]
    names = feature.int2str if isinstance(feature, ClassLabel) else str
    return dict(zip(instances["instance_id"][:], map(names, instances["cluster"][:]), strict=True))


def _check(
    said: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (OTHER_OUTPUT, REVERSED, REWORDED):
        rows = [row for row in checks if row["check"] == name]
        reasons = Counter(row["rejected"] for row in failed if row["check"] == name)
        if rows or reasons:
            figures = measure_discernment(said, rows) if name == OTHER_OUTPUT else {}
            agreement = {} if name == OTHER_OUTPUT else {"agreement": measure_agreement(said, rows)}
            counts = {"asked": len(rows) + reasons.total(), "failed": dict(reasons.most_common())}
            found[name] = {**counts, **figures, **agreement}
    return found
