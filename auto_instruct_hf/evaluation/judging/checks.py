"""Checks of the judge: wrong outputs, and the same questions in another order and in other words."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from datasets import Dataset

from ...core import normalise
from ...prompts import JUDGE
from ..intervals import ShareOfYes, measure_paired_difference, measure_share
from ..measures import Figures
from ..questions import NAMES, DatasetRow
from .verdicts import READ, index

OTHER_OUTPUT = "other output"
_OTHER_FORMS = JUDGE[1:]
ASSUMPTION = (
    "Assumption: an output of another instruction is wrong. If some of the own outputs are wrong too, the judge is "
    "better than its balanced accuracy; if real faults are harder to see than the output of another instruction, it is "
    "worse at finding them."
)


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
    assumption: str = ASSUMPTION


@dataclass(frozen=True)
class Agreement(ShareOfYes):
    """The share of equal answers, and Cohen's kappa (1960), at most 1; None if all answers are the same."""

    kappa: float | None


def make_checks(picked: Sequence[DatasetRow], pool: Dataset, seed: int) -> list[dict[str, object]]:
    """Return the checks of the judge on instances, as rows of `verdicts.ASKED`.

    Each instance is asked about with a different output of another instruction of the same kind, drawn from `pool` if
    it has one; with questions and texts in reverse order; and in other words. Both arguments have `instruction_id` and
    the columns `verdicts.READ`; the order of `pool` does not matter.
    """
    generator = np.random.default_rng(seed)
    ids, instructions = pool["instance_id"][:], pool["instruction_id"][:]
    kinds, outputs = pool["is_classification"][:], pool["output"][:]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    of_kind = {kind: np.array([n for n in order if kinds[n] == kind]) for kind in (False, True)}
    plain = [{name: row[name] for name in READ} for row in picked]
    swapped: list[dict[str, object]] = []
    for row, asked in zip(picked, plain, strict=True):
        own = _simplify(row["output"])
        for donor in generator.permutation(of_kind[row["is_classification"]]):
            if instructions[donor] != row["instruction_id"] and _simplify(outputs[donor]) != own:
                swapped.append({**asked, "output": outputs[donor], "check": OTHER_OUTPUT})
                break
    return [*swapped, *({**row, "check": form} for form in _OTHER_FORMS for row in plain)]


def _simplify(text: str) -> str:
    """Return a text without case and punctuation, so that "Yes." and "yes" are equal."""
    return re.sub(r"\W+", " ", normalise(text)).strip() or text


def describe_checks(
    judgements: Sequence[DatasetRow], checks: Sequence[DatasetRow], failed: Sequence[DatasetRow]
) -> dict[str, Figures]:
    """Return `JudgeFigures.checks`, from judgements of the checks and those without a usable reply."""
    described: dict[str, Figures] = {}
    for name in (OTHER_OUTPUT, *_OTHER_FORMS):
        rows = [row for row in checks if row["check"] == name]
        reasons = Counter(row["rejected"] for row in failed if row["check"] == name)
        if not rows and not reasons:
            continue
        described[name] = {"asked": len(rows) + reasons.total(), "failed": dict(reasons.most_common())}
        if name == OTHER_OUTPUT:
            described[name] |= asdict(measure_discernment(judgements, rows))
        else:
            agreement = measure_agreement(judgements, rows)
            described[name]["agreement"] = {question: asdict(one) for question, one in agreement.items()}
    return described


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
