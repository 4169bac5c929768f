"""Checks of the judge: it is shown wrong outputs, and asked the same in another order and in other words."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from ...core import normalise
from ..intervals import ShareOfYes, measure_paired_difference, measure_share
from ..questions import NAMES, DatasetRow
from .verdicts import READ, index

OTHER_OUTPUT, REVERSED, REWORDED = "other output", "reversed", "reworded"
_CORRECT = "output_correct"
ASSUMPTION = (
    "Assumption: an output of another instruction is wrong. Where some of the own outputs are wrong as well, the judge "
    "is better than the balanced accuracy says; where real faults are harder to see than another task's output, it is "
    "worse at them."
)


@dataclass(frozen=True)
class Discernment:
    """How well a judge tells an instance's own output from that of another instruction.

    `own` and `other` are the shares called correct, over the instances judged in both ways; `fall` is the former minus
    the latter, `low` and `high` its 95 % interval; `balanced_accuracy` is (1 + fall) / 2 with its bounds (`value`,
    `low`, `high`): 0.5 is chance; `discerns` tells whether the fall is above 0 with that confidence.
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
    """The share of equal answers, and Cohen's kappa (1960): agreement beyond chance, at most 1.

    `kappa` is None where all answers are the same.
    """

    kappa: float | None


def make_checks(picked: Sequence[DatasetRow], pool: Dataset, seed: int) -> list[dict[str, object]]:
    """Prepare the checks of the judge on instances.

    Args:
        picked: Rows with `instruction_id` and the columns that `verdicts.judge` reads.
        pool: Source of the other outputs; the same columns. The order of its rows does not change the result.
        seed: Seed of the choice of other outputs.

    Returns:
        Rows as `verdicts.ASKED`: each instance with the output of another instruction (see `swap_outputs`), with
        questions and texts in reverse order, and in other words.
    """
    plain = [{name: row[name] for name in READ} for row in picked]
    return [
        *({**row, "form": "judge", "check": OTHER_OUTPUT} for row in swap_outputs(picked, pool, seed)),
        *({**row, "form": form, "check": form} for form in (REVERSED, REWORDED) for row in plain),
    ]


def swap_outputs(picked: Sequence[DatasetRow], pool: Dataset, seed: int) -> list[dict[str, object]]:
    """Give each instance an output of another instruction of the same kind that says something else.

    `picked`, `pool` and `seed` are as for `make_checks`; instances without a suitable output are left out.
    """
    generator = np.random.default_rng(seed)
    ids, instructions = pool["instance_id"][:], pool["instruction_id"][:]
    kinds, outputs = pool["is_classification"][:], pool["output"][:]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    of_kind = {kind: np.array([n for n in order if kinds[n] == kind]) for kind in (False, True)}
    swapped = []
    for row in picked:
        own = _simplify(row["output"])
        for donor in generator.permutation(of_kind[row["is_classification"]]):
            if instructions[donor] != row["instruction_id"] and _simplify(outputs[donor]) != own:
                swapped.append({**{name: row[name] for name in READ}, "output": outputs[donor]})
                break
    return swapped


def _simplify(text: str) -> str:
    """Return a text without case and punctuation, so that "Yes." and "yes" are equal."""
    return re.sub(r"\W+", " ", normalise(text)).strip() or text


def measure_discernment(judgements: Iterable[DatasetRow], swapped: Iterable[DatasetRow]) -> Discernment:
    """Compare how often an instance's own output and that of another instruction are called correct.

    Args:
        judgements: Judgements of instances as they are, columns as JUDGEMENTS.
        swapped: Judgements of the same instances with another output.

    Returns:
        The comparison, over the instances judged in both ways; without any, `fall` is None and its bounds -1 and 1.
    """
    own = index(judgements)
    pairs = [
        (own[row["instance_id"]][_CORRECT], row[_CORRECT])
        for row in swapped
        if row["instance_id"] in own and None not in (own[row["instance_id"]][_CORRECT], row[_CORRECT])
    ]
    first, second = (measure_share(pair[side] for pair in pairs) for side in (0, 1))
    fall = measure_paired_difference(pairs)
    if fall.value is None or fall.low is None or fall.high is None:
        return Discernment(first, second, None, -1.0, 1.0, None, False)
    bounds = {"value": fall.value, "low": fall.low, "high": fall.high}
    accuracy = {name: (1 + value) / 2 for name, value in bounds.items()}
    return Discernment(first, second, fall.value, fall.low, fall.high, accuracy, fall.low > 0)


def measure_agreement(judgements: Iterable[DatasetRow], others: Iterable[DatasetRow]) -> dict[str, Agreement]:
    """Compare two judgements of the same instances.

    Args:
        judgements: Those in the main form, columns as JUDGEMENTS.
        others: Those in another form, or by another rater.

    Returns:
        Question -> agreement over the instances with both answers.
    """
    own = index(judgements)
    pairs = [(own[row["instance_id"]], row) for row in others if row["instance_id"] in own]
    found = {}
    for name in NAMES:
        both = [(one[name], other[name]) for one, other in pairs if one[name] is not None and other[name] is not None]
        equal = measure_share(one == other for one, other in both)
        found[name] = Agreement(**vars(equal), kappa=_kappa(both))
    return found


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    if len({answer for pair in pairs for answer in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(*zip(*pairs, strict=True)))
