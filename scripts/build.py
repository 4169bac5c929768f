"""Build an instruction-tuning dataset: arguments -> recipe -> build."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from datasets import Dataset
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from auto_instruct_hf import AutoInstructError, Build, Recipe, Teacher, build, push_build, read_seeds
from auto_instruct_hf.core import parse_columns
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.estimate import PhaseComparison, describe_exchanges, read_or_make_estimate, write_estimate
from auto_instruct_hf.estimate import estimate as make_estimate
from auto_instruct_hf.estimate import preview as take_preview
from auto_instruct_hf.evaluation.judging import choose_model
from auto_instruct_hf.publishing import PHASES, check_name, format_figure
from auto_instruct_hf.settings import override
from auto_instruct_hf.teacher import Cost

DEMONSTRATION_SIZE = 40
TABLE_WIDTH = 108
DEMONSTRATION = " A demonstration: its words are not training data. For a real dataset set OPENAI_API_KEY or --teacher."

_OUT = Console(highlight=False, soft_wrap=True, markup=False)
_ERR = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def main(
    seeds: Annotated[
        str | None, typer.Option(help="Seed tasks: a JSON(L), CSV or Parquet file, or a dataset on the Hub.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Where the seeds' names differ: instruction=prompt. May be repeated.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Model name, or 'embedded' for the small one that comes with the package.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint; else OPENAI_BASE_URL.")] = None,
    num_instructions: Annotated[int | None, typer.Option(min=1, help="Instructions to bootstrap.")] = None,
    num_samples: Annotated[int | None, typer.Option(min=1, help="Rows of the sample; five times the former.")] = None,
    clf_share: Annotated[float | None, typer.Option(min=0, max=1, help="Share of classification wanted.")] = None,
    balance: Annotated[
        str | None, typer.Option(help="Weight of a cluster in the sample: proportional, sqrt, equal.")
    ] = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(help="Drop what is near to an evaluation set: HUB_ID:COLUMN or PATH:COLUMN. May be repeated."),
    ] = None,
    min_judge: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Keep only what a judge says yes to on all counts, with at least this confidence."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Model that judges, with --min-judge; else another than the teacher.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed number of everything random.")] = None,
    num_clusters: Annotated[int | None, typer.Option(min=1, help="Topics; else a rule finds their number.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="US dollars for all requests; stops before one that might cross it.")
    ] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Ask through the Batch API: half the price, slower.")] = False,
    rpm: Annotated[float | None, typer.Option(min=1, help="Requests a minute at most; else what is taken.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, help="Tokens a minute at most.")] = None,
    structured: Annotated[
        str | None, typer.Option(help="How schemas are sent: json_schema, json_object, text; else found out.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Print what the build would take, and stop. Asks nothing.")
    ] = False,
    probe: Annotated[
        int, typer.Option(min=0, help="Like --estimate, measured by so many rows; the build does not ask them again.")
    ] = 0,
    preview: Annotated[
        int, typer.Option(min=0, help="Take so many rows through every phase, print prompts and replies, and stop.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the build.")] = Path("out"),
    recipe: Annotated[Path | None, typer.Option(help="YAML file with settings that differ from the defaults.")] = None,
    license: Annotated[
        str | None, typer.Option(help="Under which the dataset is to be published, as the Hub writes it: cc-by-4.0.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Of the dataset, as the Hub writes it: en.")] = None,
    push: Annotated[str | None, typer.Option(help="Publish on the Hub as USER/NAME.")] = None,
    private: Annotated[bool, typer.Option(help="A new repository is private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to publish on.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tag for the published commit, like v1.2.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")] = False,
) -> None:
    """Grow seed tasks into an instruction-tuning dataset with a teacher model.

    Interrupted at any point, the same command goes on where it was. OPENAI_API_KEY, OPENAI_BASE_URL, HF_TOKEN and
    HF_ENDPOINT mean what they mean everywhere.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        if push:
            check_name(push)
        sizes = {"num_instructions": num_instructions, "num_samples": num_samples, "clf_share": clf_share, "seed": seed}
        asking = {"budget": budget, "batch": batch or None, "rpm": rpm, "tpm": tpm, "structured": structured}
        topics, leaks = {"num_clusters": num_clusters}, {"sources": tuple(decontaminate or ()) or None}
        judging = {"min_judge": min_judge, "model": judge}
        settings = _recipe(recipe, sizes, asking, topics, {"balance": balance}, leaks, judging)
        with Teacher(teacher, base_url=base_url, journal=out / "journal.sqlite", settings=settings.teacher) as model:
            if model.is_embedded and num_instructions is None and recipe is None:
                settings = replace(settings, num_instructions=DEMONSTRATION_SIZE)
            _OUT.print(f"Teacher: {model.describe()}.{DEMONSTRATION if model.is_embedded else ''}")
            seed_tasks = read_seeds(seeds, columns=parse_columns(column))
            if estimate or probe or preview:
                _look_ahead(seed_tasks, model, settings, out, preview, probe)
                return
            estimated = read_or_make_estimate(out / "estimate.json", seed_tasks, model, settings)
            made = build(seed_tasks, model, out, settings, license=license, language=language, estimate=estimated)
            _show(made, out, model)
        if push:
            pushed = push_build(out / "dataset", push, private=private, revision=revision, tag=tag, create_pr=create_pr)
            _OUT.print(pushed.describe())
    except RecipeError as error:
        _ERR.print(f"wrong usage: {error}")
        raise typer.Exit(2) from None
    except AutoInstructError as error:
        _ERR.print(f"error: {error}")
        raise typer.Exit(1) from None
    except OSError as error:
        _ERR.print(f"error: {error}. Everything answered so far is in {out}; mend this and run the same command again")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _ERR.print(f"stopped. Everything answered so far is in {out}; run the same command again to go on from there")
        raise typer.Exit(1) from None


