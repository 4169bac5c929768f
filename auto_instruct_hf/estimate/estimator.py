"""Estimate a build before it is paid for: requests, tokens, money and time by phase.

From a few rows that went through all phases (`preview`) where there are any; else from the prompts themselves, filled
in with the seed tasks as if they were the instructions, and from assumptions that are named here.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..clustering import name_batch
from ..core import fingerprint, rows
from ..evaluation.judging import choose_model, judge_batch, judge_prompts, known_prices
from ..generation import InstructionPool, attribute_batch, complete_batch, draw_batch
from ..prompts import ATTRIBUTION, load_prompts
from ..recipe import Recipe
from ..teacher import Rates, Request, Teacher
from .dry_run import dry_run
from .preview import Preview

# Four bytes a token is a rough mean of English in today's tokenizers.
_BYTES_A_TOKEN = 4
# Of the candidates of a bootstrap; it falls as the pool grows. Ours, as all that follows.
_ACCEPTED = 0.6
# Attributes an instruction: the published means (Auto-Instruct's table).
_LABELS, _STRATEGIES = 3.2, 1.9
# Tokens of a reply that no seed shows: a kind, its labels or strategies, an input where there is one; a topic.
_ATTRIBUTES, _TOPIC = 50, 10
# Likewise of a judgement: its reason is three sentences at most.
_JUDGEMENT = 100
# Another output, another order, other words.
_CHECKS = 3
# Seconds until a reply begins, and tokens a second from then on.
_FIRST_TOKEN, _TOKENS_A_SECOND = 1.0, 60.0
_IN_FLIGHT = 32
# As long as a strategy is.
_WORDS = "Say it in one short sentence of about this many words."


@dataclass(frozen=True)
class PhaseEstimate:
    """What one phase takes: counts of requests and tokens, US dollars (None where no price is known), hours.

    In batch mode `hours` is None: they are up to the provider.
    """

    phase: str
    requests: float
    input_tokens: float
    output_tokens: float
    dollars: float | None
    hours: float | None


@dataclass(frozen=True)
class Estimate:
    """What all phases take; `sampled` instructions went through them to tell, 0: none."""

    shares: tuple[PhaseEstimate, ...]
    sampled: int
    settings: str

    @property
    def dollars(self) -> float | None:
        """The sum of all phases, None where no price is known."""
        each = [share.dollars for share in self.shares]
        return None if None in each else sum(one or 0.0 for one in each)


@dataclass(frozen=True)
class _Mean:
    """A phase's requests so far, or as assumed, and of how many units (instructions) they were."""

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
        seen: What a few rows took; None: assumptions stand in.

    Returns:
        The estimate.
    """
    means = _measure(seen) if seen else _assume(seeds, teacher, recipe)
    settings = _identify(teacher, recipe)
    rates = teacher.prices.find(teacher.model)
    shares = [_scale(phase, mean, recipe.num_instructions, teacher, recipe, rates) for phase, mean in means.items()]
    if recipe.judge.min_judge is not None:
        judged = _judge(seeds, teacher, recipe, seen.instances / max(seen.instructions, 1) if seen else None)
        price = known_prices(teacher, recipe.judge).find(choose_model(teacher, recipe.judge))
        shares.append(_scale("judge", judged, judged.units, teacher, recipe, price))
    topics = _topics(seeds, teacher, recipe)
    shares.append(_scale("topics", topics, topics.units, teacher, recipe, rates))
    return Estimate(tuple(shares), seen.instructions if seen else 0, settings)


def read_or_make_estimate(path: Path, seeds: Dataset, teacher: Teacher, recipe: Recipe) -> Estimate:
    """Return the estimate that was written for this recipe, else a new one, which is written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = Estimate(
            tuple(PhaseEstimate(**one) for one in content["shares"]), content["sampled"], content["settings"]
        )
        if found.settings == _identify(teacher, recipe):
            return found
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or of another version
        pass
    made = estimate(seeds, teacher, recipe)
    write_estimate(path, made)
    return made


def write_estimate(path: Path, made: Estimate) -> None:
    """Write an estimate, for the report of the build to set beside the truth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(made), indent=2), encoding="utf-8")


def compare_with_usage(made: Estimate, usage: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Set an estimate beside the truth.

    Args:
        made: The estimate.
        usage: The sums of the journal, as in the report.

    Returns:
        For each phase of the estimate its figures, and under `actual` the same of the journal.
    """
    found = []
    for share in made.shares:
        sums = [one for one in usage if one["phase"] == share.phase]
        dollars = [one["dollars"] for one in sums]
        actual = {name: sum(one[name] for one in sums) for name in ("requests", "input_tokens", "output_tokens")}
        actual["dollars"] = None if None in dollars else sum(dollars)
        found.append({**asdict(share), "actual": actual})
    return found


def _identify(teacher: Teacher, recipe: Recipe) -> str:
    return fingerprint(teacher.model, recipe.prompts or teacher.prompts, recipe)


def _measure(seen: Preview) -> dict[str, _Mean]:
    means = {}
    for phase, units in (
        ("bootstrap", seen.candidates),
        ("attribute", seen.instructions),
        ("complete", seen.instructions),
    ):
        replies = [one.reply for one in seen.exchanges if one.phase == phase]
        means[phase] = _Mean(
            requests=sum(reply.attempts for reply in replies),
            input_tokens=sum(reply.input_tokens for reply in replies),
            output_tokens=sum(reply.output_tokens for reply in replies),
            seconds=sum(reply.seconds for reply in replies),
            units=max(units, 1),
        )
    return means


