"""Phase 3: an input for each label of a classification task, an output for each strategy of the others."""

from pathlib import Path
from typing import Any

from datasets import Dataset

from .prompts import Prompt, load_prompts
from .schema import ATTRIBUTED, INSTANCES, require_columns, with_rejected
from .teacher import Ask, Request, Teacher
from .texts import make_id, text_or_nothing
from .transform import Batch, Trace, apply, columns, keep, rows


def complete(
    attributed: Dataset,
    teacher: Teacher,
    *,
    prompts: str | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Turn each attributed instruction into instances.

    Args:
        attributed: Columns as `schema.ATTRIBUTED`.
        teacher: Who writes.
        prompts: A set of prompts: `default`, `small` or a folder; None: the one that suits the teacher.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the instances whose request failed.

    Returns:
        A dataset with the columns of `schema.INSTANCES`: a row a label, with the label as output; a row a strategy; one
        row for a task with neither.
    """
    needed = ("instruction_id", "instruction", "is_classification", "input", "attributes")
    attributed = require_columns(attributed, ATTRIBUTED, "complete", needed)
    chosen = load_prompts(prompts or teacher.prompts)
    with teacher.phase("complete", total=sum(max(1, len(texts)) for texts in attributed["attributes"])):
        judged = apply(
            attributed.select_columns(list(needed)),
            complete_batch,
            phase="complete",
            features=with_rejected(INSTANCES),
            settings={"prompts": {name: chosen[name] for name in ("input", "output")}},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            cache_dir=cache_dir,
        )
    return keep(judged, phase="complete", cache_dir=cache_dir, trace=trace)


def complete_batch(batch: Batch, *, ask: Ask, prompts: dict[str, Prompt]) -> dict[str, list[Any]]:
    """Complete a batch of attributed instructions: one request an instance.

    Args:
        batch: Columns `instruction_id`, `instruction`, `is_classification`, `input`, `attributes`.
        ask: Answers requests.
        prompts: The prompts `input` and `output`.

    Returns:
        Columns as `schema.INSTANCES` and `rejected`, one row an instance.
    """
    instances = [_start(row, attribute) for row in rows(batch) for attribute in row["attributes"] or [""]]
    for instance, reply in zip(instances, ask([_request(instance, prompts) for instance in instances]), strict=True):
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


def _request(instance: dict[str, Any], prompts: dict[str, Prompt]) -> Request:
    if instance["is_classification"]:
        prompt = prompts["input"]
        return Request(prompt, prompt.messages(instruction=instance["instruction"], label=instance["attribute"]))
    prompt = prompts["output"]
    variables = {"input": instance["input"], "strategy": instance["attribute"]}
    return Request(prompt, prompt.messages(instruction=instance["instruction"], **variables))
