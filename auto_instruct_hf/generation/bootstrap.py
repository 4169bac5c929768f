"""Phase 1: new instructions from examples of earlier ones, each kept only if it is unlike all before it.

After Self-Instruct (Wang et al. 2022, arXiv:2212.10560, section 2.2), in rounds: a round is a dataset of requests that
depends only on the recipe, the seed number and the pool so far, so a rerun repeats it exactly.
"""

import logging
import re
from pathlib import Path

from datasets import Dataset, Features, List, Value

from ..core import (
    SEEDS,
    Batch,
    Columns,
    Trace,
    apply,
    columns,
    count_words,
    from_rows,
    keep,
    load_filters,
    require_columns,
    rows,
)
from ..embedding import open_encoder
from ..errors import BuildError
from ..filters import clean_instruction, find_instruction_fault
from ..novelty import knows_script
from ..prompts import Prompt, PromptSet, load_prompts
from ..recipe import BootstrapSettings, EmbeddingSettings
from ..settings import FiltersSettings
from ..teacher import Ask, Request, Teacher
from .instruction_pool import InstructionPool

_LOG = logging.getLogger(__name__)
_VARIABLES = {
    "classification": Value("bool"),
    "domain": Value("string"),
    "pick": Value("int32"),
    "examples": List({"instruction": Value("string"), "domain": Value("string"), "classification": Value("bool")}),
}
_REQUESTS = Features({"draw": Value("int64"), **_VARIABLES})
_TEXT = Value("string")
_CANDIDATES = Features({"instruction": _TEXT, "classification": Value("bool"), "domain": _TEXT, "rejected": _TEXT})


def bootstrap(
    seeds: Dataset,
    teacher: Teacher,
    *,
    num_instructions: int = 10_000,
    clf_share: float = 0.1,
    seed: int = 42,
    settings: BootstrapSettings | None = None,
    embedding: EmbeddingSettings | None = None,
    filters: FiltersSettings | None = None,
    prompts: str | PromptSet | None = None,
    stop_after: int | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Generate instructions from seed tasks.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: The model that writes.
        num_instructions: Number of instructions to keep.
        clf_share: Share of these that are from requests for classification tasks, in [0, 1].
        seed: Seed of the examples and domains.
        settings: Limits and sizes.
        embedding: The embedding model of `settings.max_cosine`.
        filters: Rules on texts, and their word lists.
        prompts: A set of prompts: `default`, `small` or a folder; None: the teacher's default.
        stop_after: Return only the first so many instructions, and send no request for more; None: all.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the rejected candidates, `rounds` with their counts, `stopped`, and whether
            meanings were compared (`in_meaning`).

    Returns:
        Columns of `schema.INSTRUCTIONS`, at most `num_instructions` rows: fewer, with a warning, if the acceptance rate
        falls too low.

    Raises:
        BuildError: If not one instruction was kept.
    """
    seeds = require_columns(seeds, SEEDS, "bootstrap", SEEDS)
    settings = settings or BootstrapSettings()
    embedding = embedding or EmbeddingSettings()
    in_meaning = settings.max_cosine is not None and knows_script(embedding, seeds["instruction"])
    prompt = load_prompts(prompts or teacher.prompts)["bootstrap"]
    pool = InstructionPool(
        rows(seeds[:]),
        num_instructions,
        clf_share,
        seed,
        settings,
        per_request=count_per_request(prompt, settings),
        same_examples=prompt.each is not None,
        encode=open_encoder(embedding, cache_dir) if in_meaning else None,
    )
    rounds, enough = pool.rounds, stop_after or num_instructions
    with teacher.phase("bootstrap") as progress:
        while rounds.num_kept < enough and not rounds.is_done() and not rounds.is_stalled():
            candidates = apply(
                from_rows(pool.plan(), _REQUESTS),
                draw_batch,
                phase=f"bootstrap-{len(rounds.facts):04d}",
                features=_CANDIDATES,
                settings={"prompt": prompt, "settings": settings, "filters": load_filters(filters)},
                resources={"ask": teacher.ask},
                depends_on=teacher.identity,
                cache_dir=cache_dir,
            )
            pool.judge(rows(candidates[:]))
            progress.note(f"{len(pool.admitted):,} of {num_instructions:,} instructions")
        progress.is_final = True  # later rounds follow from earlier ones, so nothing is sent again
    stopped = rounds.describe_stall() if rounds.num_kept < enough else ""
    if stopped:
        _LOG.warning("bootstrap stopped at %s", stopped)
    if trace is not None:
        trace.facts.update(rounds=rounds.facts, stopped=stopped, in_meaning=in_meaning)
    kept = keep(pool.judged.to_dataset(), phase="bootstrap", cache_dir=cache_dir, trace=trace)
    if not len(kept):
        raise BuildError(f"the teacher {teacher.model} wrote no usable instruction: {stopped}")
    return kept if stop_after is None else kept.select(range(min(stop_after, len(kept))))


def count_per_request(prompt: Prompt, settings: BootstrapSettings) -> int:
    """Return how many instructions a request of a prompt asks for."""
    return min(settings.instructions_per_request, prompt.max_items("instructions"))


def draw_batch(
    batch: Batch, *, ask: Ask, prompt: Prompt, settings: BootstrapSettings, filters: FiltersSettings | None = None
) -> Columns:
    """Request new instructions: a batch of requests becomes a batch of candidates.

    Reads the columns `draw` (int, distinguishes repeated requests), `classification` (bool: ask for such tasks),
    `domain` (str) and `pick` (int, random), which a prompt may use for variety, and `examples` (list of {instruction,
    domain, classification}). Returns the columns `instruction`, `classification` and `domain` (those of the request)
    and `rejected`, one row per candidate, or one for a request without a usable reply.
    """
    filters, asked, count = load_filters(filters), rows(batch), count_per_request(prompt, settings)
    requests = [
        Request(prompt, prompt.messages(**{name: row[name] for name in _VARIABLES}, count=count), draw=row["draw"])
        for row in asked
    ]
    candidates = []
    for row, reply in zip(asked, ask(requests), strict=True):
        own = {"classification": row["classification"], "domain": row["domain"]}
        if reply.content is None:
            candidates.append({"instruction": "", "rejected": f"teacher: {reply.error}", **own})
            continue
        for instruction in reply.content["instructions"]:
            text = clean_instruction(instruction, filters)
            fault = find_candidate_fault(text, settings) or find_instruction_fault(instruction, filters)
            candidates.append({"instruction": text, "rejected": fault or "", **own})
    return columns(candidates, _CANDIDATES)


def find_candidate_fault(instruction: str, settings: BootstrapSettings) -> str:
    """Return why an instruction is not usable, whatever is in the pool, or ""."""
    words = count_words(instruction)
    if words < settings.min_words:
        return f"fewer than {settings.min_words} words"
    if words > settings.max_words:
        return f"more than {settings.max_words} words"
    pattern = "|".join(re.escape(word) for word in settings.banned)
    banned = re.search(rf"\b(?:{pattern})\b", instruction, re.IGNORECASE) if pattern else None
    return f"banned word: {banned.group().lower()}" if banned else ""
