"""What a judge says of a dataset, how reliable the judge is, and the instances that pass."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from datasets import ClassLabel, Dataset

from ...core import CLUSTERED, Trace, fingerprint, from_rows, hide_folder, keep, require_columns, with_rejected
from ...recipe import JudgeSettings
from ...sampling import pick
from ...teacher import Teacher
from ..intervals import ShareOfYes, measure_share
from ..measures import Figures
from ..questions import QUESTIONS, DatasetRow
from .checks import OTHER_OUTPUT, describe_checks, make_checks
from .judge_model import warn_of_own_words
from .verdicts import ASKED, READ, index, judge, passed_all, passes


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
    """The figures of a judge; `asdict` makes them ready for JSON.

    `failed` counts the instances without a usable reply by reason; they are in no share. `confidence` is the mean.
    `checks` maps the name of a check to `asked`, `failed`, and the fields of `Discernment`, or `agreement`.
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
        instances: Columns as `schema.INSTANCES`, and `cluster` for shares by cluster. Their order does not matter.
        teacher: The model that judges.
        settings: The size of the sample, and the share of it that is used for the checks.
        seed: Seed of the sample and of the checks.
        written_by: The model that wrote the instances, to warn if it judges itself; "": unknown.
        everything: Judge all instances; the checks still use the sample.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the instances without a usable judgement.

    Returns:
        Judgements and figures.
    """
    settings, trace, check_trace = settings or JudgeSettings(), trace or Trace(), Trace()
    instances = require_columns(instances, CLUSTERED, "assess", (*READ, "instruction_id"))
    picked = pick(instances, settings.size, seed)
    # `pick` returns a random order, so the first rows are a sample as well.
    checked = picked.select(range(round(len(picked) * settings.check_share)))
    asked = instances if everything else picked
    texts = asked.select_columns(list(READ))
    if not everything:
        # Rebuilt from its rows, so that its fingerprint depends on the content, not on the date of a file.
        texts = from_rows(texts.to_list(), texts.features)
    judgements = judge(texts, teacher, settings=settings, cache_dir=cache_dir, trace=trace)
    changed = from_rows(make_checks(checked.to_list(), instances, seed), ASKED)
    changed = judge(changed, teacher, as_checks=True, settings=settings, cache_dir=cache_dir, trace=check_trace)
    rows = judgements.to_list()
    checks = describe_checks(rows, list(changed), list(check_trace.rejected or ()))
    warnings = [warn_of_own_words(teacher.model, written_by)]
    if OTHER_OUTPUT in checks and not checks[OTHER_OUTPUT]["discerns"]:
        warnings.append(
            f"On {checks[OTHER_OUTPUT]['own']['asked']} instances the judge did not distinguish, with 95 % confidence, "
            "the outputs of other instructions from their own: do not rely on its shares."
        )
    figures = JudgeFigures(
        **vars(measure_judgements(rows)),
        judge=hide_folder(teacher.model),
        written_by=hide_folder(written_by),
        asked=len(asked),
        judged=len(rows),
        failed=dict(Counter(row["rejected"] for row in trace.rejected or ()).most_common()),
        confidence=sum(row["confidence"] for row in rows) / len(rows) if rows else None,
        by_kind=_measure_groups(asked, "is_classification", rows),
        by_cluster=_measure_groups(asked, "cluster", rows),
        checks=checks,
        warnings=[warning for warning in warnings if warning],
    )
    return Assessment(judgements, figures)


def _measure_groups(instances: Dataset, column: str, judgements: Sequence[DatasetRow]) -> dict[str, JudgedShares]:
    """Return the shares of the instances with the same value in a column, by its name; {} without the column."""
    if column not in instances.column_names:
        return {}
    by_id, feature = index(judgements), instances.features[column]
    members: dict[str, list[DatasetRow]] = {}
    for key, value in zip(instances["instance_id"][:], instances[column][:], strict=True):
        if isinstance(value, bool):
            name = "classification" if value else "other"
        else:
            name = feature.int2str(value) if isinstance(feature, ClassLabel) else str(value)
        members.setdefault(name, []).extend([by_id[key]] if key in by_id else [])
    return {name: measure_judgements(members[name]) for name in sorted(members)}


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
        cache_dir: As for `assess`.
        trace: If given, it receives the dropped rows with their reasons; in `facts` `before`, the fields of
            `JudgeFigures`, `after`, those of `JudgedShares` for the kept rows, `kept` and `min_judge`; in `tables` the
            `judgements`.

    Returns:
        The instances that pass, with all their columns.
    """
    settings, failures = settings or JudgeSettings(), Trace()
    min_confidence = settings.min_judge or 0.0
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
    judgements = list(found.judgements)
    reasons = {row["instance_id"]: row["rejected"] for row in failures.rejected or ()}
    reasons |= {row["instance_id"]: passes(row, min_confidence) for row in judgements}
    judged = instances.add_column(
        "rejected",
        [reasons[key] for key in instances["instance_id"][:]],
        feature=with_rejected(instances.features)["rejected"],
        new_fingerprint=fingerprint(instances._fingerprint, found.judgements._fingerprint, min_confidence),
    )
    if trace is not None:
        kept = [row for row in judgements if not reasons[row["instance_id"]]]
        before, after = asdict(found.figures), asdict(measure_judgements(kept))
        trace.facts.update(min_judge=min_confidence, before=before, after=after, kept=len(kept))
        trace.tables["judgements"] = found.judgements
    return keep(judged, phase="judge-passed", cache_dir=cache_dir, trace=trace)


def measure_judgements(judgements: Sequence[DatasetRow]) -> JudgedShares:
    """Return the shares of yes in judgements, columns as `questions.JUDGEMENTS`."""
    shares = {}
    for question in QUESTIONS:
        share = measure_share(row[question.name] for row in judgements)
        shares[question.name] = PublishedShare(**vars(share), published=question.published)
    return JudgedShares(shares, measure_share(map(passed_all, judgements)))
