"""What `auto-instruct build` prints: the estimate before a build, the figures after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import print_table, say
from .judge_output import show_faults

if TYPE_CHECKING:
    from datasets import Dataset

    from ..estimate import PhaseComparison
    from ..pipeline import Build
    from ..recipe import Recipe
    from ..teacher import Teacher


def look_ahead(seeds: Dataset, teacher: Teacher, recipe: Recipe, out: Path, shown: int, probe: int) -> None:
    """Print a preview if asked for, and the estimate."""
    from ..estimate import describe_exchanges, estimate, preview, write_estimate
    from ..evaluation.judging import choose_model
    from ..teacher import Cost

    seen = preview(seeds, teacher, recipe, shown or probe) if shown or probe else None
    if seen and shown:
        say(describe_exchanges(seen.exchanges))
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
    if made.dollars != 0 or teacher.spent().dollars != 0:
        say(f"In all: {Cost(made.dollars)}. Spent so far: {teacher.spent()}.")
    if made.dollars is None:
        unknown = [one.phase for one in made.shares if one.dollars is None]
        section = "judge" if set(unknown) <= {"judge", "preferences"} else "teacher"
        name = choose_model(teacher, recipe.judge) if section == "judge" else teacher.model
        say(f"No price is known for {name}: give {section}.input_price and output_price in the recipe.")


def show_build(made: Build, out: Path, teacher: Teacher) -> None:
    """Print what a build made, dropped and cost."""
    from ..publishing import PHASES, format_figure

    rows = []
    for row in made.report.table:
        cells = [map(format_figure, cell) for cell in zip(row.ours, row.published, strict=True)]
        rows.append([row.name, *(f"{ours} ({published})" if ours else "" for ours, published in cells)])
    header = ("", *(f"{number} {phase}" for number, phase in enumerate(PHASES, start=1)))
    print_table("By phase (in brackets: as published for Auto-Instruct)", header, rows)
    for phase, found in made.report.phases.items():
        if found["rejected"]:
            reasons = ", ".join(f"{reason} ({count:,})" for reason, count in found["rejected"].items())
            say(f"dropped in {phase}: {reasons}")
        if found.get("stopped"):
            say(f"bootstrap stopped early: {found['stopped']}")
    if "judge" in made.report.phases:
        _show_judge(made.report.phases["judge"])
    if "preferences" in made.report.phases:
        _show_preferences(made.report.phases["preferences"])
    _compare(made.report.estimate or [])
    num_rows, num_instances = (sum(map(len, splits.values())) for splits in (made.sample, made.instances))
    say(
        f"{num_rows:,} rows drawn from {num_instances:,} instances of {made.report.num_instructions:,} instructions.\n"
        f'To train, load_dataset("{out / "dataset"}", "instances") has each instance once; without "instances" it has '
        "the drawn rows, which repeat."
    )
    if teacher.spent().dollars != 0:
        say(f"Spent so far: {teacher.spent()}.")
    say(f"{out / 'dataset' / 'README.md'} is the card; {out / 'report.json'} has all figures.")
    if not made.report.license:
        say("No license is stated: give one with --license before you publish.")
    if made.report.terms:
        say(made.report.terms)


def _show_judge(found: dict[str, Any]) -> None:
    """Print the shares of yes among all curated instances and among those kept."""
    before, after = found["before"], found["after"]
    rows = []
    for name, share in before["shares"].items():
        if share["asked"]:
            kept = after["shares"][name]["share"]
            interval = f"{share['low']:.1%} to {share['high']:.1%}"
            rows.append([name, f"{share['share']:.1%}", interval, "" if kept is None else f"{kept:.1%}"])
    header = ["", "of all curated", "95 % interval", "of those kept"]
    if found["min_judge"] is None:  # all are kept
        header, rows = header[:-1], [row[:-1] for row in rows]
    print_table(f"Shares of yes, judged by {before['judge']}", header, rows)
    show_faults(before)
    for warning in before["warnings"]:
        say(warning)


def _show_preferences(found: dict[str, Any]) -> None:
    """Print how many pairs have a preference, and how far the judge can be relied on."""
    agreement, longer = found["agreement"], found["longer"]
    say(f"Preference pairs, judged by {found['judge']}: {found['kept']:,} of {found['pairs']:,} with a preference.")
    if agreement["asked"]:
        say(f"The same preference in both orders: {agreement['yes']:,} of {agreement['asked']:,} pairs (chance: half).")
    if longer["asked"]:
        say(f"The longer output was preferred in {longer['yes']:,} of {longer['asked']:,} pairs.")
    for warning in found["warnings"]:
        say(warning)


def _compare(phases: list[PhaseComparison]) -> None:
    from ..teacher import Cost

    rows = []
    for one in phases:
        names = ("requests", "input_tokens", "output_tokens")
        cells = [f"{getattr(one, name):,.0f} / {getattr(one.actual, name):,}" for name in names]
        rows.append([one.phase, *cells, f"{Cost(one.dollars)} / {Cost(one.actual.dollars)}"])
    header = ["phase", "requests", "tokens in", "tokens out", "dollars"]
    if all(one.dollars == one.actual.dollars == 0 for one in phases):
        header, rows = header[:-1], [row[:-1] for row in rows]
    print_table("Estimated / actual (all runs)", header, rows)
