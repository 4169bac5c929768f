"""Estimate a build before it is paid for: requests, tokens, money and time by phase.

From a few rows that went through all phases (`preview`) if there are any; otherwise from the prompts, filled in with
the seed tasks as if they were the instructions, and from the assumptions below.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from pydantic import TypeAdapter, ValidationError

from ..clustering import name_table
from ..core import estimate_tokens, fingerprint, rows
from ..evaluation.judging import (
    NUM_CHECKS,
    choose_model,
    compare_batch,
    comparison_prompt,
    judge_batch,
    judge_prompts,
    known_prices,
)
from ..generation import (
    InstructionPool,
    attribute_batch,
    complete_batch,
    count_per_request,
    draw_batch,
    simulate_rounds,
)
from ..prompts import PromptSet, load_prompts
from ..recipe import Recipe
from ..teacher import Cost, Rates, Request, Teacher
from .dry_run import dry_run
from .preview import Preview

# Of the candidates of a bootstrap; it falls as the pool grows. Ours, as all below.
_ACCEPTED = 0.6
# Requests of the bootstrap to measure: the lengths of their examples vary.
_SAMPLED_REQUESTS = 32
# Attributes per instruction: the published means (Auto-Instruct's table).
_LABELS, _STRATEGIES = 3.2, 1.9
# Pairs of outputs per task that is not a classification: the mean over 960 of GPT-4o, with 2.0 strategies on average.
_PAIRS = 1.25
# Tokens of the replies that no seed shows: kind, labels or strategies and input; topic; judgement, also of a pair.
_ATTRIBUTES, _TOPIC, _JUDGEMENT = 50, 10, 100
# Seconds until a reply begins, and tokens per second from then on.
_FIRST_TOKEN, _TOKENS_A_SECOND = 1.0, 60.0
_IN_FLIGHT = 32
# Of the length of a strategy.
_WORDS = "Say it in one short sentence of about this many words."


@dataclass(frozen=True)
class PhaseEstimate:
    """Estimate of one phase: requests and tokens, US dollars (None if a price is unknown), hours.

    In batch mode `hours` is None: they depend on the provider.
    """

    phase: str
    requests: float
    input_tokens: float
    output_tokens: float
    dollars: float | None
    hours: float | None


@dataclass(frozen=True)
class ActualUsage:
    """Sums over the journal for one phase; US dollars are None if a price is unknown."""

    requests: int
    input_tokens: int
    output_tokens: int
    dollars: float | None


@dataclass(frozen=True)
class PhaseComparison(PhaseEstimate):
    """Estimate of one phase beside its actual usage, that of all runs."""

    actual: ActualUsage


@dataclass(frozen=True)
class Estimate:
    """Estimate of all phases, measured on `sampled` instructions; 0: assumed."""

    shares: tuple[PhaseEstimate, ...]
    sampled: int
    settings: str

    @property
    def dollars(self) -> float | None:
        """The sum of all phases, None if a price is unknown."""
        return sum((Cost(share.dollars) for share in self.shares), Cost(0.0)).dollars


@dataclass(frozen=True)
class _Sample:
    """Requests of a phase, measured or assumed, for `units` rows."""

    requests: float
    input_tokens: float
    output_tokens: float
    seconds: float
    units: float


def estimate(seeds: Dataset, teacher: Teacher, recipe: Recipe, seen: Preview | None = None) -> Estimate:
    """Estimate the cost of a build without sending requests.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: The teacher of the build.
        recipe: The settings of the build.
        seen: A preview to measure; None: by assumptions.

    Returns:
        The estimate.
    """
    prompts = load_prompts(recipe.prompts or teacher.prompts)
    seed_rows, settings = rows(seeds[:]), recipe.clustering
    tasks = [{**row, **_sample_attributes(number, recipe.clf_share)} for number, row in enumerate(seed_rows)]
    samples = _measure(seen, prompts, recipe) if seen else _assume(seed_rows, tasks, prompts, recipe)
    rates = teacher.prices.find(teacher.model)
    shares = [_scale(phase, one, recipe.num_instructions, teacher, recipe, rates) for phase, one in samples.items()]
    if recipe.judge.judges_builds:
        instances = [
            {"instance_id": f"{number} {place}", "attribute": attribute, **task}
            for number, task in enumerate(tasks)
            for place, attribute in enumerate(task["attributes"])
        ]
        asked = dry_run(judge_batch, instances, prompts=judge_prompts(teacher, recipe.judge), rater="")
        per_instruction = seen.instances / max(seen.instructions, 1) if seen else len(instances) / len(tasks)
        # At most: some faults cannot be made in enough instances.
        checks = NUM_CHECKS * round(recipe.judge.check_share * min(recipe.judge.size, recipe.num_instructions))
        price = known_prices(teacher, recipe.judge).find(choose_model(teacher, recipe.judge))
        judged = _make_sample(asked, _JUDGEMENT * len(asked), len(asked))
        shares.append(
            _scale("judge", judged, per_instruction * recipe.num_instructions + checks, teacher, recipe, price)
        )
    if recipe.judge.preferences:
        shares.append(_estimate_preferences(seed_rows, teacher, recipe, seen))
    shown = [row["instruction"] for row in seed_rows][: settings.topic_instructions]
    num_topics = settings.num_clusters or min(settings.max_clusters, recipe.num_instructions // 2)
    clusters = [{"instructions": shown, "keywords": ["keyword"] * 6}] * max(num_topics, 1)
    asked = dry_run(name_table, clusters, prompt=prompts["topic"], max_tokens=settings.topic_tokens)
    shares.append(_scale("topics", _make_sample(asked, _TOPIC * num_topics, 1), 1, teacher, recipe, rates))
    return Estimate(tuple(shares), seen.instructions if seen else 0, _identify(teacher, recipe))


def _estimate_preferences(
    seeds: Sequence[Mapping[str, Any]], teacher: Teacher, recipe: Recipe, seen: Preview | None
) -> PhaseEstimate:
    pairs = [{**row, "output_a": row["output"], "output_b": row["output"]} for row in seeds]
    asked = dry_run(compare_batch, pairs, prompt=comparison_prompt(teacher, recipe.judge))
    per_instruction = seen.pairs / max(seen.instructions, 1) if seen else _PAIRS * (1 - recipe.clf_share)
    compared = _make_sample(asked, _JUDGEMENT * len(asked), len(pairs))
    price = known_prices(teacher, recipe.judge).find(choose_model(teacher, recipe.judge))
    return _scale("preferences", compared, per_instruction * recipe.num_instructions, teacher, recipe, price)


def read_or_make_estimate(path: Path, seeds: Dataset, teacher: Teacher, recipe: Recipe) -> Estimate:
    """Return the estimate in a file if it is for this recipe, else a new one, which is written there."""
    try:
        found = TypeAdapter(Estimate).validate_json(path.read_bytes())
        if found.settings == _identify(teacher, recipe):
            return found
    except (OSError, ValidationError):  # none yet, or of another version
        pass
    made = estimate(seeds, teacher, recipe)
    write_estimate(path, made)
    return made


def write_estimate(path: Path, made: Estimate) -> None:
    """Write an estimate, which the report of the build compares with the actual usage."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(made), indent=2), encoding="utf-8")


