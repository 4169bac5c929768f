"""Complete instructions in one step, without attributes.

After Self-Instruct (Wang et al. 2022, arXiv:2212.10560, section 2.2): the input is written before the output; for
instructions that are known to be classification tasks, the labels first and then an input for each.
"""

from collections.abc import Iterable, Mapping
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
    load_filters,
    make_id,
    normalise,
    require_columns,
    rows,
    text_or_nothing,
    with_rejected,
)
from ..prompts import DIRECT, Prompt, load_direct_prompts
from ..settings import FiltersSettings
from ..teacher import Ask, Reply, Request, Teacher

_NEEDED = ("instruction_id", "instruction", "is_classification")
_INPUT_FIRST, _OUTPUT_FIRST = DIRECT


def complete_directly(
    attributed: Dataset,
    teacher: Teacher,
    *,
    prompts: str | None = None,
    filters: FiltersSettings | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Turn each instruction into instances, in one request and without attributes.

    Reads the columns `instruction_id`, `instruction` and `is_classification`; returns columns of `schema.INSTANCES`:
    one row per label of a classification task, with the label as `attribute` and output; one row for any other task,
    with `attribute` "". `prompts` is the set of the other phases; with `small`, the prompts are for small models too.
    `filters` has the words for "nothing", for inputs.
    `trace` receives the instructions whose request failed.
    """
    attributed = require_columns(attributed, ATTRIBUTED, "complete_directly", _NEEDED)
    with teacher.phase("direct", total=len(attributed)) as progress:
        written = apply(
            attributed.select_columns(list(_NEEDED)),
            direct_batch,
            phase="direct",
            features=with_rejected(INSTANCES),
            settings={"prompts": load_direct_prompts(prompts or teacher.prompts), "filters": load_filters(filters)},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
            is_final=lambda: progress.is_final,
        )
    return keep(written, phase="direct", cache_dir=cache_dir, trace=trace)


def direct_batch(
    batch: Batch, *, ask: Ask, prompts: Mapping[str, Prompt], filters: FiltersSettings | None = None
) -> Columns:
    """Complete a batch of instructions, one request each, with the prompts of `prompts.DIRECT`.

    Reads the columns `instruction_id`, `instruction` and `is_classification`; returns columns as `schema.INSTANCES` and
    `rejected`, one row per instance, or one for an instruction without any.
    """
    tasks = rows(batch)
    requests, instances = [], []
    for task in tasks:
        prompt = prompts[_OUTPUT_FIRST if task["is_classification"] else _INPUT_FIRST]
        requests.append(Request(prompt, prompt.messages(instruction=task["instruction"])))
    for task, reply in zip(tasks, ask(requests), strict=True):
        for attribute, given, output, rejected in _parse_reply(task["is_classification"], reply, load_filters(filters)):
            instances.append(
                {
                    **{name: task[name] for name in _NEEDED},
                    # Different from the id of an instance that was written with attributes.
                    "instance_id": make_id("direct", task["instruction_id"], attribute),
                    "attribute": attribute,
                    "input": given,
                    "output": output,
                    "rejected": rejected,
                }
            )
    return columns(instances, with_rejected(INSTANCES))


def _parse_reply(
    is_classification: bool, reply: Reply, filters: FiltersSettings
) -> Iterable[tuple[str, str, str, str]]:
    """Return attribute, input, output and `rejected` of each instance."""
    if reply.content is None:
        return [("", "", "", f"teacher: {reply.error}")]
    if not is_classification:
        return [("", text_or_nothing(reply.content["input"], filters), reply.content["output"].strip(), "")]
    first: dict[str, tuple[str, str, str, str]] = {}
    for answer in reply.content["instances"]:
        label = answer["label"].strip()
        if label:
            first.setdefault(normalise(label), (label, text_or_nothing(answer["input"], filters), label, ""))
    return first.values() or [("", "", "", "classification without labels")]
