"""Preference pairs: a language model compares the outputs of prompts that have several, each pair in both orders."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, Value

from ...core import (
    ASKING_BATCH,
    INSTANCES,
    PREFERENCES,
    Batch,
    Columns,
    Trace,
    apply,
    columns,
    count_words,
    flatten,
    from_rows,
    hide_folder,
    keep,
    make_id,
    require_columns,
    rows,
    with_rejected,
)
from ...prompts import Prompt, load_comparison_prompt
from ...recipe import JudgeSettings
from ...sampling import make_completion, make_prompt
from ...teacher import Ask, Reply, Request, Teacher
from ..intervals import measure_share
from ..questions import DatasetRow
from .judge_model import warn_of_own_words
from .verdicts import judge_prompts

_READ = ("instance_id", "instruction_id", "instruction", "input", "output")
_TEXT = Value("string")
PAIRS = Features(
    dict.fromkeys(("split", "instruction_id", "instruction", "input", "id_a", "output_a", "id_b", "output_b"), _TEXT)
)
"""Two instances of one instruction and input with different outputs; `id_a` is the lower id."""
_VERDICTS = ("a_first", "b_first", "reason_a_first", "reason_b_first")
COMPARED = Features({**PAIRS, **dict.fromkeys(_VERDICTS, _TEXT)})
"""`a_first` and `b_first`: the preferred one, `a`, `b` or `tie`, with this output shown first; "" without a reply."""
TIE, INCONSISTENT = "a tie", "the verdict depends on the order"


def compare_outputs(
    splits: DatasetDict,
    teacher: Teacher,
    *,
    settings: JudgeSettings | None = None,
    written_by: str = "",
    system: str = "",
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> DatasetDict:
    """Compare the outputs of the same instruction and input, and return the pairs with a consistent preference.

    Args:
        splits: Columns `instance_id`, `instruction_id`, `instruction`, `input`, `output`.
        teacher: The model that judges.
        settings: The limit of a reply.
        written_by: The model that wrote the outputs, for the column `teacher` and a warning if it judges itself.
        system: Text of a system message in the column `prompt`; "": none.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the other pairs with their reasons, and in `facts` the number of `pairs` and those
            `kept`; `agreement`, the share of equal preferences among the pairs with a preference in both orders (0.5 is
            chance); `longer`, the share of kept pairs in which the output with more words is preferred; and `warnings`.

    Returns:
        The pairs of each split that has any, columns as `schema.PREFERENCES`.
    """
    trace = trace or Trace()
    for part in splits.values():
        require_columns(part, INSTANCES, "compare", _READ)
    pairs = from_rows(_list_pairs(splits), PAIRS)
    with teacher.phase("preferences", total=2 * len(pairs)) as progress:
        compared = apply(
            pairs,
            compare_batch,
            phase="preferences",
            features=with_rejected(COMPARED),
            settings={"prompt": comparison_prompt(teacher, settings)},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH // 2,
            cache_dir=cache_dir,
            is_final=lambda: progress.is_final,
        )
    kept = keep(compared, phase="preferences", cache_dir=cache_dir, trace=trace)
    trace.facts.update(_describe(compared, kept.to_list(), teacher.model, written_by))
    names = {"teacher": hide_folder(written_by), "judge": hide_folder(teacher.model)}
    found: dict[str, list[dict[str, object]]] = {split: [] for split in splits}
    for row in kept:
        found[row["split"]].append({**_to_preference(row, system), **names})
    return DatasetDict({split: from_rows(part, PREFERENCES) for split, part in found.items() if part})


def comparison_prompt(teacher: Teacher, settings: JudgeSettings | None = None) -> Prompt:
    """Return the prompt, with the limits of the settings and of the model."""
    return judge_prompts(teacher, settings, {"comparison": load_comparison_prompt()})["comparison"]


def count_pairs(instances: Dataset) -> int:
    """Return the number of pairs in instances, columns as `compare_outputs` reads them."""
    return sum(1 for _ in _list_pairs({"": instances}))


def _list_pairs(splits: Mapping[str, Dataset]) -> Iterator[dict[str, object]]:
    """Yield rows of PAIRS. Their order and content do not depend on the order of the instances of an instruction."""
    for split, part in splits.items():
        by_prompt: dict[tuple[str, str], dict[str, DatasetRow]] = {}
        for row in part.select_columns(list(_READ)):
            by_prompt.setdefault((row["instruction_id"], row["input"]), {})[row["instance_id"]] = row
        for same in by_prompt.values():
            for one, other in combinations(sorted(same), 2):
                a, b = same[one], same[other]
                if a["output"] != b["output"]:
                    shared = {name: a[name] for name in ("instruction_id", "instruction", "input")}
                    outputs = {"id_a": one, "output_a": a["output"], "id_b": other, "output_b": b["output"]}
                    yield {"split": split, **shared, **outputs}


def compare_batch(batch: Batch, *, ask: Ask, prompt: Prompt) -> Columns:
    """Compare a batch of PAIRS, two requests a pair; return columns as COMPARED, and `rejected`."""
    pairs = rows(batch)
    shown = [(pair, order) for pair in pairs for order in ("ab", "ba")]
    replies = iter(ask([_make_request(prompt, pair, *order) for pair, order in shown]))
    compared = [_read_verdicts(pair, next(replies), next(replies)) for pair in pairs]
    return columns(compared, [*batch, *_VERDICTS, "rejected"])


def _make_request(prompt: Prompt, pair: DatasetRow, first: str, second: str) -> Request:
    texts = {
        "instruction": pair["instruction"],
        "input": pair["input"],
        "first": pair[f"output_{first}"],
        "second": pair[f"output_{second}"],
    }
    # A text cannot contain its own hash, so it cannot contain its end mark.
    return Request(prompt, prompt.messages(**texts, mark=make_id(*texts.values())[:8]))


def _read_verdicts(pair: DatasetRow, a_first: Reply, b_first: Reply) -> dict[str, Any]:
    shown = {"a_first": a_first, "b_first": b_first}
    one, other = _find_preferred(a_first, "a", "b"), _find_preferred(b_first, "b", "a")
    if not (one and other):
        rejected = f"judge: {a_first.error or b_first.error}"
    elif one != other:
        rejected = INCONSISTENT
    else:
        rejected = TIE if one == "tie" else ""
    reasons = {f"reason_{name}": flatten((reply.content or {}).get("reason", "")) for name, reply in shown.items()}
    return {**pair, "a_first": one, "b_first": other, **reasons, "rejected": rejected}


def _find_preferred(reply: Reply, first: str, second: str) -> str:
    if reply.content is None:
        return ""
    return {"first": first, "second": second}.get(reply.content["verdict"], "tie")


def _to_preference(pair: DatasetRow, system: str) -> dict[str, object]:
    chosen, rejected = ("a", "b") if pair["a_first"] == "a" else ("b", "a")
    return {
        "instruction_id": pair["instruction_id"],
        "chosen_id": pair[f"id_{chosen}"],
        "rejected_id": pair[f"id_{rejected}"],
        "prompt": make_prompt(pair["instruction"], pair["input"], system=system),
        "chosen": make_completion(pair[f"output_{chosen}"]),
        "rejected": make_completion(pair[f"output_{rejected}"]),
    }


def _describe(compared: Dataset, kept: list[DatasetRow], judge: str, written_by: str) -> dict[str, object]:
    """Return the facts of the trace."""
    verdicts = zip(compared["a_first"][:], compared["b_first"][:], strict=True)
    agreement = measure_share(one == other for one, other in verdicts if {one, other} <= {"a", "b"})
    lengths = [(count_words(row["output_a"]), count_words(row["output_b"]), row["a_first"]) for row in kept]
    longer = measure_share((a > b) == (best == "a") for a, b, best in lengths if a != b)
    warnings = [warn_of_own_words(judge, written_by)]
    if agreement.asked and agreement.low <= 0.5:  # two random preferences are equal half of the time
        warnings.append(
            f"The judge preferred the same output in both orders in {agreement.yes} of {agreement.asked} pairs, which "
            "chance could explain: do not rely on its preferences."
        )
    return {
        "judge": hide_folder(judge),
        "pairs": len(compared),
        "kept": len(kept),
        "agreement": asdict(agreement),
        "longer": asdict(longer),
        "warnings": [warning for warning in warnings if warning],
    }