def compare_with_usage(made: Estimate, teacher: Teacher) -> list[PhaseComparison]:
    """Return the phases of an estimate beside the usage in the teacher's journal."""
    compared = []
    for share in made.shares:
        usage = [one for one in teacher.journal.usage() if one.phase == share.phase]
        names = ("requests", "input_tokens", "output_tokens")
        sums = {name: sum(getattr(one, name) for one in usage) for name in names}
        actual = ActualUsage(**sums, dollars=sum(map(teacher.prices.price, usage), Cost(0.0)).dollars)
        compared.append(PhaseComparison(**asdict(share), actual=actual))
    return compared


def _identify(teacher: Teacher, recipe: Recipe) -> str:
    return fingerprint(teacher.model, recipe.prompts or teacher.prompts, recipe)


def _measure(seen: Preview, prompts: PromptSet, recipe: Recipe) -> dict[str, _Sample]:
    samples = {}
    for phase in ("bootstrap", "attribute", "complete"):
        replies = [one.reply for one in seen.exchanges if one.phase == phase]
        samples[phase] = _Sample(
            requests=sum(reply.attempts for reply in replies),
            input_tokens=sum(reply.input_tokens for reply in replies),
            output_tokens=sum(reply.output_tokens for reply in replies),
            seconds=sum(reply.seconds for reply in replies),
            units=max(seen.instructions, 1),
        )
    num_sent = sum(one.phase == "bootstrap" for one in seen.exchanges)
    samples["bootstrap"] = _extrapolate(samples["bootstrap"], num_sent, seen.candidates, prompts, recipe)
    return samples


