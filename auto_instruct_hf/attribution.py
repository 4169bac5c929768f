"""Phase 2: whether an instruction is a classification task; its labels, or else an input and strategies."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datasets import Dataset, Features

from .prompts import Prompt, load_prompts
from .recipe import AttributionSettings
from .schema import ATTRIBUTES, INSTRUCTIONS, require_columns, with_rejected
from .teacher import Ask, Request, Teacher
from .texts import normalise, text_or_nothing
from .transform import Batch, Trace, apply, columns, keep, rows


def attribute(
    instructions: Dataset,
    teacher: Teacher,
    *,
    settings: AttributionSettings | None = None,
    prompts: str | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Say what kind of task each instruction is and how it may be answered.

    Args:
        instructions: Columns `instruction_id` and `instruction`, as in `schema.INSTRUCTIONS`.
        teacher: Who says it.
        settings: How many strategies to keep.
        prompts: A set of prompts: `default`, `small` or a folder; None: the one that suits the teacher.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the rows whose requests failed, and classification tasks without a label.

    Returns:
        The same rows with the columns of `schema.ATTRIBUTES`; other columns stay.
    """
    needed = ("instruction_id", "instruction")
    instructions = require_columns(instructions, INSTRUCTIONS, "attribute", needed)
    settings = settings or AttributionSettings()
    chosen = load_prompts(prompts or teacher.prompts)
    with teacher.phase("attribute", total=2 * len(instructions)):
        judged = apply(
            instructions,
            attribute_batch,
            phase="attribute",
            features=with_rejected(Features({**instructions.features, **ATTRIBUTES})),
            settings={
                "prompts": {name: chosen[name] for name in ("classify", "labels", "strategies")},
                "max_strategies": settings.max_strategies,
            },
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            cache_dir=cache_dir,
        )
    return keep(judged, phase="attribute", cache_dir=cache_dir, trace=trace)


def attribute_batch(
    batch: Batch,
    *,
    ask: Ask,
    prompts: dict[str, Prompt],
    max_strategies: int,
) -> dict[str, list[Any]]:
    """Attribute a batch of instructions: two requests a row.

    Args:
        batch: Column `instruction`, and others.
        ask: Answers requests.
        prompts: The prompts `classify`, `labels` and `strategies`.
        max_strategies: Strategies beyond these are cut.

    Returns:
        The same columns, those of `schema.ATTRIBUTES` and `rejected`, one row an instruction.
    """
    found = [{**row, "is_classification": False, "input": "", "attributes": [], "rejected": ""} for row in rows(batch)]
    for row, reply in zip(found, ask([_request(prompts["classify"], row) for row in found]), strict=True):
        if reply.content is None:
            row["rejected"] = f"teacher: {reply.error}"
        else:
            row["is_classification"] = reply.content["is_classification"]
    sound = [row for row in found if not row["rejected"]]
    asked = [_request(prompts["labels" if row["is_classification"] else "strategies"], row) for row in sound]
    for row, reply in zip(sound, ask(asked), strict=True):
        if reply.content is None:
            row["rejected"] = f"teacher: {reply.error}"
        elif row["is_classification"]:
            row["attributes"] = _distinct(reply.content["labels"])
            row["rejected"] = "" if row["attributes"] else "classification without labels"
        else:
            row["attributes"] = _distinct(map(text_or_nothing, reply.content["strategies"]))[:max_strategies]
            row["input"] = text_or_nothing(reply.content["input"])
    return columns(found, [*dict.fromkeys([*batch, *ATTRIBUTES, "rejected"])])


def _request(prompt: Prompt, row: dict[str, Any]) -> Request:
    return Request(prompt, prompt.messages(instruction=row["instruction"]))


def _distinct(texts: Iterable[str]) -> list[str]:
    """Drop empty texts, and of those that differ only in case or white space all but the first."""
    first: dict[str, str] = {}
    for text in texts:
        if text.strip():
            first.setdefault(normalise(text), text.strip())
    return list(first.values())
