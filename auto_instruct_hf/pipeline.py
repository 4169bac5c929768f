"""The phases in order: seeds go in, a folder with a dataset comes out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset, DatasetDict

from .clustering import cluster
from .core import Engine, Trace, lock_build, running_on
from .curation import curate, decontaminate, read_evaluation_set
from .embedding import require_model
from .errors import BuildError
from .estimate import Estimate, compare_with_usage
from .evaluation.judging import compare_outputs, filter_judged, judge_where_asked
from .generation import attribute, bootstrap, complete
from .prompts import PromptSet, load_prompts
from .publishing import (
    BuildReport,
    CardInputs,
    check_terms,
    collect_report,
    count_reasons,
    require_same_build,
    tabulate_phases,
    write_build,
)
from .recipe import Recipe
from .sampling import SAMPLES_AN_INSTRUCTION, add_messages, split, stratify
from .teacher import Teacher

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Build:
    """The result of a build: the published configs and the report.

    `attributed` are the instructions of its instances, columns as `schema.ATTRIBUTED`; `preferences` has no split if
    none were asked for.
    """

    sample: DatasetDict
    instances: DatasetDict
    report: BuildReport
    attributed: Dataset
    preferences: DatasetDict


class _Phases:
    """Run phases with one cache folder; keep a trace of each, with its duration in seconds."""

    def __init__(self, cache_dir: Path) -> None:
        self.cache_dir = cache_dir
        self.traces: dict[str, Trace] = {}

    def run(self, name: str, phase: Callable[..., _Result], *inputs: object, **settings: Any) -> _Result:
        trace = self.traces[name] = Trace()
        start = time.monotonic()
        found = phase(*inputs, **settings, cache_dir=self.cache_dir, trace=trace)
        trace.facts["seconds"] = round(time.monotonic() - start, 3)
        return found

    def ask(
        self,
        teacher: Teacher,
        prompts: PromptSet,
        name: str,
        phase: Callable[..., Dataset],
        rows: Dataset,
        **settings: Any,
    ) -> Dataset:
        """Run a phase that asks the teacher."""
        return self.run(name, phase, rows, teacher, prompts=prompts, **settings)

    def filter(self, name: str, phase: Callable[..., Dataset], *inputs: object, **settings: Any) -> Dataset:
        """Run a phase that drops rows; raise a BuildError if it drops all."""
        found = self.run(name, phase, *inputs, **settings)
        if not len(found):
            raise BuildError(f"no instance is left after {name}: {count_reasons(self.traces[name].rejected)}")
        return found


def build(
    seeds: Dataset,
    teacher: Teacher,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    license: str | None = None,
    language: str | None = None,
    title: str | None = None,
    description: str = "",
    estimate: Estimate | None = None,
    overwrite: bool = False,
    engine: Engine | None = None,
) -> Build:
    """Run all phases and write the dataset. A rerun continues where an earlier run ended.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: The teacher. Its journal should be `out/journal.sqlite`.
        out: Folder of the build: `dataset/`, `rejected/`, `report.json`, `cache/`.
        recipe: The settings; None: the published ones.
        license: License of the dataset, as the Hub writes it (`cc-by-4.0`); None: not stated.
        language: Language of the dataset, as the Hub writes it (`en`); None: English with the bundled seeds, else not
            stated.
        title: Title of the card; None: names the teacher.
        description: Your own words for the card, as Markdown.
        estimate: An estimate of this build, for the progress bar and to report beside the actual usage.
        overwrite: Whether to replace a finished build with another teacher, seed set or recipe in `out`.
        engine: Computes the phases that can leave this process, with the same rows; None: this process computes all.

    Returns:
        The datasets and the report.

    Raises:
        BuildError: If another build runs in `out`, a finished one there differs, the embedding model is not found, or
            no row is left.
        SourceError: If an evaluation set of `recipe.decontamination` cannot be read.
        RecipeError: If license or language is not one of the Hub's, or instances are to be judged within a budget and
            the judge's price is not known.
        WorkListed: From an engine that stops the build before a phase.
    """
    recipe, out = recipe or Recipe(), Path(out)
    check_terms(license, language, title)
    require_model(recipe.embedding)
    for source in recipe.decontamination.sources:
        read_evaluation_set(source)  # a source that cannot be read is reported before anything is spent
    phases = _Phases(out / "cache")
    ask = partial(phases.ask, teacher, load_prompts(recipe.prompts or teacher.prompts))
    shared = {"clf_share": recipe.clf_share, "seed": recipe.seed}
    filters = {"filters": recipe.filters}
    with lock_build(out), judge_where_asked(teacher, recipe) as judge, running_on(engine):
        if not overwrite:
            require_same_build(out, seeds, teacher, recipe)
        if estimate:
            teacher.expect({share.phase: share.dollars for share in estimate.shares})
        sizes = {"num_instructions": recipe.num_instructions, **shared}
        options = {"settings": recipe.bootstrap, "embedding": recipe.embedding, **filters, **sizes}
        instructions = ask("bootstrap", bootstrap, seeds, **options)
        attributed = ask("attribute", attribute, instructions, settings=recipe.attribution, **filters)
        instances = ask("complete", complete, attributed, settings=recipe.completion, **filters)
        curated = phases.filter("curate", curate, instances, settings=recipe.curation, **filters)
        if recipe.decontamination.sources:
            curated = phases.filter("decontaminate", decontaminate, curated, settings=recipe.decontamination)
        if judge and recipe.judge.judges_builds:
            options = {"settings": recipe.judge, "seed": recipe.seed, "written_by": teacher.model}
            keep_all = recipe.judge.min_judge is None
            curated = phases.filter("judge", filter_judged, curated, judge, keep_all=keep_all, **options)
        models = {"embedding": recipe.embedding, "settings": recipe.clustering, "seed": recipe.seed}
        clustered = ask("cluster", cluster, curated, **models)
        options = {"embedding": recipe.embedding, "settings": recipe.splitting, "seed": recipe.seed}
        splits = phases.run("split", split, clustered, **options)
        num_samples = recipe.num_samples or SAMPLES_AN_INSTRUCTION * len(instructions)
        sizes = {"num_samples": num_samples, **shared}
        sampled = phases.run("sample", stratify, splits, settings=recipe.sampling, **sizes)
        chat = partial(add_messages, teacher=teacher.model, settings=recipe.chat, cache_dir=phases.cache_dir)
        configs = {"default": chat(sampled, instances=splits), "instances": chat(splits)}
        if judge and recipe.judge.preferences:
            options = {"settings": recipe.judge, "written_by": teacher.model, "system": recipe.chat.system}
            configs["preferences"] = phases.run("preferences", compare_outputs, splits, judge, **options)
        configs = {config: found for config, found in configs.items() if found}
        report = collect_report(
            tabulate_phases(instructions, attributed, instances, sampled),
            configs,
            seeds,
            teacher,
            recipe,
            phases.traces,
            license=license,
            language=language,
            title=title,
            description=description,
            estimate=compare_with_usage(estimate, teacher) if estimate else None,
        )
        places, threshold = phases.traces["cluster"].tables["map"], recipe.bootstrap.max_similarity
        inputs = CardInputs(instructions, configs["instances"], configs["default"], seeds, places, threshold)
        preferences = configs.get("preferences", DatasetDict())
        report = write_build(out, report, recipe, inputs, phases.traces, preferences)
    return Build(configs["default"], configs["instances"], report, attributed, preferences)
