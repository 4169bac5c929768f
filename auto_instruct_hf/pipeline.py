"""The phases in order: seeds go in, a folder with a dataset comes out."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from filelock import FileLock, Timeout

from . import facts
from .attribution import attribute
from .bootstrap import bootstrap
from .card import render_card
from .clustering import cluster
from .completion import complete
from .curation import curate
from .errors import BuildError
from .publish import add_messages, write_dataset
from .recipe import Recipe
from .sampling import SAMPLES_AN_INSTRUCTION, stratify
from .splitting import split
from .teacher import Teacher
from .transform import Trace, without_bars


@dataclass(frozen=True)
class Build:
    """What a build made: the published configs, the table of figures, and the report."""

    sample: DatasetDict
    instances: DatasetDict
    table: list[facts.Row]
    report: dict[str, Any]


def build(seeds: Dataset, teacher: Teacher, out: str | Path, recipe: Recipe | None = None) -> Build:
    """Run all phases and write the dataset. A rerun goes on where an earlier run ended, however it ended.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: Who writes. Its journal should be `out/journal.sqlite`.
        out: Folder of the build: `dataset/`, `report.json`, `rejected/`, `cache/`.
        recipe: The settings; None: the published ones.

    Returns:
        What was made.

    Raises:
        BuildError: If another build runs in `out`, or no row is left.
    """
    recipe, out = recipe or Recipe(), Path(out)
    traces: dict[str, Trace] = {}
    common: dict[str, Any] = {"cache_dir": out / "cache"}
    asking: dict[str, Any] = {**common, "prompts": recipe.prompts}

    with _only_build(out):
        with _phase("bootstrap", traces) as trace:
            instructions = bootstrap(
                seeds,
                teacher,
                num_instructions=recipe.num_instructions,
                clf_share=recipe.clf_share,
                seed=recipe.seed,
                settings=recipe.bootstrap,
                trace=trace,
                **asking,
            )
        with _phase("attribute", traces) as trace:
            attributed = attribute(instructions, teacher, settings=recipe.attribution, trace=trace, **asking)
        with _phase("complete", traces) as trace:
            completed = complete(attributed, teacher, trace=trace, **asking)
        with _phase("curate", traces) as trace:
            curated = curate(completed, settings=recipe.curation, trace=trace, **common)
        if not len(curated):
            raise BuildError(f"no instance is left after curation: {facts.count_reasons(trace.rejected)}")
        with _phase("cluster", traces) as trace:
            clustered = cluster(
                curated,
                teacher,
                embedding=recipe.embedding,
                settings=recipe.clustering,
                seed=recipe.seed,
                trace=trace,
                **asking,
            )
        with _phase("split", traces):
            splits = split(clustered, settings=recipe.splitting, seed=recipe.seed, **common)
        with _phase("sample", traces):
            drawn = stratify(
                splits,
                num_samples=recipe.num_samples or SAMPLES_AN_INSTRUCTION * len(instructions),
                clf_share=recipe.clf_share,
                seed=recipe.seed,
                **common,
            )
        with _phase("write", traces):
            sample, instances = add_messages(drawn, **common), add_messages(splits, **common)
            table = facts.summarise(instructions, attributed, completed, sample)
            _write(out, recipe, seeds, teacher, sample, instances, table, traces)
        report = _report(recipe, seeds, teacher, table, traces)
        (out / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    return Build(sample, instances, table, report)


@contextmanager
def _only_build(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise BuildError(f"another build runs in {out}: wait for it, or use another --out") from None


@contextmanager
def _phase(name: str, traces: dict[str, Trace]) -> Iterator[Trace]:
    start = time.monotonic()
    traces[name] = Trace()
    yield traces[name]
    traces[name].facts["seconds"] = round(time.monotonic() - start, 3)


def _write(
    out: Path,
    recipe: Recipe,
    seeds: Dataset,
    teacher: Teacher,
    sample: DatasetDict,
    instances: DatasetDict,
    table: list[facts.Row],
    traces: dict[str, Trace],
) -> None:
    """Write the published folder, and beside it the rejected rows of each phase."""
    configs = {"default": sample, "instances": instances}
    card = render_card(
        configs,
        {
            "title": f"Instructions by {teacher.model}",
            "location": (out / "dataset").as_posix(),
            "num_samples": sum(map(len, sample.values())),
            "num_seeds": len(seeds),
            "version": facts.list_versions()["auto-instruct-hf"],
            "teacher": teacher.model,
            "is_embedded": teacher.is_embedded,
            "phases": facts.PHASES,
            "table": [
                {
                    "name": row.name,
                    "cells": [
                        tuple(map(facts.format_figure, cell)) for cell in zip(row.ours, row.published, strict=True)
                    ],
                }
                for row in table
            ],
            "rejected": {name: facts.count_reasons(trace.rejected) for name, trace in traces.items()},
        },
    )
    write_dataset(out / "dataset", configs, {"README.md": card, "recipe.yaml": _resolve(recipe, teacher).to_yaml()})
    for name, trace in traces.items():
        if trace.rejected is not None:
            (out / "rejected").mkdir(exist_ok=True)
            with without_bars():
                trace.rejected.to_parquet(out / "rejected" / f"{name}.parquet")


def _resolve(recipe: Recipe, teacher: Teacher) -> Recipe:
    """Return the recipe that gives the same build again: with the teacher that was used, without its address."""
    model = "embedded" if teacher.is_embedded else teacher.model
    return replace(
        recipe,
        prompts=recipe.prompts or teacher.prompts,
        teacher=replace(recipe.teacher, model=model, base_url=None),
    )


def _report(
    recipe: Recipe, seeds: Dataset, teacher: Teacher, table: list[facts.Row], traces: dict[str, Trace]
) -> dict[str, Any]:
    usages = teacher.journal.usage()
    return {
        "teacher": teacher.model,
        "seeds": len(seeds),
        "seed": recipe.seed,
        "phases": {
            name: {**trace.facts, "rejected": facts.count_reasons(trace.rejected)} for name, trace in traces.items()
        },
        "table": {row.name: dict(zip(facts.PHASES, row.ours, strict=True)) for row in table},
        "usage": facts.list_costs(usages),
        "dollars": facts.total_cost(usages).dollars,
        "versions": facts.list_versions(),
    }
