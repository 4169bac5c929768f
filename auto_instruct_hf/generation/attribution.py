"""Phase 2: whether an instruction is a classification task; its labels, or else an input and strategies."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features

from ..core import (
    ASKING_BATCH,
    ATTRIBUTES,
    INSTRUCTIONS,
    Batch,
    Columns,
    Trace,
    apply,
    columns,
    keep,
    normalise,
    require_columns,
    rows,
    text_or_nothing,
    with_rejected,
)
from ..prompts import ATTRIBUTION, Prompt, PromptSet, load_prompts
from ..recipe import AttributionSettings
from ..teacher import Ask, Reply, Teacher
from .grouped_requests import GroupedItem, ask_items, count_requests


def attribute(
    instructions: Dataset,
    teacher: Teacher,
    *,
    settings: AttributionSettings | None = None,
    prompts: str | PromptSet | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Say what kind of task each instruction is and how it may be answered.

    Args:
        instructions: Columns `instruction_id` and `instruction`, as in `schema.INSTRUCTIONS`.
        teacher: Who says it.
        settings: How many strategies to keep, how many instructions share a request.
        prompts: A set of prompts: `default`, `small` or a folder; None: the one that suits the teacher.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Where given, it receives the rows whose requests failed, and classification tasks without a label.

    Returns:
        The same rows with the columns of `schema.ATTRIBUTES`; other columns stay.
    """
    needed = ("instruction_id", "instruction")
    instructions = require_columns(instructions, INSTRUCTIONS, "attribute", needed)
    settings = settings or AttributionSettings()
    loaded = load_prompts(prompts or teacher.prompts)
    chosen = {name: prompt for name, prompt in loaded.items() if name in ATTRIBUTION}
    first = chosen.get("attributes") or chosen["classify"]
    waves = 1 if "attributes" in chosen else 2
    total = waves * count_requests(first, len(instructions), settings.instructions_per_request)
    with teacher.phase("attribute", total=total):
        judged = apply(
            instructions,
            attribute_batch,
            phase="attribute",
            features=with_rejected(Features({**instructions.features, **ATTRIBUTES})),
            settings={
                "prompts": chosen,
                "max_strategies": settings.max_strategies,
                "instructions_per_request": settings.instructions_per_request,
            },
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
        )
    return keep(judged, phase="attribute", cache_dir=cache_dir, trace=trace)


def attribute_batch(
    batch: Batch,
    *,
    ask: Ask,
    prompts: Mapping[str, Prompt],
    max_strategies: int,
    instructions_per_request: int = 1,
) -> Columns:
    """Attribute a batch of instructions: kind and attributes in one request, or the one after the other.

    Args:
        batch: Column `instruction`, and others.
        ask: Answers requests.
        prompts: The prompt `attributes`, or the prompts `classify`, `labels` and `strategies`.
        max_strategies: Strategies beyond these are cut.
        instructions_per_request: The most that share a request, where the prompt is grouped.

    Returns:
        The same columns, those of `schema.ATTRIBUTES` and `rejected`, one row an instruction.
    """
    found = [{**row, "is_classification": False, "input": "", "attributes": [], "rejected": ""} for row in rows(batch)]

    def put(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> list[Reply]:
        items = [
            GroupedItem(prompts[name], {"instruction": row["instruction"]})
            for row, name in zip(rows, names, strict=True)
        ]
        return ask_items(ask, items, instructions_per_request, _is_complete)

    if "attributes" in prompts:
        _settle(found, put(found, ["attributes"] * len(found)), max_strategies)
    else:
        for row, reply in zip(found, put(found, ["classify"] * len(found)), strict=True):
            if reply.content is None:
                row["rejected"] = f"teacher: {reply.error}"
            else:
                row["is_classification"] = reply.content["is_classification"]
        sound = [row for row in found if not row["rejected"]]
        names = ["labels" if row["is_classification"] else "strategies" for row in sound]
        _settle(sound, put(sound, names), max_strategies)
    return columns(found, [*dict.fromkeys([*batch, *ATTRIBUTES, "rejected"])])


def _settle(rows: Sequence[dict[str, Any]], replies: Sequence[Reply], max_strategies: int) -> None:
    """Fill in what the replies say of the rows."""
    for row, reply in zip(rows, replies, strict=True):
        if reply.content is None:
            row["rejected"] = f"teacher: {reply.error}"
            continue
        row["is_classification"] = reply.content.get("is_classification", row["is_classification"])
        if row["is_classification"]:
            row["attributes"] = _distinct(reply.content["labels"])
            row["rejected"] = "" if row["attributes"] else "classification without labels"
        else:
            row["attributes"] = _distinct(map(text_or_nothing, reply.content["strategies"]))[:max_strategies]
            row["input"] = text_or_nothing(reply.content["input"])


def _is_complete(answer: Mapping[str, Any]) -> bool:
    return not answer.get("is_classification") or "labels" not in answer or bool(_distinct(answer["labels"]))


def _distinct(texts: Iterable[str]) -> list[str]:
    """Drop empty texts, and of those that differ only in case or white space all but the first."""
    first: dict[str, str] = {}
    for text in texts:
        if text.strip():
            first.setdefault(normalise(text), text.strip())
    return list(first.values())
