"""A few rows through every phase that asks the teacher, before the money is spent: to read, and to measure by."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import Trace
from ..generation import MORE_THAN_ASKED_FOR, attribute, bootstrap, complete
from ..recipe import Recipe
from ..teacher import Reply, Request, Teacher


@dataclass(frozen=True)
class Exchange:
    """A request, the phase that asked it, and its reply."""

    phase: str
    request: Request
    reply: Reply


@dataclass(frozen=True)
class Preview:
    """What a few rows took: every exchange, and how many rows there were after each phase.

    `candidates` counts the instructions that were admitted and those that would have been, had more been asked for.
    """

    exchanges: list[Exchange]
    instructions: int
    candidates: int
    instances: int


def preview(seeds: Dataset, teacher: Teacher, recipe: Recipe, num_instructions: int) -> Preview:
    """Run a few instructions through bootstrap, attribute and complete. A build asks none of it again.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: Who writes; what it is asked stands in its journal.
        recipe: The settings of the build.
        num_instructions: How many instructions to take.

    Returns:
        What was asked and answered.
    """
    exchanges: list[Exchange] = []
    trace = Trace()
    with (
        tempfile.TemporaryDirectory() as folder,  # so that each reply passes by, journalled or not
        teacher.listening(lambda *one: exchanges.append(Exchange(*one))),
    ):
        asking: dict[str, Any] = {"prompts": recipe.prompts, "cache_dir": Path(folder)}
        instructions = bootstrap(
            seeds,
            teacher,
            num_instructions=num_instructions,
            clf_share=recipe.clf_share,
            seed=recipe.seed,
            settings=recipe.bootstrap,
            trace=trace,
            **asking,
        )
        attributed = attribute(instructions, teacher, settings=recipe.attribution, **asking)
        instances = complete(attributed, teacher, settings=recipe.completion, **asking)
        rejected = trace.rejected["rejected"][:] if trace.rejected else []
        return Preview(
            exchanges, len(instructions), len(instructions) + rejected.count(MORE_THAN_ASKED_FOR), len(instances)
        )


def describe_exchanges(exchanges: Iterable[Exchange]) -> str:
    """Return exchanges as text: the messages of each request, and its reply."""
    blocks = []
    for number, one in enumerate(exchanges, start=1):
        reply = one.reply
        words = (
            "no use: " + reply.error
            if reply.content is None
            else json.dumps(reply.content, ensure_ascii=False, indent=2)
        )
        turns = "\n".join(f"[{message['role']}]\n{message['content']}" for message in one.request.messages)
        figures = f"{reply.input_tokens:,} tokens in, {reply.output_tokens:,} out, {reply.seconds:.1f} s"
        blocks.append(f"=== {number}. {one.phase}: {one.request.prompt.name} ({figures})\n{turns}\n[reply]\n{words}")
    return "\n\n".join(blocks)
