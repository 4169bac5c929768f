"""What the steps of the recipe are worth: the same instructions of one teacher, taken through fewer steps and all.

Auto-Instruct (Mansutti) names it as a limit that it compared datasets of different teachers.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from ..core import CLUSTERED, INSTANCES, Trace, from_rows, hide_folder
from ..curation import curate, decontaminate
from ..errors import BuildError, RecipeError
from ..evaluation.judging import assess, open_judge
from ..pipeline import Build, build
from ..publishing import count_reasons, list_costs
from ..recipe import Recipe
from ..teacher import Teacher
from .contrasts import contrast_judgements, contrast_measures, measure_sample
from .coordinated_samples import draw, take_one_each
from .self_instruct import complete_directly
from .tables import to_markdown

SELF_INSTRUCT, ATTRIBUTES, FULL = ARMS = ("self-instruct", "attributes", "full")
# Ours: in the range of so many another draw lies with a chance of 90 %.
_DRAWS = 20
NOTES = {
    "arms": (
        "All arms have the same instructions, and take from the attribution which of them are classification tasks. "
        "self-instruct: input and output in one request for each instruction; of classification tasks the labels "
        "first, each with an input. attributes: labels, or input and strategies, and from them the instances. full: "
        "the same instances. All are curated alike. The first two are sampled as if all instructions were in one "
        "cluster, full by its clusters; the share of classification is the recipe's in all. Splits are not compared."
    ),
    "measurements": (
        "Each arm yields a sample of the same number of rows. Topics, those of the full recipe, are counted over all "
        "of them; everything else over one row of each instruction, of equally many instructions. The figures "
        "are means over {draws} draws from the same pools, each with another seed number, and in brackets the lowest "
        "and the highest; differences are taken within each draw. That is how far a figure depends on the draw; not on "
        "the teacher, which was asked once. Where a sample holds every instruction, there is little to draw and the "
        "range is narrow."
    ),
    "judge": (
        "The judge saw one row of each of some instructions of each arm's sample, in a random order that is the same "
        "for all arms, as are the random numbers by which samples are drawn: so most of the instructions are the same "
        "in all arms. An instance that stands in two arms is judged once. In brackets Wilson's 95 % interval. "
        "Differences are over the instructions judged in both arms, with Newcombe's 95 % interval for pairs. "
        "attributes and full share their instances: they can differ only by which of these were drawn."
    ),
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
    num_draws: int = _DRAWS,
) -> dict[str, Any]:
    """Build by the recipe and by parts of it, measure and judge what comes out, and write the comparison.

    What arms have in common is asked once, and a rerun asks nothing.

    Args:
        seeds: Seed tasks, columns as `schema.SEEDS`.
        teacher: Who writes in all arms. Its journal should be `out/journal.sqlite`.
        out: Folder of the build (see `pipeline.build`), of `ablation.json` and `ablation.md`.
        recipe: The settings; None: the published ones. `judge.size` instructions are judged in each arm.
        arms: Which of ARMS to compare. The build is made in any case: its topics are those of all arms.
        num_samples: Rows of the sample of each arm; None: half of the instructions. Samples that hold all instructions
            cannot show what the clusters are for.
        with_judge: Whether to judge.
        num_draws: Samples of each arm that are measured, at least one; the first of them is judged.

    Returns:
        The content of `ablation.json`.

    Raises:
        RecipeError: If an arm is unknown, the recipe filters by the judge, or there is a budget and no price of the
            judge.
        BuildError: If no row is left.
    """
    recipe, out = recipe or Recipe(), Path(out)
    _check(arms, recipe)
    opened = open_judge(teacher, recipe.judge, recipe.teacher) if with_judge else nullcontext(None)
    with opened as judge:
        made = build(seeds, teacher, out, recipe)
        pools, counts = _make_pools(made, teacher, recipe, arms, out / "cache")
        num_rows = num_samples or max(1, recipe.num_instructions // 2)
        samples, measured, draws = _measure(pools, made, recipe, num_rows, num_draws, out / "cache")
        judged = {arm: take_one_each(sample, recipe.judge.size) for arm, sample in samples.items()}
        shares = _judge(judged, judge, teacher, recipe, out / "cache") if judge else None
        report = {
            "teacher": hide_folder(teacher.model),
            "seed": recipe.seed,
            "num_instructions": len(made.attributed),
            "num_samples": num_rows,
            "measured": measured,
            "draws": num_draws,
            "reference": FULL if FULL in pools else None,
            "arms": {arm: {"pool": counts[arm], "figures": draws[0][arm]} for arm in pools},
            "measurements": contrast_measures(draws, FULL),
            "judge": shares,
            "notes": {**NOTES, "measurements": NOTES["measurements"].format(draws=num_draws)},
            "warnings": shares["assessment"]["warnings"] if shares else [],
            "usage": [asdict(usage) for usage in list_costs(teacher)],
            "dollars": teacher.spent().dollars,
        }
    (out / "ablation.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    (out / "ablation.md").write_text(to_markdown(report), encoding="utf-8")
    return report


def _check(arms: Sequence[str], recipe: Recipe) -> None:
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown or not arms:
        raise RecipeError(f"the arms are {', '.join(arms) or 'none'}; they must be of {', '.join(ARMS)}")
    if recipe.judge.min_judge is not None:
        raise RecipeError(
            f"judge.min_judge is {recipe.judge.min_judge:g}: a judge that chose the rows cannot compare arms by "
            "them. Leave it out for an ablation"
        )


def _make_pools(
    made: Build, teacher: Teacher, recipe: Recipe, arms: Sequence[str], cache_dir: Path
) -> tuple[dict[str, Dataset], dict[str, dict[str, Any]]]:
    """Return what each arm draws from, in the order of ARMS, and how many rows that are and were dropped."""
    whole = concatenate_datasets(list(made.instances.values())).select_columns(list(CLUSTERED))
    phases = made.report.phases
    dropped = [phases[name]["rejected"] for name in ("complete", "curate", "decontaminate") if name in phases]
    pools, reasons = (
        {ATTRIBUTES: whole.select_columns(list(INSTANCES)), FULL: whole},
        {ATTRIBUTES: dropped, FULL: dropped},
    )
    if SELF_INSTRUCT in arms:
        pools[SELF_INSTRUCT], reasons[SELF_INSTRUCT] = _write_directly(made.attributed, teacher, recipe, cache_dir)
    counts = {
        arm: {
            "instructions": len(set(pool["instruction_id"][:])),
            "instances": len(pool),
            "dropped": sum(sum(found.values()) for found in reasons[arm]),
            "rejected": {reason: count for found in reasons[arm] for reason, count in found.items()},
        }
        for arm, pool in pools.items()
    }
    return {arm: pools[arm] for arm in ARMS if arm in arms}, counts


def _write_directly(
    attributed: Dataset, teacher: Teacher, recipe: Recipe, cache_dir: Path
) -> tuple[Dataset, list[dict[str, int]]]:
    traces = [Trace(), Trace(), Trace()]
    common: dict[str, Any] = {"cache_dir": cache_dir}
    written = complete_directly(attributed, teacher, prompts=recipe.prompts, trace=traces[0], **common)
    pool = curate(written, settings=recipe.curation, trace=traces[1], **common)
    if recipe.decontamination.sources:
        pool = decontaminate(pool, settings=recipe.decontamination, trace=traces[2], **common)
    reasons = [count_reasons(trace.rejected) for trace in traces]
    if not len(pool):
        raise BuildError(f"no instance is left in the arm {SELF_INSTRUCT}: {reasons}")
    return pool, reasons


def _measure(
    pools: Mapping[str, Dataset], made: Build, recipe: Recipe, num_rows: int, num_draws: int, cache_dir: Path
) -> tuple[dict[str, Dataset], int, list[dict[str, Any]]]:
    """Return the first samples, how many instructions of each are measured, and the figures of all draws."""
    whole = concatenate_datasets(list(made.instances.values()))
    topic_of = dict(zip(whole["instruction_id"][:], whole["cluster"][:], strict=True))
    options: dict[str, Any] = {"embedding": recipe.embedding, "seed": recipe.seed, "cache_dir": cache_dir}
    first: dict[str, Dataset] = {}
    sizes, draws = [], []
    for number in range(num_draws):
        chosen: dict[str, Any] = {
            "clf_share": recipe.clf_share,
            "balance": recipe.sampling.balance,
            "seed": recipe.seed + number,
        }
        samples = {arm: draw(pool, num_rows, **chosen) for arm, pool in pools.items()}
        first = first or samples
        size = min(len(set(sample["instruction_id"][:])) for sample in samples.values())
        sizes.append(size)
        topics = whole.features["cluster"].num_classes
        draws.append(
            {arm: measure_sample(sample, size, topic_of, topics, **options) for arm, sample in samples.items()}
        )
    return first, sizes[0], draws


def _judge(
    judged: Mapping[str, Dataset], judge: Teacher, teacher: Teacher, recipe: Recipe, cache_dir: Path
) -> dict[str, Any]:
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
    shares = contrast_judgements(found.judgements, judged, FULL)
    # Its shares are those of all arms together: of no use here.
    kept = ("asked", "judged", "failed", "confidence", "checks", "warnings")
    return {
        "judge": found.figures["judge"],
        "asked": {arm: len(rows) for arm, rows in judged.items()},
        "shares": shares,
        "assessment": {name: found.figures[name] for name in kept},
    }
