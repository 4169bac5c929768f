"""Run a few rows through every phase that asks the teacher, to read them and to measure the cost."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..core import Trace
from ..evaluation.judging import count_pairs
from ..generation import MORE_THAN_ASKED_FOR, attribute, bootstrap, complete
from ..recipe import Recipe
from ..teacher import Reply, Request, Teacher


@dataclass(frozen=True)
class Exchange:
    """A request with its phase and its reply."""

    phase: str
    request: Request
    reply: Reply


@dataclass(frozen=True)
class Preview:
    """The requests and replies of a few rows, and the number of rows after each phase.

    `candidates` are all valid new instructions, including those beyond the number asked for.
    """

    exchanges: list[Exchange]
    instructions: int
    candidates: int
    instances: int
    pairs: int
    """Pairs of outputs of the same prompt."""


def preview(seeds: Dataset, teacher: Teacher, recipe: Recipe, num_instructions: int) -> Preview:
    """Run a few instructions through bootstrap, attribute and complete. A build does not send these requests again.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: The model that writes; the replies are in its journal.
        recipe: The settings of the build.
        num_instructions: Number of instructions.

    Returns:
        The requests and replies.
    """
    exchanges: list[Exchange] = []
    trace = Trace()
    with (
        tempfile.TemporaryDirectory() as folder,  # without a cache every reply reaches the listener
        teacher.listening(lambda *one: exchanges.append(Exchange(*one))),
    ):
        options: dict[str, Any] = {"prompts": recipe.prompts, "filters": recipe.filters, "cache_dir": Path(folder)}
        instructions = bootstrap(
            seeds,
            teacher,
            num_instructions=max(num_instructions, recipe.num_instructions),  # the requests of the build
            stop_after=num_instructions,
            clf_share=recipe.clf_share,
            seed=recipe.seed,
            settings=recipe.bootstrap,
            embedding=recipe.embedding,
            trace=trace,
            **options,
        )
        attributed = attribute(instructions, teacher, settings=recipe.attribution, **options)
        instances = complete(attributed, teacher, settings=recipe.completion, **options)
        rejected = trace.rejected["rejected"][:] if trace.rejected else []
        candidates = sum(one["admitted"] for one in trace.facts["rounds"]) + rejected.count(MORE_THAN_ASKED_FOR)
        return Preview(exchanges, len(instructions), candidates, len(instances), count_pairs(instances))


def describe_exchanges(exchanges: Iterable[Exchange]) -> str:
    """Return exchanges as text: the messages of each request, and its reply."""
    blocks = []
    for number, one in enumerate(exchanges, start=1):
        reply, name = one.reply, one.request.prompt.name
        answer = "not usable: " + reply.error
        if reply.content is not None:
            answer = json.dumps(reply.content, ensure_ascii=False, indent=2)
        turns = "\n".join(f"[{message['role']}]\n{message['content']}" for message in one.request.messages)
        figures = f"{reply.input_tokens:,} tokens in, {reply.output_tokens:,} out, {reply.seconds:.1f} s"
        blocks.append(f"=== {number}. {one.phase}: {name} ({figures})\n{turns}\n[reply]\n{answer}")
    return "\n\n".join(blocks)
