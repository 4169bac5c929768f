"""The phases in order: seeds go in, a folder with a dataset comes out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict

from .clustering import cluster
from .core import Trace, lock_build
from .curation import curate, decontaminate
from .errors import BuildError
from .estimate import compare, read_or_make
from .evaluation.judging import filter_judged, judge_where_asked
from .generation import attribute, bootstrap, complete
from .publishing import Material
from .publishing import build_folder as publish
from .publishing import build_report as facts
from .recipe import Recipe
from .sampling import SAMPLES_AN_INSTRUCTION, add_messages, split, stratify
from .teacher import Teacher


@dataclass(frozen=True)
class Build:
    """What a build made: the published configs, and the report.

    `attributed` are the instructions that its instances were written for, columns as `schema.ATTRIBUTED`.
    """

    sample: DatasetDict
    instances: DatasetDict
    report: dict[str, Any]
    attributed: Dataset


def build(
    seeds: Dataset,
    teacher: Teacher,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    license: str | None = None,
    language: str | None = None,
) -> Build:
    """Run all phases and write the dataset. A rerun goes on where an earlier run ended, however it ended.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: Who writes. Its journal should be `out/journal.sqlite`.
        out: Folder of the build: `dataset/`, `rejected/`, `report.json`, `cache/`.
        recipe: The settings; None: the published ones.
        license: Under which the dataset is to be published, as the Hub writes it (`cc-by-4.0`); None: not stated.
        language: Of the dataset, as the Hub writes it (`en`); None: English with the bundled seeds, else not stated.

    Returns:
        What was made.

    Raises:
        BuildError: If another build runs in `out`, or no row is left.
        RecipeError: If instances are to be judged within a budget and the judge's price is not known.
    """
    recipe, out = recipe or Recipe(), Path(out)
    traces: dict[str, Trace] = {}
    common: dict[str, Any] = {"cache_dir": out / "cache"}
    asking: dict[str, Any] = {**common, "prompts": recipe.prompts}

    with lock_build(out), judge_where_asked(teacher, recipe) as judge:
        estimated = read_or_make(out / "estimate.json", seeds, teacher, recipe)
        teacher.expect({share.phase: share.dollars for share in estimated.shares})
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
            completed = complete(attributed, teacher, settings=recipe.completion, trace=trace, **asking)
        with _phase("curate", traces) as trace:
            curated = _some(curate(completed, settings=recipe.curation, trace=trace, **common), "curation", trace)
        if recipe.decontamination.sources:
            with _phase("decontaminate", traces) as trace:
                clean = decontaminate(curated, settings=recipe.decontamination, trace=trace, **common)
                curated = _some(clean, "decontamination", trace)
        if judge:
            with _phase("judge", traces) as trace:
                passed = filter_judged(
                    curated,
                    judge,
                    settings=recipe.judge,
                    seed=recipe.seed,
                    written_by=teacher.model,
                    trace=trace,
                    **common,
                )
                curated = _some(passed, "judging", trace)
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
        with _phase("split", traces) as trace:
            splits = split(clustered, settings=recipe.splitting, seed=recipe.seed, trace=trace, **common)
        with _phase("sample", traces) as trace:
            drawn = stratify(
                splits,
                num_samples=recipe.num_samples or SAMPLES_AN_INSTRUCTION * len(instructions),
                clf_share=recipe.clf_share,
                settings=recipe.sampling,
                seed=recipe.seed,
                trace=trace,
                **common,
            )
        with _phase("messages", traces):
            sample, instances = add_messages(drawn, **common), add_messages(splits, **common)
        report = facts.make_report(
            facts.summarise(instructions, attributed, completed, sample),
            {"default": sample, "instances": instances},
            seeds,
            teacher,
            recipe,
            traces,
            license=license,
            language=language,
        )
        report["estimate"] = compare(estimated, report["usage"])
        material = Material(
            instructions,
            instances,
            sample,
            seeds,
            traces["cluster"].tables["map"],
            report["phases"]["bootstrap"]["rounds"],
            report["usage"],
            recipe.bootstrap.max_similarity,
            traces["cluster"].facts["curve"],
        )
        publish.write_build(out, report, recipe, material, traces)
    return Build(sample, instances, report, attributed)


def _some(rows: Dataset, after: str, trace: Trace) -> Dataset:
    if not len(rows):
        raise BuildError(f"no instance is left after {after}: {facts.count_reasons(trace.rejected)}")
    return rows


@contextmanager
def _phase(name: str, traces: dict[str, Trace]) -> Iterator[Trace]:
    start = time.monotonic()
    traces[name] = Trace()
    yield traces[name]
    traces[name].facts["seconds"] = round(time.monotonic() - start, 3)
