"""A language model answers the four questions about instances, through the journal like any other phase.

Each instance is a request of its own: examples that stand side by side are judged by comparison, and words in one that
speak to the judge must not reach the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

from ...core import (
    ASKING_BATCH,
    INSTANCES,
    Batch,
    Trace,
    apply,
    columns,
    flatten,
    hide_folder,
    keep,
    make_id,
    require_columns,
    rows,
    with_rejected,
)
from ...prompts import JUDGE, Prompt, load_judge_prompts
from ...recipe import JudgeSettings
from ...teacher import Ask, Reply, Request, Teacher
from ..questions import JUDGEMENTS, NAMES, QUESTIONS, applies

READ = ("instance_id", "instruction", "is_classification", "attribute", "input", "output")
ASKED = Features({**{name: INSTANCES[name] for name in READ}, "form": Value("string"), "check": Value("string")})
"""Instances to judge in a form other than the main one, or with another output: `form` is one of prompts.JUDGE, `check`
says what for."""
CHECKED = Features({**JUDGEMENTS, "check": Value("string")})
_STRATEGY = next(question.name for question in QUESTIONS if question.needs_strategy)
# A small model may go round in circles until the reply is cut off; in characters.
_LONGEST_REASON = 300


def judge(
    instances: Dataset,
    teacher: Teacher,
    *,
    settings: JudgeSettings | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Judge every instance.

    Args:
        instances: Columns `instance_id`, `instruction`, `is_classification`, `attribute`, `input`, `output` as in
            `schema.INSTANCES`.
        teacher: The model that judges.
        settings: The longest reply.
        cache_dir: Folder of the cache; None: as in `transform.apply`.
        trace: Where given, it receives the instances without a usable reply, each with its reason.

    Returns:
        A dataset with the columns of `questions.JUDGEMENTS`, a row for each instance that was judged, in their order.
    """
    instances = require_columns(instances, INSTANCES, "judge", READ).select_columns(list(READ))
    return _judge(instances, teacher, JUDGEMENTS, "judge", settings, cache_dir, trace)


def judge_checks(
    asked: Dataset,
    teacher: Teacher,
    *,
    settings: JudgeSettings | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Judge instances as the checks of the judge put them.

    Args:
        asked: Columns as ASKED.
        teacher: As for `judge`, and so are the others.
        settings: Likewise.
        cache_dir: Likewise.
        trace: Likewise.

    Returns:
        A dataset with the columns of CHECKED.
    """
    return _judge(asked, teacher, CHECKED, "judge-checks", settings, cache_dir, trace)


def _judge(
    asked: Dataset,
    teacher: Teacher,
    features: Features,
    cached_as: str,
    settings: JudgeSettings | None,
    cache_dir: Path | None,
    trace: Trace | None,
) -> Dataset:
    with teacher.phase("judge", total=len(asked)):
        judged = apply(
            asked,
            judge_batch,
            phase=cached_as,
            features=with_rejected(features),
            settings={"prompts": judge_prompts(teacher, settings), "rater": hide_folder(teacher.model)},
            resources={"ask": teacher.ask},
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
        )
    return keep(judged, phase=cached_as, cache_dir=cache_dir, trace=trace)


def judge_prompts(teacher: Teacher, settings: JudgeSettings | None = None) -> Mapping[str, Prompt]:
    """Return the prompts by form, with the longest reply that the settings ask for."""
    prompts = load_judge_prompts()
    bound = {"maxLength": _LONGEST_REASON} if teacher.is_embedded else {}
    return {
        name: replace(
            prompt,
            max_tokens=(settings or JudgeSettings()).max_tokens,
            schema=_with_properties(
                prompt.schema,
                {key: {**kind, **(bound if key == "reason" else {})} for key, kind in _properties(prompt).items()},
            ),
        )
        for name, prompt in prompts.items()
    }


def judge_batch(batch: Batch, *, ask: Ask, prompts: Mapping[str, Prompt], rater: str) -> dict[str, list[Any]]:
    """Judge a batch of instances.

    Args:
        batch: Columns as ASKED, or those of `judge`: then in the main form.
        ask: Answers requests.
        prompts: The prompts by form.
        rater: The name of the judge.

    Returns:
        Columns as CHECKED, or JUDGEMENTS, and `rejected`: "" or why there is no judgement.
    """
    instances = rows(batch)
    # An endpoint holds the judge to the schema: it must not be asked there for what is no question of this instance.
    without = {name: _drop_question(prompt, _STRATEGY) for name, prompt in prompts.items()}
    requests = [_request(row, prompts if _has_strategy(row) else without) for row in instances]
    judged = [_read(row, reply, rater) for row, reply in zip(instances, ask(requests), strict=True)]
    return columns(judged, with_rejected(CHECKED if "check" in batch else JUDGEMENTS))


def _has_strategy(row: Mapping[str, Any]) -> bool:
    return _STRATEGY in _names_asked(row)


def _names_asked(row: Mapping[str, Any]) -> list[str]:
    return [question.name for question in QUESTIONS if applies(question, row)]


def _request(row: Mapping[str, Any], prompts: Mapping[str, Prompt]) -> Request:
    prompt = prompts[row.get("form", JUDGE[0])]
    texts = {name: row[name] for name in ("instruction", "input", "output")}
    asked = _names_asked(row)
    return Request(
        prompt,
        prompt.messages(
            **texts,
            strategy=row["attribute"] if _has_strategy(row) else "",
            # A text cannot hold a hash of itself, so it cannot end before its mark does.
            mark=make_id(*texts.values(), row["attribute"])[:8],
            questions=[{"name": one.name, "text": one.text} for one in QUESTIONS if one.name in asked],
        ),
    )


def _read(row: Mapping[str, Any], reply: Reply, rater: str) -> dict[str, Any]:
    content, asked = reply.content, _names_asked(row)
    judged = {
        "instance_id": row["instance_id"],
        "rater": rater,
        **{name: content[name] if content is not None and name in asked else None for name in NAMES},
        "confidence": None if content is None else min(max(content["confidence"], 0), 100) / 100,
        "reason": "" if content is None else flatten(content["reason"]),
        "rejected": f"judge: {reply.error}" if content is None else "",
    }
    return {**judged, "check": row["check"]} if "check" in row else judged


def _drop_question(prompt: Prompt, name: str) -> Prompt:
    left = {key: kind for key, kind in _properties(prompt).items() if key != name}
    return replace(prompt, schema=_with_properties(prompt.schema, left))


def _properties(prompt: Prompt) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = prompt.schema["properties"]
    return found


def _with_properties(schema: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "properties": properties, "required": list(properties)}


def passes(judgement: Mapping[str, Any], min_confidence: float = 0.0) -> str:
    """Say whether an instance passes: all questions that apply answered yes, with confidence enough.

    Args:
        judgement: A row with the columns of JUDGEMENTS.
        min_confidence: The least confidence, in [0, 1].

    Returns:
        "" where it passes; else why not: the first question answered no, or too little confidence.
    """
    refused = next((name for name in NAMES if judgement[name] is False), None)
    if refused:
        return f"judge: no to {refused}"
    # Kept as float32: 0.9 there is a little more or less than 0.9.
    is_sure = (judgement["confidence"] or 0.0) >= min_confidence - 1e-6
    return "" if is_sure else f"judge: confidence below {min_confidence:g}"


def index(judgements: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return judgements by the id of their instance."""
    return {row["instance_id"]: row for row in judgements}
