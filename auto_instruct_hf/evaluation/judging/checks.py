"""Checks of the judge: rows with faults made by program, and the same questions in another order and in other words."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from datasets import Dataset

from ...prompts import JUDGE
from ..intervals import ShareOfYes, measure_paired_difference, measure_share
from ..measures import Figures
from ..questions import NAMES, DatasetRow
from .faults import FAULTS, OTHER_OUTPUT, Fault, Pool, make_fault
from .verdicts import ASKED, READ, index, passed_all

FORMS = JUDGE[1:]
"""The other forms of the questions."""
NUM_CHECKS = len(FAULTS) + len(FORMS)
"""How many times at most an instance is judged again."""


@dataclass(frozen=True)
class Discernment:
    """How well a judge distinguishes an instance's own output from that of another instruction.

    `own` and `other` are the shares called correct, over the instances judged in both ways; `fall` is the former minus
    the latter (None without instances), `low` and `high` its 95 % interval; `balanced_accuracy` is (1 + fall) / 2 with
    its bounds (`value`, `low`, `high`): 0.5 is chance; `discerns` is whether the whole interval is above 0.
    """

    own: ShareOfYes
    other: ShareOfYes
    fall: float | None
    low: float
    high: float
    balanced_accuracy: Mapping[str, float] | None
    discerns: bool
    assumption: str = (
        "Assumption: an output of another instruction is wrong. If some of the own outputs are wrong too, the judge is "
        "better than its balanced accuracy; if real faults are harder to see than a swapped output, it is worse."
    )


@dataclass(frozen=True)
class Agreement(ShareOfYes):
    """The share of equal answers, and Cohen's kappa (1960), at most 1; None if all answers are the same."""

    kappa: float | None


def make_checks(
    picked: Sequence[DatasetRow], judgements: Sequence[DatasetRow], pool: Dataset, seed: int, size: int
) -> list[DatasetRow]:
    """Return the checks of the judge, as rows of `verdicts.ASKED`.

    Args:
        picked: Instances in a random order. The first `size` are asked about with another output and in the other
            forms; each other fault is made in the first `size` that it can be made in.
        judgements: Their judgements. Faults other than another output are made in instances with yes to all questions,
            so that a no is due to the fault.
        pool: All instances, from which outputs, inputs, strategies and labels are taken; their order does not matter.
        seed: Seed of the faults.
        size: Maximum number of instances for each check.

    Returns:
        The checks. `picked` and `pool` have `instruction_id` and the columns `verdicts.READ`.
    """
    donors = Pool(pool.select_columns([*READ, "instruction_id"]).to_list()) if size else Pool([])
    by_id, made = index(judgements), []
    approved = [row for row in picked if row["instance_id"] in by_id and passed_all(by_id[row["instance_id"]])]
    for name in FAULTS:
        rows = picked[:size] if name == OTHER_OUTPUT else approved
        faulty = (fault for row in rows if (fault := make_fault(name, row, donors, seed)))
        made += [{**row, "check": name} for row in itertools.islice(faulty, size)]
    made += [{**row, "check": form} for form in FORMS for row in picked[:size]]
    return [{name: row[name] for name in ASKED} for row in made]


def describe_checks(
    judgements: Sequence[DatasetRow], checks: Sequence[DatasetRow], failed: Sequence[DatasetRow]
) -> dict[str, Figures]:
    """Return `JudgeFigures.checks` from judgements of the instances and the checks, and from the checks that failed."""
    described: dict[str, Figures] = {}
    for name in (*FAULTS, *FORMS):
        rows = [row for row in checks if row["check"] == name]
        reasons = Counter(row["rejected"] for row in failed if row["check"] == name)
        if not rows and not reasons:
            continue
        described[name] = {"asked": len(rows) + reasons.total(), "failed": dict(reasons.most_common())}
        if name == OTHER_OUTPUT:
            described[name] |= asdict(measure_discernment(judgements, rows))
        if name in FAULTS:
            described[name] |= describe_fault(FAULTS[name], rows)
        else:
            agreement = measure_agreement(judgements, rows)
            described[name]["agreement"] = {question: asdict(one) for question, one in agreement.items()}
    return described


def describe_fault(fault: Fault, judgements: Iterable[DatasetRow]) -> Figures:
    """Return `meaning`, `doubt` and `questions` of a fault, and `caught`: the share of no to one of its questions."""
    caught = asdict(measure_share(any(row[name] is False for name in fault.questions) for row in judgements))
    return {"meaning": fault.meaning, "doubt": fault.doubt, "questions": list(fault.questions), "caught": caught}


def warn_of_missed(checks: Mapping[str, Figures]) -> str:
    """Return a warning that names the faults of which, with 95 % confidence, less than half are caught; "" without."""
    caught = {name: found["caught"] for name, found in checks.items() if "caught" in found}
    missed = [f"{name} ({one['yes']} of {one['asked']})" for name, one in caught.items() if one["high"] < 0.5]
    if not missed:
        return ""
    return (
        "With 95 % confidence the judge catches less than half of the faults of these kinds, made by program: "
        f"{', '.join(missed)}. Real ones pass it too."
    )


def measure_discernment(judgements: Iterable[DatasetRow], swapped: Iterable[DatasetRow]) -> Discernment:
    """Compare judgements of instances as they are with those of the same instances with another output."""
    pairs = _pair_answers(index(judgements), swapped, "output_correct")
    own, other = (measure_share(pair[side] for pair in pairs) for side in (0, 1))
    fall = measure_paired_difference(pairs)
    if fall.value is None or fall.low is None or fall.high is None:
        return Discernment(own, other, None, -1.0, 1.0, None, False)
    bounds = {"value": fall.value, "low": fall.low, "high": fall.high}
    accuracy = {name: (1 + value) / 2 for name, value in bounds.items()}
    return Discernment(own, other, fall.value, fall.low, fall.high, accuracy, fall.low > 0)


def measure_agreement(judgements: Iterable[DatasetRow], others: Iterable[DatasetRow]) -> dict[str, Agreement]:
    """Compare judgements with those in another form or by another rater, both with columns as JUDGEMENTS.

    Return question -> agreement over the instances with both answers.
    """
    own, rows, agreement = index(judgements), list(others), {}
    for name in NAMES:
        pairs = _pair_answers(own, rows, name)
        kappa = None
        if len({answer for pair in pairs for answer in pair}) == 2:
            from sklearn.metrics import cohen_kappa_score

            kappa = float(cohen_kappa_score(*zip(*pairs, strict=True)))
        agreement[name] = Agreement(**vars(measure_share(one == other for one, other in pairs)), kappa=kappa)
    return agreement


def _pair_answers(
    judgements: Mapping[str, DatasetRow], others: Iterable[DatasetRow], question: str
) -> list[tuple[bool, bool]]:
    """Return both answers to a question, for the instances that have both."""
    pairs = ((judgements.get(row["instance_id"], {}).get(question), row[question]) for row in others)
    return [(one, other) for one, other in pairs if one is not None and other is not None]
