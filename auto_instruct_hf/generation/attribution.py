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
    load_filters,
    normalise,
    require_columns,
    rows,
    text_or_nothing,
    with_rejected,
)
from ..filters import find_input_fault
from ..prompts import ATTRIBUTION, Prompt, PromptSet, load_prompts
from ..recipe import AttributionSettings
from ..settings import FiltersSettings
from ..teacher import Ask, GroupedItem, Teacher
from .grouped_requests import ask_items, count_requests


def attribute(
    instructions: Dataset,
    teacher: Teacher,
    *,
    settings: AttributionSettings | None = None,
    filters: FiltersSettings | None = None,
    prompts: str | PromptSet | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Classify instructions and write their attributes.

    Args:
        instructions: Columns `instruction_id` and `instruction`, as in `schema.INSTRUCTIONS`.
        teacher: The model that writes.
        settings: Limits of strategies and of instructions per request.
        filters: Rules on texts, and their word lists.
        prompts: A set of prompts: `default`, `small` or a folder; None: the teacher's default.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the rows whose requests failed, classification tasks without a label, and rows
            with a broken input.

    Returns:
        The same rows with the columns of `schema.ATTRIBUTES`; other columns stay.
    """
    instructions = require_columns(instructions, INSTRUCTIONS, "attribute", ("instruction_id", "instruction"))
    settings = settings or AttributionSettings()
    chosen = {name: prompt for name, prompt in load_prompts(prompts or teacher.prompts).items() if name in ATTRIBUTION}
    first, num_steps = (chosen["attributes"], 1) if "attributes" in chosen else (chosen["classify"], 2)
    total = num_steps * count_requests(first, len(instructions), settings.instructions_per_request)
    with teacher.phase("attribute", total=total) as progress:
        judged = apply(
            instructions,
            attribute_batch,
            phase="attribute",
            features=with_rejected(Features({**instructions.features, **ATTRIBUTES})),
            settings={"prompts": chosen, "settings": settings, "filters": load_filters(filters)},
            resources={"ask": teacher.ask},
            make_resources=teacher.share("attribute"),
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
            is_final=lambda: progress.is_final,
        )
    return keep(judged, phase="attribute", cache_dir=cache_dir, trace=trace)


def attribute_batch(
    batch: Batch,
    *,
    ask: Ask,
    prompts: Mapping[str, Prompt],
    settings: AttributionSettings,
    filters: FiltersSettings | None = None,
) -> Columns:
    """Attribute a batch of instructions: kind and attributes in one request, or one after the other.

    Reads the column `instruction`; returns all columns, those of `schema.ATTRIBUTES` and `rejected`, one row per
    instruction. `prompts` has the prompt `attributes`, or the prompts `classify`, `labels` and `strategies`.
    """
    filters = load_filters(filters)
    found = [{**row, "is_classification": False, "input": "", "attributes": [], "rejected": ""} for row in rows(batch)]

    def fill(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> None:
        texts = [{"instruction": row["instruction"]} for row in rows]
        items = [GroupedItem(prompts[name], text) for name, text in zip(names, texts, strict=True)]
        replies = ask_items(ask, items, settings.instructions_per_request, _is_complete)
        for row, reply in zip(rows, replies, strict=True):
            if reply.content is None:
                row["rejected"] = f"teacher: {reply.error}"
                continue
            row["is_classification"] = reply.content.get("is_classification", row["is_classification"])
            if row["is_classification"] and "labels" in reply.content:
                row["attributes"] = _distinct(reply.content["labels"])
                row["rejected"] = "" if row["attributes"] else "classification without labels"
            elif not row["is_classification"] and "strategies" in reply.content:
                strategies = _distinct(text_or_nothing(text, filters) for text in reply.content["strategies"])
                row["attributes"] = strategies[: settings.max_strategies]
                row["input"] = text_or_nothing(reply.content["input"], filters)
                fault = find_input_fault(row["input"], row["instruction"], filters)
                row["rejected"] = f"input: {fault}" if fault else ""

    if "attributes" in prompts:
        fill(found, ["attributes"] * len(found))
    else:
        fill(found, ["classify"] * len(found))
        sound = [row for row in found if not row["rejected"]]
        fill(sound, ["labels" if row["is_classification"] else "strategies" for row in sound])
    return columns(found, [*dict.fromkeys([*batch, *ATTRIBUTES, "rejected"])])


def _is_complete(answer: Mapping[str, Any]) -> bool:
    return not answer.get("is_classification") or "labels" not in answer or bool(_distinct(answer["labels"]))


def _distinct(texts: Iterable[str]) -> list[str]:
    """Drop empty texts, and duplicates except for case and white space."""
    first: dict[str, str] = {}
    for text in texts:
        if text.strip():
            first.setdefault(normalise(text), text.strip())
    return list(first.values())
