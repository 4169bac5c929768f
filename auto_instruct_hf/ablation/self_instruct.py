"""Instances in one step from the instruction, as Self-Instruct writes them: what the attributes are compared with.

After Self-Instruct (Wang et al. 2022, arXiv:2212.10560, section 2.2): whether an instruction is a classification task
is known; if it is not, the input is written first and the output after it; if it is, the labels first and an input for
each.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import (
    ASKING_BATCH,
    ATTRIBUTED,
    INSTANCES,
    Batch,
    Trace,
    apply,
    columns,
    keep,
    make_id,
    normalise,
    require_columns,
    rows,
    text_or_nothing,
    with_rejected,
)
from ..prompts import DIRECT, Prompt, load_direct_prompts
from ..teacher import Ask, Reply, Request, Teacher

_NEEDED = ("instruction_id", "instruction", "is_classification")
_INPUT_FIRST, _OUTPUT_FIRST = DIRECT


def complete_directly(
    attributed: Dataset,
    teacher: Teacher,
    *,
    prompts: str | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Turn each instruction into instances, in one request and without attributes.

    Args:
        attributed: Columns `instruction_id`, `instruction` and `is_classification` as in `schema.ATTRIBUTED`.
        teacher: Who writes.
        prompts: The set that other requests are made from, as for `completion.complete`: it decides whether the words
            are those for small models.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the instructions whose request failed.

    Returns:
        A dataset with the columns of `schema.INSTANCES`: a row a label, with the label as `attribute` and output; one
        row for any other task, `attribute` "".
    """
    attributed = require_columns(attributed, ATTRIBUTED, "complete_directly", _NEEDED)
    with teacher.phase("direct", total=len(attributed)):
        written = apply(
            attributed.select_columns(list(_NEEDED)),
            direct_batch,
            phase="direct",
            features=with_rejected(INSTANCES),
            settings={"prompts": load_direct_prompts(prompts or teacher.prompts)},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
        )
    return keep(written, phase="direct", cache_dir=cache_dir, trace=trace)


def direct_batch(batch: Batch, *, ask: Ask, prompts: Mapping[str, Prompt]) -> dict[str, list[Any]]:
    """Complete a batch of instructions, each by a request of its own.

    Args:
        batch: Columns `instruction_id`, `instruction`, `is_classification`.
        ask: Answers requests.
        prompts: The prompts of `prompts.DIRECT`.

    Returns:
        Columns as `schema.INSTANCES` and `rejected`, one row an instance; one for an instruction without any.
    """
    instructions = rows(batch)
    chosen = [prompts[_OUTPUT_FIRST if row["is_classification"] else _INPUT_FIRST] for row in instructions]
    requests = [
        Request(prompt, prompt.messages(instruction=row["instruction"]))
        for row, prompt in zip(instructions, chosen, strict=True)
    ]
    instances = [
        instance
        for row, reply in zip(instructions, ask(requests), strict=True)
        for instance in _list_instances(row, reply)
    ]
    return columns(instances, with_rejected(INSTANCES))


def _list_instances(row: Mapping[str, Any], reply: Reply) -> list[dict[str, Any]]:
    if reply.content is None:
        return [_instance(row, rejected=f"teacher: {reply.error}")]
    if not row["is_classification"]:
        given, output = text_or_nothing(reply.content["input"]), reply.content["output"].strip()
        return [_instance(row, given=given, output=output)]
    first: dict[str, dict[str, Any]] = {}
    for answer in reply.content["instances"]:
        label = answer["label"].strip()
        if label:
            written = _instance(row, label, text_or_nothing(answer["input"]), label)
            first.setdefault(normalise(label), written)
    return list(first.values()) or [_instance(row, rejected="classification without labels")]


def _instance(
    row: Mapping[str, Any], attribute: str = "", given: str = "", output: str = "", rejected: str = ""
) -> dict[str, Any]:
    return {
        **{name: row[name] for name in _NEEDED},
        # Not that of an instance that was written by way of attributes.
        "instance_id": make_id("direct", row["instruction_id"], attribute),
        "attribute": attribute,
        "input": given,
        "output": output,
        "rejected": rejected,
    }