def _recipe(
    path: Path | None,
    sizes: Mapping[str, object],
    asking: Mapping[str, object],
    clustering: Mapping[str, object],
    sampling: Mapping[str, object],
    decontamination: Mapping[str, object],
    judge: Mapping[str, object],
) -> Recipe:
    recipe = Recipe.from_yaml(path) if path else Recipe()
    return replace(
        override(recipe, sizes),
        teacher=override(recipe.teacher, asking),
        clustering=override(recipe.clustering, clustering),
        sampling=override(recipe.sampling, sampling),
        decontamination=override(recipe.decontamination, decontamination),
        judge=override(recipe.judge, judge),
    )


def _look_ahead(seeds: Dataset, teacher: Teacher, recipe: Recipe, out: Path, shown: int, probe: int) -> None:
    """Print a preview, where asked for, and what the build would take."""
    seen = take_preview(seeds, teacher, recipe, shown or probe) if shown or probe else None
    if seen and shown:
        _OUT.print(describe_exchanges(seen.exchanges))
    made = make_estimate(seeds, teacher, recipe, seen)
    if not shown:
        write_estimate(out / "estimate.json", made)
    source = f"measured by {seen.instructions} instructions" if seen else "assumed from the prompts and the seeds"
    table = Table(title=f"What the build would take ({source})", box=SIMPLE)
    table.add_column("phase", no_wrap=True)
    for name in ("requests", "tokens in", "tokens out", "dollars", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in made.shares:
        hours = "" if one.hours is None else f"{one.hours:.1f} h" if one.hours >= 1 else f"{60 * one.hours:.1f} min"
        counts = (f"{count:,.0f}" for count in (one.requests, one.input_tokens, one.output_tokens))
        table.add_row(one.phase, *counts, str(Cost(one.dollars)), hours)
    Console(width=TABLE_WIDTH, highlight=False).print(table)
    _OUT.print(f"In all: {Cost(made.dollars)}. Spent so far: {teacher.spent()}.")
    if made.dollars is None:
        unknown = [one.phase for one in made.shares if one.dollars is None]
        whom = "judge" if unknown == ["judge"] else "teacher"
        name = choose_model(teacher, recipe.judge) if unknown == ["judge"] else teacher.model
        _OUT.print(f"No price is known for {name}: give {whom}.input_price and output_price in the recipe.")


def _show(made: Build, out: Path, teacher: Teacher) -> None:
    table = Table(title="By phase (in brackets: as published for Auto-Instruct)", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for number, phase in enumerate(PHASES, start=1):
        table.add_column(f"{number} {phase}", justify="right", no_wrap=True)
    for row in made.report.table:
        cells = [map(format_figure, cell) for cell in zip(row.ours, row.published, strict=True)]
        table.add_row(row.name, *(f"{ours} ({published})" if ours else "" for ours, published in cells))
    Console(width=max(_OUT.width, TABLE_WIDTH), highlight=False).print(table)
    for phase, found in made.report.phases.items():
        if found["rejected"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in found["rejected"].items())
            _OUT.print(f"dropped in {phase}: {reasons}")
        if found.get("stopped"):
            _OUT.print(f"bootstrap stopped early: {found['stopped']}")
    if "judge" in made.report.phases:
        _show_judge(made.report.phases["judge"])
    _compare(made.report.estimate or [])
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in made.sample.items())
    _OUT.print(f"Spent so far: {teacher.spent()}. Rows: {sizes}.")
    _OUT.print(f'load_dataset("{out / "dataset"}") reads them; {out / "report.json"} holds all figures.')
    if not made.report.license:
        _OUT.print("No licence is stated: give one with --license before you publish.")
    if made.report.terms:
        _OUT.print(made.report.terms)


def _show_judge(found: dict[str, Any]) -> None:
    """Print the shares of yes, of all curated instances and of those kept."""
    before, after = found["before"], found["after"]
    table = Table(title=f"Shares of yes, judged by {before['judge']}", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for name in ("of all curated", "95 % interval", "of those kept"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, share in before["shares"].items():
        if share["asked"]:
            kept = after["shares"][name]["share"]
            interval = f"{share['low']:.1%} to {share['high']:.1%}"
            table.add_row(name, f"{share['share']:.1%}", interval, "" if kept is None else f"{kept:.1%}")
    Console(width=TABLE_WIDTH, highlight=False).print(table)
    for warning in before["warnings"]:
        _OUT.print(warning)


def _compare(phases: list[PhaseComparison]) -> None:
    table = Table(title="Estimated, and what it took (all runs)", box=SIMPLE)
    table.add_column("phase", no_wrap=True)
    for name in ("requests", "tokens in", "tokens out", "dollars"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in phases:
        names = ("requests", "input_tokens", "output_tokens")
        cells = [f"{getattr(one, name):,.0f} / {getattr(one.actual, name):,}" for name in names]
        table.add_row(one.phase, *cells, f"{Cost(one.dollars)} / {Cost(one.actual.dollars)}")
    Console(width=TABLE_WIDTH, highlight=False).print(table)


if __name__ == "__main__":
    typer.run(main)
