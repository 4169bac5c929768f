"""Instances in one step from the instruction, without attributes.

After Self-Instruct (Wang et al. 2022, arXiv:2212.10560, section 2.2): the input is written first and then the output;
for instructions that are known to be classification tasks, the labels first and then an input for each.
"""

from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset

from ..core import (
    ASKING_BATCH,
    ATTRIBUTED,
    INSTANCES,
    Batch,
    Columns,
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
from ..evaluation import DatasetRow
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
        teacher: The model that writes.
        prompts: The set of prompts of the other phases, as for `completion.complete`: it decides whether the prompts
            for small models are used.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the instructions whose request failed.

    Returns:
        Columns of `schema.INSTANCES`: one row per label of a classification task, with the label as `attribute` and
        output; one row for any other task, with `attribute` "".
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


def direct_batch(batch: Batch, *, ask: Ask, prompts: Mapping[str, Prompt]) -> Columns:
    """Complete a batch of instructions, one request each.

    Args:
        batch: Columns `instruction_id`, `instruction`, `is_classification`.
        ask: Answers requests.
        prompts: The prompts of `prompts.DIRECT`.

    Returns:
        Columns as `schema.INSTANCES` and `rejected`, one row per instance; one for an instruction without any.
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


def _list_instances(row: DatasetRow, reply: Reply) -> list[DatasetRow]:
    if reply.content is None:
        return [_instance(row, rejected=f"teacher: {reply.error}")]
    if not row["is_classification"]:
        given, output = text_or_nothing(reply.content["input"]), reply.content["output"].strip()
        return [_instance(row, given=given, output=output)]
    first: dict[str, DatasetRow] = {}
    for answer in reply.content["instances"]:
        label = answer["label"].strip()
        if label:
            written = _instance(row, label, text_or_nothing(answer["input"]), label)
            first.setdefault(normalise(label), written)
    return list(first.values()) or [_instance(row, rejected="classification without labels")]


def _instance(
    row: DatasetRow, attribute: str = "", given: str = "", output: str = "", rejected: str = ""
) -> DatasetRow:
    return {
        **{name: row[name] for name in _NEEDED},
        # Different from the id of an instance that was written with attributes.
        "instance_id": make_id("direct", row["instruction_id"], attribute),
        "attribute": attribute,
        "input": given,
        "output": output,
        "rejected": rejected,
    }
