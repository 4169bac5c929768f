"""Ablate the recipe: the same instructions of one teacher, completed with fewer steps and with all.

Auto-Instruct (Mansutti) states as a limitation that it compares datasets of different teachers.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from ..core import CLUSTERED, INSTANCES, Trace, from_rows, hide_folder, to_json, write_changed
from ..curation import curate, decontaminate
from ..errors import BuildError, RecipeError
from ..evaluation.judging import assess, choose_model, open_judge
from ..evaluation.measures import Figures, measure_dataset
from ..pipeline import Build, build
from ..publishing import count_reasons, list_costs
from ..recipe import Recipe
from ..teacher import Teacher
from .arm_files import ARMS, ATTRIBUTES, FULL, SELF_INSTRUCT, write_arms
from .contrasts import contrast_judgements, contrast_measures, measure_sample
from .coordinated_samples import sample_coordinated, take_one_each
from .self_instruct import complete_directly
from .tables import to_markdown

# Ours: a further draw is in the range of this many with a probability of 90 %.
_NUM_DRAWS = 20
NOTES = {
    "arms": (
        "All arms have the same instructions, and the attribution decides which are classification tasks. "
        "self-instruct: input and output in one request per instruction; for classification tasks the labels first, "
        "each with an input. attributes: labels, or input and strategies, then an instance for each. full: the same "
        "instances. All arms are curated in the same way. full is sampled by its clusters, the other two as if all "
        "rows were in one; the share of classification is that of the recipe. Splits are not compared."
    ),
    "measurements": (
        "Each arm has a sample of the same number of rows. Topics are those of the full recipe, counted over all rows; "
        "everything else is measured on one row per instruction, for the same number of instructions in each arm. "
        "Figures are means over {draws} samples with different seeds, with minimum and maximum in brackets; "
        "differences are taken within each of them. The range shows the variation between samples, not between replies "
        "of the teacher. It is narrow if a sample holds every instruction."
    ),
    "judge": (
        "The judge saw one row per instruction, in a random order. The order and the random numbers of the samples are "
        "the same for all arms, so most judged instructions are too. An instance in two arms is judged once. In "
        "brackets: Wilson's 95 % interval. Differences are over the instructions judged in both arms, with Newcombe's "
        "95 % interval for pairs. attributes and full have the same instances: they differ only in which are sampled."
    ),
}


@dataclass(frozen=True)
class _Arm:
    """The instances that an arm samples from, and the number of dropped rows by reason, for each phase."""

    pool: Dataset
    reasons: Sequence[Mapping[str, int]]

    def describe(self) -> Figures:
        return {
            "instructions": len(set(self.pool["instruction_id"][:])),
            "instances": len(self.pool),
            "dropped": sum(sum(found.values()) for found in self.reasons),
            "rejected": {reason: count for found in self.reasons for reason, count in found.items()},
        }


def ablate(
    seeds: Dataset,
    teacher: Teacher,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    arms: Sequence[str] = ARMS,
    num_samples: int | None = None,
    with_judge: bool = True,
    num_draws: int = _NUM_DRAWS,
    overwrite: bool = False,
) -> Figures:
    """Build by the recipe and by parts of it, measure and judge the results, and write the comparison.

    What arms have in common is requested once, and a rerun sends no request.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: The model that writes in all arms. Its journal should be `out/journal.sqlite`.
        out: Folder of the build (see `pipeline.build`), of `ablation.json` and `ablation.md`.
        recipe: The settings; None: the published ones. `judge.size` instructions are judged in each arm.
        arms: Which of ARMS to compare. The build is always made, since all arms use its topics.
        num_samples: Rows of the sample of each arm; None: half of the instructions. Samples of all instructions cannot
            show the effect of clusters.
        with_judge: Whether to judge.
        num_draws: Samples of each arm to measure, at least one; the first is judged.
        overwrite: As for `pipeline.build`.

    Returns:
        The content of `ablation.json`. The first sample of each arm is in `out/arms/ARM.parquet`, as it is trained on.

    Raises:
        RecipeError: If an arm is unknown, the recipe filters by the judge, or there is a budget and the price of the
            judge is unknown.
        BuildError: If no row is left.
    """
    recipe, out = recipe or Recipe(), Path(out)
    cache_dir = out / "cache"
    _check(arms, recipe)
    opened = (
        open_judge(choose_model(teacher, recipe.judge), recipe.judge, recipe.teacher, writer=teacher)
        if with_judge
        else nullcontext()
    )
    with opened as judge:
        # The arms are judged below; the build need not be.
        unjudged = replace(recipe, judge=replace(recipe.judge, model=None, base_url=None))
        made = build(seeds, teacher, out, unjudged, overwrite=overwrite)
        compared = _make_arms(made, teacher, recipe, arms, cache_dir)
        num_rows = num_samples or max(1, recipe.num_instructions // 2)
        sample = partial(sample_coordinated, clf_share=recipe.clf_share, balance=recipe.sampling.balance)
        samples = [
            {arm: sample(one.pool, num_rows, seed=recipe.seed + number) for arm, one in compared.items()}
            for number in range(num_draws)
        ]
        measured, draws = _measure(samples, made, recipe, cache_dir)
        write_arms(out, {arm: one.pool for arm, one in compared.items()}, samples[0], recipe)
        judged = {arm: take_one_each(one, recipe.judge.size) for arm, one in samples[0].items()}
        shares = _judge(judged, judge, teacher, recipe, cache_dir) if judge else None
        report = {
            "teacher": hide_folder(teacher.model),
            "seed": recipe.seed,
            "num_instructions": len(made.attributed),
            "num_samples": num_rows,
            "measured": measured,
            "draws": num_draws,
            "reference": FULL if FULL in compared else None,
            "arms": {arm: {"pool": one.describe(), "figures": draws[0][arm]} for arm, one in compared.items()},
            "measurements": contrast_measures(draws, FULL),
            "judge": shares,
            "notes": {**NOTES, "measurements": NOTES["measurements"].format(draws=num_draws)},
            "warnings": shares["assessment"]["warnings"] if shares else [],
            "usage": [asdict(usage) for usage in list_costs(teacher)],
            "dollars": teacher.spent().dollars,
        }
    write_changed(out / "ablation.json", to_json(report))
    write_changed(out / "ablation.md", to_markdown(report).encode())
    return report


def _check(arms: Sequence[str], recipe: Recipe) -> None:
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown or not arms:
        raise RecipeError(f"the arms are {', '.join(arms) or 'none'}; they must be of {', '.join(ARMS)}")
    if recipe.judge.min_judge is not None:
        raise RecipeError(
            f"judge.min_judge is {recipe.judge.min_judge:g}: rows chosen by the judge cannot be compared by the judge. "
            "Leave it out for an ablation"
        )


def _make_arms(made: Build, teacher: Teacher, recipe: Recipe, names: Sequence[str], cache_dir: Path) -> dict[str, _Arm]:
    """Return the requested arms, in the order of ARMS."""
    whole = concatenate_datasets(list(made.instances.values())).select_columns(list(CLUSTERED))
    phases = made.report.phases
    reasons = [phases[name]["rejected"] for name in ("complete", "curate", "decontaminate") if name in phases]
    arms = {ATTRIBUTES: _Arm(whole.select_columns(list(INSTANCES)), reasons), FULL: _Arm(whole, reasons)}
    if SELF_INSTRUCT in names:
        arms[SELF_INSTRUCT] = _write_directly(made.attributed, teacher, recipe, cache_dir)
    return {arm: arms[arm] for arm in ARMS if arm in names}


def _write_directly(attributed: Dataset, teacher: Teacher, recipe: Recipe, cache_dir: Path) -> _Arm:
    traces = [Trace(), Trace(), Trace()]
    shared: dict[str, Any] = {"filters": recipe.filters, "cache_dir": cache_dir}
    written = complete_directly(attributed, teacher, prompts=recipe.prompts, trace=traces[0], **shared)
    pool = curate(written, settings=recipe.curation, trace=traces[1], **shared)
    if recipe.decontamination.sources:
        pool = decontaminate(pool, settings=recipe.decontamination, trace=traces[2], cache_dir=cache_dir)
    reasons = [count_reasons(trace.rejected) for trace in traces]
    if not len(pool):
        raise BuildError(f"no instance is left in the arm {SELF_INSTRUCT}: {reasons}")
    return _Arm(pool, reasons)


def _measure(
    samples: Sequence[Mapping[str, Dataset]], made: Build, recipe: Recipe, cache_dir: Path
) -> tuple[int, list[dict[str, Figures]]]:
    """Return how many instructions of the first samples are measured, and the figures of each arm for all draws."""
    whole = concatenate_datasets(list(made.instances.values()))
    topic_of = dict(zip(whole["instruction_id"][:], whole["cluster"][:], strict=True))
    num_topics = whole.features["cluster"].num_classes
    measure = partial(measure_dataset, embedding=recipe.embedding, seed=recipe.seed, cache_dir=cache_dir)
    sizes = [min(len(set(sample["instruction_id"][:])) for sample in drawn.values()) for drawn in samples]
    figures = [
        {arm: measure_sample(sample, size, topic_of, num_topics, measure) for arm, sample in drawn.items()}
        for size, drawn in zip(sizes, samples, strict=True)
    ]
    return sizes[0], figures


def _judge(judged: Mapping[str, Dataset], judge: Teacher, teacher: Teacher, recipe: Recipe, cache_dir: Path) -> Figures:
    by_id = {row["instance_id"]: row for rows in judged.values() for row in rows.select_columns(list(INSTANCES))}
    found = assess(
        from_rows(by_id.values(), INSTANCES),
        judge,
        settings=replace(recipe.judge, size=min(recipe.judge.size, len(by_id))),
        seed=recipe.seed,
        written_by=teacher.model,
        everything=True,
        cache_dir=cache_dir,
    )
    figures = asdict(found.figures)
    # Without its shares, which are over all arms together.
    kept = ("asked", "judged", "failed", "confidence", "checks", "warnings")
    return {
        "judge": figures["judge"],
        "asked": {arm: len(rows) for arm, rows in judged.items()},
        "shares": contrast_judgements(found.judgements, judged, FULL),
        "assessment": {name: figures[name] for name in kept},
    }
