"""What a judge says of a dataset, how reliable the judge is, and the instances that pass."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from datasets import ClassLabel, Dataset

from ...core import (
    CLUSTERED,
    Batch,
    Columns,
    Trace,
    apply,
    from_rows,
    hide_folder,
    keep,
    require_columns,
    with_rejected,
)
from ...recipe import JudgeSettings
from ...sampling import pick
from ...teacher import Teacher
from ..intervals import ShareOfYes, measure_share
from ..measures import Figures
from ..questions import NAMES, QUESTIONS, DatasetRow
from .checks import OTHER_OUTPUT, REVERSED, REWORDED, make_checks, measure_agreement, measure_discernment
from .judge_model import warn_of_own_words
from .verdicts import ASKED, READ, index, judge, passes

_NEEDED = (*READ, "instruction_id")


@dataclass(frozen=True)
class PublishedShare(ShareOfYes):
    """A share of yes beside the published ones, by dataset."""

    published: Mapping[str, float]


@dataclass(frozen=True)
class JudgedShares:
    """Shares of yes by question, and the share of instances with yes to all questions that apply."""

    shares: Mapping[str, PublishedShare]
    passed: ShareOfYes


@dataclass(frozen=True)
class JudgeFigures(JudgedShares):
    """What a judge said, as figures; `asdict` makes them ready for JSON.

    `failed` counts the instances without a usable reply by reason; they are in no share. `confidence` is the mean.
    `checks` maps the name of a check to `asked`, `failed`, and the fields of `Discernment`, or `agreement`.
    `warnings` are reasons to doubt the shares.
    """

    judge: str
    written_by: str
    asked: int
    judged: int
    failed: Mapping[str, int]
    confidence: float | None
    by_kind: Mapping[str, JudgedShares]
    by_cluster: Mapping[str, JudgedShares]
    checks: Mapping[str, Figures]
    warnings: Sequence[str]


@dataclass(frozen=True)
class Assessment:
    """Judgements (columns as `questions.JUDGEMENTS`), and the figures."""

    judgements: Dataset
    figures: JudgeFigures


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
        instances: Columns as `schema.INSTANCES`; with `cluster`, shares by cluster as well. The order of the rows does
            not change the result.
        teacher: The model that judges.
        settings: The size of the sample, and the share of it that is used for the checks.
        seed: Seed of the sample and of the swapped outputs.
        written_by: The model that wrote the instances, to warn where it judges itself; "": unknown.
        everything: Judge all instances; the checks still use the sample.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the instances without a usable judgement.

    Returns:
        Judgements and figures.
    """
    settings = settings or JudgeSettings()
    instances = require_columns(instances, CLUSTERED, "assess", _NEEDED)
    trace, check_trace = trace or Trace(), Trace()
    picked = pick(instances, settings.size, seed)
    # `pick` returns a random order, so the first rows are a sample as well.
    checked = picked.select(range(round(len(picked) * settings.check_share)))
    judged = instances if everything else picked
    rows = judged.select_columns(list(_NEEDED))
    if not everything:
        # Rebuilt from its rows, so that its fingerprint depends on the content, not on the date of a file.
        rows = from_rows(rows.to_list(), rows.features)
    judgements = judge(rows, teacher, settings=settings, cache_dir=cache_dir, trace=trace)
    asked = from_rows(make_checks(checked.to_list(), instances, seed), ASKED)
    checks = judge(asked, teacher, as_checks=True, settings=settings, cache_dir=cache_dir, trace=check_trace)
    figures = _summarise(
        judged,
        judgements.to_list(),
        failed=[] if trace.rejected is None else trace.rejected["rejected"][:],
        checks=_describe_checks(judgements.to_list(), checks.to_list(), check_trace),
        judge=hide_folder(teacher.model),
        written_by=hide_folder(written_by),
    )
    return Assessment(judgements, figures)


