"""`auto-instruct build`: arguments -> recipe -> build -> push."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .console import OUT, exit_status, print_table

if TYPE_CHECKING:
    from datasets import Dataset

    from ..estimate import PhaseComparison
    from ..pipeline import Build
    from ..recipe import Recipe
    from ..teacher import Teacher

_DEMONSTRATION_SIZE = 40
_DEMONSTRATION = (
    " A demonstration: its words are not training data. For a real dataset set OPENAI_API_KEY or --teacher."
)


def build_command(
    seeds: options.Seeds = None,
    column: options.Column = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(
            help="Drop what is similar to an evaluation set: HUB_ID:COLUMN or PATH:COLUMN. May be repeated.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    recipe: options.RecipeFile = None,
    teacher: options.TeacherModel = None,
    base_url: options.BaseUrl = None,
    structured: Annotated[
        str | None,
        typer.Option(
            help="How the schema of a reply is sent: json_schema, json_object or text.",
            show_default="detected",
            rich_help_panel=options.TEACHER,
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="Prompts for the teacher: default, small, or a folder (see `auto-instruct prompts copy`).",
            show_default="default; small for a small local model",
            rich_help_panel=options.TEACHER,
        ),
    ] = None,
    num_instructions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instructions to bootstrap.",
            show_default=f"10,000; {_DEMONSTRATION_SIZE} with the embedded teacher",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    num_samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of the sample.",
            show_default="five per instruction",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    clf_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of classification tasks, in the requests and in the sample.",
            show_default="0.1",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            help="Weight of a cluster in the sample: proportional, sqrt or equal.",
            show_default="proportional",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    num_clusters: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of topics.", show_default="chosen by silhouette", rich_help_panel=options.SIZE
        ),
    ] = None,
    seed: options.Seed = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Print requests, tokens, dollars and hours, and stop. Sends no request.",
            rich_help_panel=options.COST,
        ),
    ] = False,
    probe: Annotated[
        int,
        typer.Option(
            min=0,
            help="Like --estimate, measured on this many instructions, which the build reuses.",
            show_default="off",
            rich_help_panel=options.COST,
        ),
    ] = 0,
    preview: Annotated[
        int,
        typer.Option(
            min=0,
            help="Print prompts and replies of this many rows in every phase, and stop.",
            show_default="off",
            rich_help_panel=options.COST,
        ),
    ] = 0,
    budget: options.MaxDollars = None,
    batch: options.UseBatch = False,
    rpm: Annotated[
        float | None,
        typer.Option(min=1, help="Maximum requests per minute.", show_default="adapted", rich_help_panel=options.COST),
    ] = None,
    tpm: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum tokens per minute.", show_default="adapted", rich_help_panel=options.COST),
    ] = None,
    min_judge: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Keep only instances that a judge approves in all questions with at least this confidence.",
            show_default="no judge",
            rich_help_panel=options.JUDGE,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Model that judges.", show_default="one other than the teacher", rich_help_panel=options.JUDGE
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the build.", rich_help_panel=options.OUTPUT)] = Path("out"),
    overwrite: options.Overwrite = False,
    push: Annotated[
        str | None,
        typer.Option(
            help="Publish on the Hub as USER/NAME.", show_default="not published", rich_help_panel=options.PUBLISH
        ),
    ] = None,
    license: options.License = None,
    language: options.Language = None,
    title: Annotated[
        str | None,
        typer.Option(help="Title of the card.", show_default="names the teacher", rich_help_panel=options.PUBLISH),
    ] = None,
    description: Annotated[
        Path | None,
        typer.Option(
            help="Markdown file with your own words for the card: purpose, contact, known limits.",
            show_default="none",
            rich_help_panel=options.PUBLISH,
        ),
    ] = None,
    private: options.Private = False,
    revision: options.Revision = None,
    tag: options.Tag = None,
    create_pr: options.CreatePr = False,
) -> None:
    """Build an instruction-tuning dataset from seed tasks with a teacher model.

    Interrupted at any point, the same command resumes. OPENAI_API_KEY, OPENAI_BASE_URL, HF_TOKEN and HF_ENDPOINT mean
    what they mean everywhere.
    """
    with exit_status(out):
        from ..core import parse_columns
        from ..estimate import read_or_make_estimate
        from ..generation import read_seeds
        from ..pipeline import build
        from ..publishing import check_access, check_terms, push_build
        from ..recipe import Recipe
        from ..settings import override
        from ..teacher import Teacher

        check_terms(license, language)
        words = description.read_text(encoding="utf-8") if description else ""
        if push:
            check_access(push, create_pr=create_pr)
        given = Recipe.from_yaml(recipe) if recipe else Recipe()
        top = {
            "num_instructions": num_instructions,
            "num_samples": num_samples,
            "clf_share": clf_share,
            "seed": seed,
            "prompts": prompts,
        }
        asking = {"budget": budget, "batch": batch or None, "rpm": rpm, "tpm": tpm, "structured": structured}
        settings = replace(
            override(given, top),
            teacher=override(given.teacher, asking),
            clustering=override(given.clustering, {"num_clusters": num_clusters}),
            sampling=override(given.sampling, {"balance": balance}),
            decontamination=override(given.decontamination, {"sources": tuple(decontaminate or ()) or None}),
            judge=override(given.judge, {"min_judge": min_judge, "model": judge}),
        )
        with Teacher(teacher, base_url=base_url, journal=out / "journal.sqlite", settings=settings.teacher) as model:
            if model.is_embedded and num_instructions is None and recipe is None:
                settings = replace(settings, num_instructions=_DEMONSTRATION_SIZE)
            OUT.print(f"Teacher: {model.describe()}.{_DEMONSTRATION if model.is_embedded else ''}")
            seed_tasks = read_seeds(seeds, columns=parse_columns(column))
            if estimate or probe or preview:
                _look_ahead(seed_tasks, model, settings, out, preview, probe)
                return
            estimated = read_or_make_estimate(out / "estimate.json", seed_tasks, model, settings)
            made = build(
                seed_tasks,
                model,
                out,
                settings,
                license=license,
                language=language,
                title=title,
                description=words,
                estimate=estimated,
                overwrite=overwrite,
            )
            _show(made, out, model)
        if push:
            go_on = f"To publish it later: auto-instruct push {out} {push}"
            with exit_status(remedy=go_on):
                pushed = push_build(
                    out / "dataset", push, private=private, revision=revision, tag=tag, create_pr=create_pr
                )
            OUT.print(pushed.describe())


def _look_ahead(seeds: Dataset, teacher: Teacher, recipe: Recipe, out: Path, shown: int, probe: int) -> None:
    """Print a preview if asked for, and the estimate."""
    from ..estimate import describe_exchanges, estimate, preview, write_estimate
    from ..evaluation.judging import choose_model
    from ..teacher import Cost

    seen = preview(seeds, teacher, recipe, shown or probe) if shown or probe else None
    if seen and shown:
        OUT.print(describe_exchanges(seen.exchanges))
    made = estimate(seeds, teacher, recipe, seen)
    if not shown:
        write_estimate(out / "estimate.json", made)
    source = f"measured on {seen.instructions} instructions" if seen else "assumed from the prompts and the seeds"
    rows = []
    for one in made.shares:
        hours = "" if one.hours is None else f"{one.hours:.1f} h" if one.hours >= 1 else f"{60 * one.hours:.1f} min"
        counts = (f"{count:,.0f}" for count in (one.requests, one.input_tokens, one.output_tokens))
        rows.append([one.phase, *counts, str(Cost(one.dollars)), hours])
    header = ("phase", "requests", "tokens in", "tokens out", "dollars", "time")
    print_table(f"What the build would take ({source})", header, rows)
    OUT.print(f"In all: {Cost(made.dollars)}. Spent so far: {teacher.spent()}.")
    if made.dollars is None:
        unknown = [one.phase for one in made.shares if one.dollars is None]
        section = "judge" if unknown == ["judge"] else "teacher"
        name = choose_model(teacher, recipe.judge) if section == "judge" else teacher.model
        OUT.print(f"No price is known for {name}: give {section}.input_price and output_price in the recipe.")


def _show(made: Build, out: Path, teacher: Teacher) -> None:
    from ..publishing import PHASES, format_figure

    rows = []
    for row in made.report.table:
        cells = [map(format_figure, cell) for cell in zip(row.ours, row.published, strict=True)]
        rows.append([row.name, *(f"{ours} ({published})" if ours else "" for ours, published in cells)])
    header = ("", *(f"{number} {phase}" for number, phase in enumerate(PHASES, start=1)))
    print_table("By phase (in brackets: as published for Auto-Instruct)", header, rows)
    for phase, found in made.report.phases.items():
        if found["rejected"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in found["rejected"].items())
            OUT.print(f"dropped in {phase}: {reasons}")
        if found.get("stopped"):
            OUT.print(f"bootstrap stopped early: {found['stopped']}")
    if "judge" in made.report.phases:
        _show_judge(made.report.phases["judge"])
    _compare(made.report.estimate or [])
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in made.sample.items())
    OUT.print(f"Spent so far: {teacher.spent()}. Rows: {sizes}.")
    OUT.print(f'load_dataset("{out / "dataset"}") reads them; {out / "report.json"} holds all figures.')
    if not made.report.license:
        OUT.print("No license is stated: give one with --license before you publish.")
    if made.report.terms:
        OUT.print(made.report.terms)


def _show_judge(found: dict[str, Any]) -> None:
    """Print the shares of yes among all curated instances and among those kept."""
    before, after = found["before"], found["after"]
    rows = []
    for name, share in before["shares"].items():
        if share["asked"]:
            kept = after["shares"][name]["share"]
            interval = f"{share['low']:.1%} to {share['high']:.1%}"
            rows.append([name, f"{share['share']:.1%}", interval, "" if kept is None else f"{kept:.1%}"])
    header = ("", "of all curated", "95 % interval", "of those kept")
    print_table(f"Shares of yes, judged by {before['judge']}", header, rows)
    for warning in before["warnings"]:
        OUT.print(warning)


def _compare(phases: list[PhaseComparison]) -> None:
    from ..teacher import Cost

    rows = []
    for one in phases:
        names = ("requests", "input_tokens", "output_tokens")
        cells = [f"{getattr(one, name):,.0f} / {getattr(one.actual, name):,}" for name in names]
        rows.append([one.phase, *cells, f"{Cost(one.dollars)} / {Cost(one.actual.dollars)}"])
    header = ("phase", "requests", "tokens in", "tokens out", "dollars")
    print_table("Estimated / actual (all runs)", header, rows)
