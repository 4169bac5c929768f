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
    load_filters,
    make_id,
    require_columns,
    rows,
    text_or_nothing,
    with_rejected,
)
from ..prompts import Prompt, PromptSet, load_prompts
from ..recipe import CompletionSettings
from ..settings import FiltersSettings
from ..teacher import Ask, GroupedItem, Teacher
from .grouped_requests import ask_items, count_requests

# Ours. Drawn by the id of the instance: a rerun, or groups of another size, ask for the same ones.
_ONE_BORDER_CASE_IN = 3
_NEEDED = ("instruction_id", "instruction", "is_classification", "input", "attributes")


def complete(
    attributed: Dataset,
    teacher: Teacher,
    *,
    settings: CompletionSettings | None = None,
    filters: FiltersSettings | None = None,
    prompts: str | PromptSet | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Turn each attributed instruction into instances.

    Args:
        attributed: Columns as `schema.ATTRIBUTED`.
        teacher: The model that writes.
        settings: The limit of instances per request.
        filters: Words for "nothing", for inputs.
        prompts: A set of prompts: `default`, `small` or a folder; None: the teacher's default.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the instances whose request failed.

    Returns:
        Columns of `schema.INSTANCES`: one row per label, which is its output; one row per strategy; one row for a task
        with neither.
    """
    attributed = require_columns(attributed, ATTRIBUTED, "complete", _NEEDED)
    settings = settings or CompletionSettings()
    loaded = load_prompts(prompts or teacher.prompts)
    chosen = {name: loaded[name] for name in ("input", "output")}
    count = sum(max(1, len(texts)) for texts in attributed["attributes"])
    with teacher.phase(
        "complete", total=count_requests(chosen["output"], count, settings.instances_per_request)
    ) as progress:
        judged = apply(
            attributed.select_columns(list(_NEEDED)),
            complete_batch,
            phase="complete",
            features=with_rejected(INSTANCES),
            settings={"prompts": chosen, "settings": settings, "filters": load_filters(filters)},
            resources={"ask": teacher.ask},
            make_resources=teacher.share("complete"),
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
            is_final=lambda: progress.is_final,
        )
    return keep(judged, phase="complete", cache_dir=cache_dir, trace=trace)


def complete_batch(
    batch: Batch,
    *,
    ask: Ask,
    prompts: Mapping[str, Prompt],
    settings: CompletionSettings,
    filters: FiltersSettings | None = None,
) -> Columns:
    """Complete a batch of attributed instructions.

    Reads the columns `instruction_id`, `instruction`, `is_classification`, `input` and `attributes`; returns columns as
    `schema.INSTANCES` and `rejected`, one row per instance. `prompts` has the prompts `input` and `output`.
    """
    filters = load_filters(filters)
    instances: list[dict[str, Any]] = []
    items: list[GroupedItem] = []
    for row in rows(batch):
        is_clf, prompt = row["is_classification"], prompts["input" if row["is_classification"] else "output"]
        for attribute in row["attributes"] or [""]:
            instance_id = make_id(row["instruction_id"], attribute)
            instances.append(
                {
                    **{name: row[name] for name in ("instruction_id", "instruction", "is_classification")},
                    "instance_id": instance_id,
                    "attribute": attribute,
                    "input": "" if is_clf else row["input"],
                    "output": attribute if is_clf else "",
                    "rejected": "",
                }
            )
            own = {"input": row["input"], "strategy": attribute}
            if is_clf:
                own = {"label": attribute, "is_border": int(instance_id, 16) % _ONE_BORDER_CASE_IN == 0}
            items.append(GroupedItem(prompt, {"instruction": row["instruction"], **own}))
    replies = ask_items(ask, items, settings.instances_per_request, _is_complete)
    for instance, reply in zip(instances, replies, strict=True):
        if reply.content is None:
            instance["rejected"] = f"teacher: {reply.error}"
        elif instance["is_classification"]:
            instance["input"] = text_or_nothing(reply.content["input"], filters)
        else:
            instance["output"] = reply.content["output"].strip()
    return columns(instances, with_rejected(INSTANCES))


def _is_complete(answer: Mapping[str, Any]) -> bool:
    return bool(text_or_nothing(answer["input"]) if "input" in answer else answer["output"].strip())
