"""What a judge says of a dataset, how reliable the judge is, and the instances that pass."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from datasets import ClassLabel, Dataset, Features

from ...core import CLUSTERED, Trace, fingerprint, from_rows, hide_folder, keep, require_columns, with_rejected
from ...recipe import JudgeSettings
from ...sampling import pick
from ...teacher import Teacher
from ..intervals import ShareOfYes, measure_share
from ..measures import Figures
from ..questions import QUESTIONS, VERDICTS, DatasetRow, list_verdicts
from .checks import describe_checks, make_checks, warn_of_missed
from .faults import OTHER_OUTPUT
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
    `checks` maps the name of a check to `asked`, `failed`, and `agreement` for another form; for a fault, what
    `describe_fault` returns, and for the output of another instruction the fields of `Discernment`.
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
        settings: The size of the sample, and the share of it used for the checks.
        seed: Seed of the sample and of the checks.
        written_by: The model that wrote the instances, to warn if it judges itself; "": unknown.
        everything: Judge all instances; the checks are still made of the sample.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the instances without a usable judgement.

    Returns:
        Judgements and figures.
    """
    settings, trace, check_trace = settings or JudgeSettings(), trace or Trace(), Trace()
    instances = require_columns(instances, CLUSTERED, "assess", (*READ, "instruction_id"))
    picked = pick(instances, settings.size, seed)
    asked = instances if everything else picked
    texts = asked.select_columns(list(READ))
    if not everything:
        # Rebuilt from its rows, so that its fingerprint depends on the content, not on the date of a file.
        texts = from_rows(texts.to_list(), texts.features)
    judgements = judge(texts, teacher, settings=settings, cache_dir=cache_dir, trace=trace)
    rows, num_checked = judgements.to_list(), round(len(picked) * settings.check_share)
    changed = from_rows(make_checks(picked.to_list(), rows, instances, seed, num_checked), ASKED)
    changed = judge(changed, teacher, as_checks=True, settings=settings, cache_dir=cache_dir, trace=check_trace)
    checks = describe_checks(rows, changed.to_list(), list(check_trace.rejected or ()))
    warnings = [warn_of_own_words(teacher.model, written_by)]
    if OTHER_OUTPUT in checks and not checks[OTHER_OUTPUT]["discerns"]:
        warnings.append(
            f"On {checks[OTHER_OUTPUT]['own']['asked']} instances the judge did not distinguish, with 95 % confidence, "
            "the outputs of other instructions from their own: do not rely on its shares."
        )
    warnings.append(warn_of_missed(checks))
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
    keep_all: bool = False,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Judge all instances, add the verdicts as columns, and drop what does not pass.

    An instance passes with yes to all questions that apply and at least the confidence `settings.min_judge` (None: 0).

    Args:
        instances: As for `assess`.
        teacher: The model that judges.
        settings: As for `assess`, and the minimum confidence.
        seed: Seed of the sample that is used for the checks, and of these.
        written_by: The model that wrote the instances; "": unknown.
        keep_all: Whether to drop nothing.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the dropped rows with their reasons; in `facts` `before`, the fields of
            `JudgeFigures`, `after`, those of `JudgedShares` for the kept rows, `kept` and `min_judge` (None with
            `keep_all`); in `tables` the `judgements`.

    Returns:
        The kept rows with the columns `questions.VERDICTS`, null without a usable reply.
    """
    settings, failures = settings or JudgeSettings(), Trace()
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
    judgements = index(found.judgements.to_list())
    min_judge = None if keep_all else settings.min_judge or 0.0
    reasons = dict.fromkeys(instances["instance_id"][:], "")
    if min_judge is not None:
        reasons |= {row["instance_id"]: row["rejected"] for row in failures.rejected or ()}
        reasons |= {key: passes(row, min_judge) for key, row in judgements.items()}
    judged = from_rows(
        [
            {**row, **list_verdicts(judgements.get(row["instance_id"], {})), "rejected": reasons[row["instance_id"]]}
            for row in instances.to_list()
        ],
        with_rejected(Features({**instances.features, **VERDICTS})),
        fingerprint(instances._fingerprint, found.judgements._fingerprint, min_judge),
    )
    if trace is not None:
        kept = [row for key, row in judgements.items() if not reasons[key]]
        num_kept = sum(not reason for reason in reasons.values())
        before, after = asdict(found.figures), asdict(measure_judgements(kept))
        trace.facts.update(min_judge=min_judge, before=before, after=after, kept=num_kept)
        trace.tables["judgements"] = found.judgements
    return keep(judged, phase="judge-passed", cache_dir=cache_dir, trace=trace)


def measure_judgements(judgements: Sequence[DatasetRow]) -> JudgedShares:
    """Return the shares of yes in judgements, columns as `questions.JUDGEMENTS`."""
    shares = {}
    for question in QUESTIONS:
        share = measure_share(row[question.name] for row in judgements)
        shares[question.name] = PublishedShare(**vars(share), published=question.published)
    return JudgedShares(shares, measure_share(map(passed_all, judgements)))