def _summarise(
    instances: Dataset,
    judgements: Sequence[DatasetRow],
    *,
    failed: Iterable[str],
    checks: Mapping[str, Figures],
    judge: str,
    written_by: str,
) -> JudgeFigures:
    by_id = index(judgements)
    ids = instances["instance_id"][:]
    kinds = ["classification" if is_clf else "other" for is_clf in instances["is_classification"][:]]
    clusters: Sequence[str] = []
    if "cluster" in instances.column_names:
        feature = instances.features["cluster"]
        clusters = list(map(feature.int2str if isinstance(feature, ClassLabel) else str, instances["cluster"][:]))
    warnings = [warn_of_own_words(judge, written_by)] if written_by else []
    discernment = checks.get(OTHER_OUTPUT)
    if discernment and not discernment["discerns"]:
        warnings.append(
            f"On {discernment['own']['asked']} instances the judge did not tell, with 95 % confidence, the outputs of "
            "other instructions from their own: do not rely on its shares."
        )
    return JudgeFigures(
        **vars(measure_judgements(judgements)),
        judge=judge,
        written_by=written_by,
        asked=len(instances),
        judged=len(judgements),
        failed=dict(Counter(failed).most_common()),
        confidence=sum(row["confidence"] for row in judgements) / len(judgements) if judgements else None,
        by_kind=_measure_groups(ids, kinds, by_id),
        by_cluster=_measure_groups(ids[: len(clusters)], clusters, by_id),
        checks=checks,
        warnings=[text for text in warnings if text],
    )


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
    """Judge all instances and keep those with yes to all questions that apply, and enough confidence.

    Args:
        instances: Columns as `schema.INSTANCES`.
        teacher: The model that judges.
        settings: `min_judge` is the minimum confidence; None there: 0.
        seed: Seed of the checks of the judge.
        written_by: As for `assess`.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the dropped rows, each with its reason (the first question answered no, too little
            confidence, or no usable judgement); in `facts` `before`, the fields of `JudgeFigures`, `after`, those of
            `JudgedShares` for the kept rows, `kept` and `min_judge`; in `tables` the `judgements`.

    Returns:
        The instances that pass, with all their columns.
    """
    settings = settings or JudgeSettings()
    min_confidence, failures = settings.min_judge or 0.0, Trace()
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
    judgements = found.judgements.to_list()
    reasons = {row["instance_id"]: passes(row, min_confidence) for row in judgements}
    if failures.rejected is not None:
        reasons |= dict(zip(failures.rejected["instance_id"], failures.rejected["rejected"], strict=True))
    judged = apply(
        instances,
        reject_batch,
        phase="judge-passed",
        features=with_rejected(instances.features),
        resources={"reasons": reasons},
        depends_on=[found.judgements._fingerprint, min_confidence],
        cache_dir=cache_dir,
    )
    if trace is not None:
        kept = [row for row in judgements if not reasons[row["instance_id"]]]
        before, after = asdict(found.figures), asdict(measure_judgements(kept))
        trace.facts.update(min_judge=min_confidence, before=before, after=after, kept=len(kept))
        trace.tables["judgements"] = found.judgements
    return keep(judged, phase="judge-passed", cache_dir=cache_dir, trace=trace)


def reject_batch(batch: Batch, *, reasons: Mapping[str, str]) -> Columns:
    """Add `rejected` to a batch of instances, by the reasons for their ids."""
    return {**batch, "rejected": [reasons[key] for key in batch["instance_id"]]}


def measure_judgements(judgements: Sequence[DatasetRow]) -> JudgedShares:
    """Return the shares of yes in judgements, columns as `questions.JUDGEMENTS`."""
    shares = [(one, measure_share(row[one.name] for row in judgements)) for one in QUESTIONS]
    return JudgedShares(
        {one.name: PublishedShare(**vars(share), published=one.published) for one, share in shares},
        measure_share(map(passed_all, judgements)),
    )


def passed_all(judgement: DatasetRow) -> bool:
    """Return whether no question that applies is answered no."""
    return all(judgement[name] is not False for name in NAMES)


def _measure_groups(
    ids: Collection[str], groups: Collection[str], judgements: Mapping[str, DatasetRow]
) -> dict[str, JudgedShares]:
    """Return the shares of each group, by its name."""
    members: dict[str, list[DatasetRow]] = {name: [] for name in sorted(groups)}
    for key, name in zip(ids, groups, strict=True):
        members[name] += [judgements[key]] if key in judgements else []
    return {name: measure_judgements(rows) for name, rows in members.items()}


def _describe_checks(
    judgements: Sequence[DatasetRow], checks: Sequence[DatasetRow], trace: Trace
) -> dict[str, Figures]:
    failed = trace.rejected.to_list() if trace.rejected is not None else []
    found: dict[str, Figures] = {}
    for name in (OTHER_OUTPUT, REVERSED, REWORDED):
        rows = [row for row in checks if row["check"] == name]
        reasons = Counter(row["rejected"] for row in failed if row["check"] == name)
        if rows or reasons:
            found[name] = {"asked": len(rows) + reasons.total(), "failed": dict(reasons.most_common())}
            if name == OTHER_OUTPUT:
                found[name] |= asdict(measure_discernment(judgements, rows))
            else:
                agreement = measure_agreement(judgements, rows)
                found[name]["agreement"] = {question: asdict(one) for question, one in agreement.items()}
    return found
