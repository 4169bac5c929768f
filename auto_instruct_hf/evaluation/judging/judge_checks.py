"""Is the judge to be believed? It is shown wrong outputs, and asked the same in another order and in other words."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from ...core import normalise
from ..intervals import Share, describe_share, measure_share
from ..questions import NAMES
from .judge import READ, index

OTHER_OUTPUT, REVERSED, REWORDED = "other output", "reversed", "reworded"
_CORRECT = "output_correct"
ASSUMPTION = (
    "Taken: an output of another instruction is wrong. Where some of the own outputs are wrong as well, the judge is "
    "better than the balanced accuracy says; where real faults are harder to see than another task's output, it is "
    "worse at them."
)


def make_checks(picked: Sequence[Mapping[str, Any]], pool: Dataset, seed: int) -> list[dict[str, Any]]:
    """Put instances to the judge in three more ways.

    Args:
        picked: Rows with `instruction_id` and the columns that `judge.judge` reads.
        pool: Where the other outputs come from; the same columns. The order of its rows decides nothing.
        seed: Decides which output takes the place of whose.

    Returns:
        Rows as `judge.ASKED`: each instance with the output of another instruction (left out where there is none of the
        same kind that differs), with questions and texts in reverse order, and in other words.
    """
    plain = [{name: row[name] for name in READ} for row in picked]
    return [
        *({**row, "form": "judge", "check": OTHER_OUTPUT} for row in swap_outputs(picked, pool, seed)),
        *({**row, "form": form, "check": form} for form in (REVERSED, REWORDED) for row in plain),
    ]


def swap_outputs(picked: Sequence[Mapping[str, Any]], pool: Dataset, seed: int) -> list[dict[str, Any]]:
    """Give instances the output of another instruction, of the same kind, that does not say the same.

    Args:
        picked: As for `make_checks`, and so are the others.
        pool: Likewise.
        seed: Likewise.

    Returns:
        The instances for which there is one, with it.
    """
    generator = np.random.default_rng(seed)
    ids, instructions = pool["instance_id"][:], pool["instruction_id"][:]
    kinds, outputs = pool["is_classification"][:], pool["output"][:]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    of_kind = {kind: np.array([n for n in order if kinds[n] == kind]) for kind in (False, True)}
    swapped = []
    for row in picked:
        own = _gist(row["output"])
        for donor in generator.permutation(of_kind[row["is_classification"]]):
            if instructions[donor] != row["instruction_id"] and _gist(outputs[donor]) != own:
                swapped.append({**{name: row[name] for name in READ}, "output": outputs[donor]})
                break
    return swapped


def _gist(text: str) -> str:
    """Return a text without what two answers that say the same may differ in: "Yes." and "yes"."""
    return re.sub(r"\W+", " ", normalise(text)).strip() or text


def measure_discernment(
    judgements: Iterable[Mapping[str, Any]], swapped: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Compare how often an output is called correct, an instance's own and another instruction's.

    Args:
        judgements: Judgements of instances as they are, columns as JUDGEMENTS.
        swapped: Those of the same instances with another output.

    Returns:
        Of the instances judged in both ways: `own` and `other`, shares of correct; `fall`, the former less the latter,
        `low` and `high` with 95 % confidence (Newcombe 1998, method 10, for independent samples: these are pairs, so
        if anything it is too wide); `balanced_accuracy`, (1 + fall) / 2, likewise with bounds, at telling an own output
        from another's: 0.5 is a coin's; `discerns`, whether the fall is above 0 with that confidence; `assumption`.
    """
    own = index(judgements)
    pairs = [(own[row["instance_id"]], row) for row in swapped if row["instance_id"] in own]
    first, second = (measure_share(pair[side][_CORRECT] for pair in pairs) for side in (0, 1))
    found: dict[str, Any] = {"own": describe_share(first), "other": describe_share(second)}
    fall, low, high = _difference(first, second)
    accuracy = None if fall is None else {name: (1 + one) / 2 for name, one in _named(fall, low, high).items()}
    return {
        **found,
        "fall": fall,
        "low": low,
        "high": high,
        "balanced_accuracy": accuracy,
        "discerns": fall is not None and low > 0,
        "assumption": ASSUMPTION,
    }


def _named(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def _difference(first: Share, second: Share) -> tuple[float | None, float, float]:
    if first.share is None or second.share is None:
        return None, -1.0, 1.0
    fall = first.share - second.share
    below = math.hypot(first.share - first.low, second.high - second.share)
    above = math.hypot(first.high - first.share, second.share - second.low)
    return fall, fall - below, fall + above


def measure_agreement(
    judgements: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Compare two judgements of the same instances.

    Args:
        judgements: Those in the main form, columns as JUDGEMENTS.
        others: Those in another, or by another rater.

    Returns:
        For each question the share of equal answers, of the instances with both, and Cohen's `kappa` (1960): agreement
        beyond chance, 1 at most; None where all answers are the same, which leaves nothing to explain.
    """
    own = index(judgements)
    pairs = [(own[row["instance_id"]], row) for row in others if row["instance_id"] in own]
    found = {}
    for name in NAMES:
        both = [(one[name], other[name]) for one, other in pairs if one[name] is not None and other[name] is not None]
        equal = measure_share(one == other for one, other in both)
        found[name] = {**describe_share(equal), "kappa": _kappa(both)}
    return found


def _kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    if len({answer for pair in pairs for answer in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(*zip(*pairs, strict=True)))
