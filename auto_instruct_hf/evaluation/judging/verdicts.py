"""A language model answers the questions about instances, through the journal like any other phase.

Each request holds one instance: several in one request are judged by comparison, and instructions to the judge hidden
in one text must not affect the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from datasets import Dataset, Features, Value

from ...core import (
    ASKING_BATCH,
    INSTANCES,
    Batch,
    Columns,
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
from ..questions import JUDGEMENTS, NAMES, QUESTIONS, DatasetRow, applies
from .limits import state_counts

READ = ("instance_id", "instruction", "is_classification", "attribute", "input", "output")
ASKED = Features({**{name: INSTANCES[name] for name in READ}, "check": Value("string")})
"""Instances to judge in another form, or with a fault: `check` is the name of the form in prompts.JUDGE, or of the
fault, which is judged in the main form."""
CHECKED = Features({**JUDGEMENTS, "check": Value("string")})
_OF_STRATEGY = {question.name for question in QUESTIONS if question.needs_strategy}
# In characters: small models may repeat themselves until the reply is cut off.
_MAX_REASON = 300


def judge(
    instances: Dataset,
    teacher: Teacher,
    *,
    as_checks: bool = False,
    settings: JudgeSettings | None = None,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Judge every instance; the columns are READ, as in `schema.INSTANCES`, or with `as_checks` as ASKED.

    Return one row per judged instance, in their order; columns as JUDGEMENTS, with `as_checks` as CHECKED. `settings`
    limits the tokens of a reply; `cache_dir` is as in `core.apply`; `trace` receives the instances without a usable
    reply, with the reasons.
    """
    if not as_checks:
        instances = require_columns(instances, INSTANCES, "judge", READ).select_columns(list(READ))
    phase = "judge-checks" if as_checks else "judge"
    with teacher.phase("judge", total=len(instances)) as progress:
        judged = apply(
            instances,
            judge_batch,
            phase=phase,
            features=with_rejected(CHECKED if as_checks else JUDGEMENTS),
            settings={"prompts": judge_prompts(teacher, settings), "rater": hide_folder(teacher.model)},
            resources={"ask": teacher.ask},
            make_resources=teacher.share("judge"),
            depends_on=teacher.identity,
            batch_size=ASKING_BATCH,
            cache_dir=cache_dir,
            is_final=lambda: progress.is_final,
        )
    return keep(judged, phase=phase, cache_dir=cache_dir, trace=trace)


def judge_prompts(
    teacher: Teacher, settings: JudgeSettings | None = None, prompts: Mapping[str, Prompt] | None = None
) -> Mapping[str, Prompt]:
    """Return prompts by name, with `max_tokens` of the settings and, for the embedded model, bounded reasons.

    `prompts` are by default those of `load_judge_prompts`.
    """
    max_tokens, given = (settings or JudgeSettings()).max_tokens, prompts or load_judge_prompts()
    prompts = {name: replace(prompt, max_tokens=max_tokens) for name, prompt in given.items()}
    if teacher.is_embedded:
        for name, prompt in prompts.items():
            kinds = prompt.schema["properties"]
            kinds = {**kinds, "reason": {**kinds["reason"], "maxLength": _MAX_REASON}}
            prompts[name] = replace(prompt, schema={**prompt.schema, "properties": kinds})
    return prompts


def judge_batch(batch: Batch, *, ask: Ask, prompts: Mapping[str, Prompt], rater: str) -> Columns:
    """Judge a batch with the columns READ, or as ASKED; `prompts` are by form, `rater` is the name of the judge.

    Return columns as JUDGEMENTS, or CHECKED, and `rejected`: "" or the reason why there is no judgement.
    """
    without_strategy = {}
    for name, prompt in prompts.items():
        kinds = {key: kind for key, kind in prompt.schema["properties"].items() if key not in _OF_STRATEGY}
        without_strategy[name] = replace(prompt, schema={**prompt.schema, "properties": kinds, "required": list(kinds)})
    instances, requests = rows(batch), []
    for row in instances:
        questions = [{"name": one.name, "text": one.text} for one in QUESTIONS if applies(one, row)]
        # Endpoints enforce the schema, so it must not require an answer to a question that does not apply.
        has_all = len(questions) == len(QUESTIONS)
        form = row["check"] if row.get("check") in prompts else JUDGE[0]
        prompt = prompts[form] if has_all else without_strategy[form]
        texts = {name: row[name] for name in ("instruction", "input", "output")}
        strategy = row["attribute"] if has_all else ""
        # A text cannot contain its own hash, so it cannot contain its end mark.
        mark = make_id(*texts.values(), row["attribute"])[:8]
        counts = state_counts(row["instruction"], strategy, row["output"])
        variables = {**texts, "strategy": strategy, "mark": mark, "counts": counts, "questions": questions}
        requests.append(Request(prompt, prompt.messages(**variables)))
    judged = [_parse_reply(row, reply, rater) for row, reply in zip(instances, ask(requests), strict=True)]
    return columns(judged, with_rejected(CHECKED if "check" in batch else JUDGEMENTS))


def _parse_reply(row: DatasetRow, reply: Reply, rater: str) -> DatasetRow:
    unanswered = {**row, **dict.fromkeys((*NAMES, "confidence")), "rater": rater, "reason": ""}
    content = reply.content
    if content is None:
        return {**unanswered, "rejected": f"judge: {reply.error}"}
    return {
        **unanswered,
        **{one.name: content[one.name] for one in QUESTIONS if applies(one, row)},
        "confidence": content["confidence"] / 100,
        "reason": flatten(content["reason"]),
        "rejected": "",
    }


def passes(judgement: DatasetRow, min_confidence: float = 0.0) -> str:
    """Return why an instance does not pass, "" if it does, by a row of JUDGEMENTS; `min_confidence` is in [0, 1]."""
    refused = next((name for name in NAMES if judgement[name] is False), None)
    if refused:
        return f"judge: no to {refused}"
    # The confidence is a float32: 0.9 is stored as slightly more or less.
    is_sure = (judgement["confidence"] or 0.0) >= min_confidence - 1e-6
    return "" if is_sure else f"judge: confidence below {min_confidence:g}"


def passed_all(judgement: DatasetRow) -> bool:
    """Return whether no question that applies is answered no."""
    return not passes(judgement)


def index(judgements: Iterable[DatasetRow]) -> dict[str, DatasetRow]:
    """Return judgements by the id of their instance."""
    return {row["instance_id"]: row for row in judgements}