def _assume(seeds: Dataset, teacher: Teacher, recipe: Recipe) -> dict[str, _Mean]:
    """Ask the phases' own batch functions what they would ask of the seed tasks, and answer in the teacher's place."""
    prompts = load_prompts(recipe.prompts or teacher.prompts)
    tasks = rows(seeds[:])
    pool = InstructionPool(
        tasks, recipe.num_instructions, recipe.clf_share, recipe.seed, recipe.bootstrap, same_examples=False
    )
    plan = pool.plan()
    drawn = dry_run(draw_batch, plan, prompt=prompts["bootstrap"], settings=recipe.bootstrap)
    each = min(recipe.bootstrap.instructions_per_request, prompts["bootstrap"].max_items("instructions"))
    attributed = dry_run(
        attribute_batch,
        tasks,
        prompts={name: prompt for name, prompt in prompts.items() if name in ATTRIBUTION},
        max_strategies=recipe.attribution.max_strategies,
        instructions_per_request=recipe.attribution.instructions_per_request,
    )
    filled = [{**task, **_sample_attributes(number, recipe.clf_share)} for number, task in enumerate(tasks)]
    completed = dry_run(
        complete_batch,
        filled,
        prompts={name: prompts[name] for name in ("input", "output")},
        instances_per_request=recipe.completion.instances_per_request,
    )
    outputs = sum(len(row["attributes"]) for row in filled) * _mean_tokens(row["output"] for row in tasks)
    instructions = len(drawn) * each * _mean_tokens(row["instruction"] for row in tasks)
    return {
        "bootstrap": _mean(drawn, instructions, len(drawn) * each * _ACCEPTED),
        "attribute": _mean(attributed, _ATTRIBUTES * len(tasks), len(tasks)),
        "complete": _mean(completed, outputs, len(tasks)),
    }


def _topics(seeds: Dataset, teacher: Teacher, recipe: Recipe) -> _Mean:
    """Assume as many clusters as may be, each named from so many seeds."""
    settings = recipe.clustering
    shown = [row["instruction"] for row in rows(seeds[:])][: settings.topic_instructions]
    number = settings.num_clusters or min(settings.max_clusters, recipe.num_instructions // 2)
    prompt = load_prompts(recipe.prompts or teacher.prompts)["topic"]
    asked = dry_run(name_batch, [{"instructions": shown, "keywords": ["keyword"] * 6}] * number, prompt=prompt)
    return _mean(asked, _TOPIC * number, number)


def _judge(seeds: Dataset, teacher: Teacher, recipe: Recipe, each: float | None) -> _Mean:
    """Judge the seed tasks in the judge's place, as many as there will be instances, and those of the checks.

    `each` is how many instances an instruction has, None: as published. None is taken to be dropped by curation.
    """
    tasks = rows(seeds[:])
    filled = [{**task, **_sample_attributes(number, recipe.clf_share)} for number, task in enumerate(tasks)]
    instances = [
        {"instance_id": f"{number} {place}", "attribute": attribute, **row}
        for number, row in enumerate(filled)
        for place, attribute in enumerate(row["attributes"])
    ]
    asked = dry_run(judge_batch, instances, prompts=judge_prompts(teacher, recipe.judge), rater="")
    each = len(instances) / len(tasks) if each is None else each
    checks = _CHECKS * round(recipe.judge.check_share * min(recipe.judge.size, recipe.num_instructions))
    factor = (each * recipe.num_instructions + checks) / len(asked)
    mean = _mean(asked, _JUDGEMENT * len(asked), len(asked))
    return replace(mean, **{name: factor * value for name, value in asdict(mean).items()})


def _sample_attributes(number: int, clf_share: float) -> dict[str, Any]:
    """Return the attributes of the n-th task: labels or strategies as many as published, on average."""
    is_classification = _is_selected(number, clf_share)
    mean = _LABELS if is_classification else _STRATEGIES
    count = math.floor(mean) + _is_selected(number, mean % 1)
    return {
        "instruction_id": str(number),
        "is_classification": is_classification,
        "attributes": [_WORDS] * count,
    }


def _is_selected(number: int, share: float) -> bool:
    return math.floor((number + 1) * share) > math.floor(number * share)


def _mean(asked: Sequence[Request], output_tokens: float, units: float) -> _Mean:
    texts = [message["content"] for request in asked for message in request.messages]
    schemas = [json.dumps(request.prompt.schema) for request in asked]
    seconds = len(asked) * _FIRST_TOKEN + output_tokens / _TOKENS_A_SECOND
    return _Mean(len(asked), sum(map(_tokens, texts + schemas)), output_tokens, seconds, max(units, 1))


def _tokens(text: str) -> float:
    return len(text.encode()) / _BYTES_A_TOKEN


def _mean_tokens(texts: Iterable[str]) -> float:
    return statistics.fmean(map(_tokens, texts))


def _scale(
    phase: str, mean: _Mean, units: float, teacher: Teacher, recipe: Recipe, rates: Rates | None
) -> PhaseEstimate:
    factor = units / mean.units
    requests, inputs, outputs = factor * mean.requests, factor * mean.input_tokens, factor * mean.output_tokens
    settings = recipe.teacher
    minutes = [
        factor * mean.seconds / (teacher.concurrency or _IN_FLIGHT) / 60,
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