def _assume(
    seeds: list[dict[str, Any]], tasks: Sequence[Mapping[str, Any]], prompts: PromptSet, recipe: Recipe
) -> dict[str, _Sample]:
    """Run the phases' batch functions on the seeds, as instructions with attributes, with generated replies."""
    per_request = count_per_request(prompts["bootstrap"], recipe.bootstrap)
    pool = InstructionPool(
        seeds, recipe.num_instructions, recipe.clf_share, recipe.seed, recipe.bootstrap, per_request=per_request
    )
    # Seeds in place of earlier instructions, which are shown from the second round on.
    pool.admitted.extend([{**row, "domain": "", "classification": False} for row in seeds])
    planned: list[dict[str, Any]] = []
    while len(planned) < _SAMPLED_REQUESTS:
        planned += pool.plan()
        pool.judge([])
    drawn = dry_run(draw_batch, planned, prompt=prompts["bootstrap"], settings=recipe.bootstrap)
    candidates = len(drawn) * per_request
    attributed = dry_run(attribute_batch, tasks, prompts=prompts, settings=recipe.attribution)
    completed = dry_run(complete_batch, tasks, prompts=prompts, settings=recipe.completion)
    num_outputs = sum(len(task["attributes"]) for task in tasks)
    names = ("instruction", "output")
    instruction_tokens, output_tokens = (
        statistics.fmean(estimate_tokens(row[name]) for row in seeds) for name in names
    )
    first = _make_sample(drawn, candidates * instruction_tokens, len(drawn))
    return {
        "bootstrap": _extrapolate(first, len(drawn), candidates * _ACCEPTED, prompts, recipe),
        "attribute": _make_sample(attributed, _ATTRIBUTES * len(tasks), len(tasks)),
        "complete": _make_sample(completed, num_outputs * output_tokens, len(tasks)),
    }


def _extrapolate(sample: _Sample, num_requests: int, usable: float, prompts: PromptSet, recipe: Recipe) -> _Sample:
    """Return the sample of a whole bootstrap, in instructions of the build.

    `sample` is of so many of its requests, each sent once or more; they brought so many valid new instructions.
    """
    per_request = count_per_request(prompts["bootstrap"], recipe.bootstrap)
    acceptance = min(max(usable, 1) / max(num_requests * per_request, 1), 1.0)
    total = simulate_rounds(recipe.num_instructions, recipe.clf_share, per_request, recipe.bootstrap, acceptance)
    factor = total / max(num_requests, 1)
    return _Sample(
        sample.requests * factor,
        sample.input_tokens * factor,
        sample.output_tokens * factor,
        sample.seconds * factor,
        recipe.num_instructions,
    )


def _sample_attributes(number: int, clf_share: float) -> dict[str, Any]:
    """Return the attributes of the n-th task: labels or strategies, on average as many as published."""
    is_classification = _is_selected(number, clf_share)
    mean = _LABELS if is_classification else _STRATEGIES
    attributes = [_WORDS] * (math.floor(mean) + _is_selected(number, mean % 1))
    return {"instruction_id": str(number), "is_classification": is_classification, "attributes": attributes}


def _is_selected(number: int, share: float) -> bool:
    """Return whether the n-th is among an evenly spaced share."""
    return math.floor((number + 1) * share) > math.floor(number * share)


def _make_sample(asked: Sequence[Request], output_tokens: float, units: float) -> _Sample:
    texts = [message["content"] for request in asked for message in request.messages]
    schemas = [json.dumps(request.prompt.schema) for request in asked]
    seconds = len(asked) * _FIRST_TOKEN + output_tokens / _TOKENS_A_SECOND
    return _Sample(len(asked), sum(map(estimate_tokens, texts + schemas)), output_tokens, seconds, max(units, 1))


def _scale(
    phase: str, sample: _Sample, units: float, teacher: Teacher, recipe: Recipe, rates: Rates | None
) -> PhaseEstimate:
    factor, settings = units / sample.units, recipe.teacher
    requests, inputs, outputs = (
        factor * value for value in (sample.requests, sample.input_tokens, sample.output_tokens)
    )
    minutes = [
        factor * sample.seconds / (teacher.concurrency or _IN_FLIGHT) / 60,
        requests / settings.rpm if settings.rpm else 0.0,
        (inputs + outputs) / settings.tpm if settings.tpm else 0.0,
    ]
    return PhaseEstimate(
        phase,
        round(requests, 1),
        round(inputs),
        round(outputs),
        None if rates is None else rates.cost(inputs, outputs, is_batch=settings.batch),
        None if settings.batch else max(minutes) / 60,
    )
