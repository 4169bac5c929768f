"""Phase 3: an input for each label of a classification task, an output for each strategy of the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    require_columns,
    rows,
    text_or_nothing,
    with_rejected,
)
from ..prompts import Prompt, PromptSet, load_prompts
from ..recipe import CompletionSettings
from ..teacher import Ask, Teacher
from .grouped_requests import GroupedItem, ask_items, count_requests


def complete(
    attributed: Dataset,
    teacher: Teacher,
    *,
    settings: CompletionSettings | None = None,
    prompts: str | PromptSet | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Turn each attributed instruction into instances.

    Args:
        attributed: Columns as `schema.ATTRIBUTED`.
        teacher: Who writes.
        settings: How many instances share a request.
        prompts: A set of prompts: `default`, `small` or a folder; None: the one that suits the teacher.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Where given, it receives the instances whose request failed.

    Returns:
        A dataset with the columns of `schema.INSTANCES`: a row a label, with the label as output; a row a strategy; one
        row for a task with neither.
    """
    needed = ("instruction_id", "instruction", "is_classification", "input", "attributes")
    attributed = require_columns(attributed, ATTRIBUTED, "complete", needed)
    settings = settings or CompletionSettings()
    loaded = load_prompts(prompts or teacher.prompts)
    chosen = {name: loaded[name] for name in ("input", "output")}
    count = sum(max(1, len(texts)) for texts in attributed["attributes"])
    with teacher.phase("complete", total=count_requests(chosen["output"], count, settings.instances_per_request)):
        judged = apply(
            attributed.select_columns(list(needed)),
            complete_batch,
            phase="complete",
            features=with_rejected(INSTANCES),
            settings={"prompts": chosen, "instances_per_request": settings.instances_per_request},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
        )
    return keep(judged, phase="complete", cache_dir=cache_dir, trace=trace)


def complete_batch(batch: Batch, *, ask: Ask, prompts: Mapping[str, Prompt], instances_per_request: int = 1) -> Columns:
    """Complete a batch of attributed instructions.

    Args:
        batch: Columns `instruction_id`, `instruction`, `is_classification`, `input`, `attributes`.
        ask: Answers requests.
        prompts: The prompts `input` and `output`.
        instances_per_request: The most that share a request, where the prompt is grouped.

    Returns:
        Columns as `schema.INSTANCES` and `rejected`, one row an instance.
    """
    instances = [_start(row, attribute) for row in rows(batch) for attribute in row["attributes"] or [""]]
    items = [_item(instance, prompts) for instance in instances]
    replies = ask_items(ask, items, instances_per_request, _is_complete)
    for instance, reply in zip(instances, replies, strict=True):
        if reply.content is None:
            instance["rejected"] = f"teacher: {reply.error}"
        elif instance["is_classification"]:
            instance["input"] = text_or_nothing(reply.content["input"])
        else:
            instance["output"] = reply.content["output"].strip()
    return columns(instances, with_rejected(INSTANCES))


def _start(row: dict[str, Any], attribute: str) -> dict[str, Any]:
    is_classification = row["is_classification"]
    return {
        "instance_id": make_id(row["instruction_id"], attribute),
        "instruction_id": row["instruction_id"],
        "instruction": row["instruction"],
        "is_classification": is_classification,
        "attribute": attribute,
        "input": "" if is_classification else row["input"],
        "output": attribute if is_classification else "",
        "rejected": "",
    }


def _item(instance: dict[str, Any], prompts: Mapping[str, Prompt]) -> GroupedItem:
    instruction, attribute = instance["instruction"], instance["attribute"]
    if instance["is_classification"]:
        return GroupedItem(prompts["input"], {"instruction": instruction, "label": attribute})
    return GroupedItem(
        prompts["output"], {"instruction": instruction, "input": instance["input"], "strategy": attribute}
    )


def _is_complete(answer: Mapping[str, Any]) -> bool:
    return bool(text_or_nothing(answer["input"]) if "input" in answer else answer["output"].strip())
