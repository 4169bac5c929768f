"""An ablation as tables: one column per arm, figures with their intervals, differences to the full recipe."""

from dataclasses import dataclass

from ..core import inline
from ..evaluation.measures import Figures

_POOLS = {"instructions": "instructions", "instances": "instances after curation", "dropped": "instances dropped"}
_PERCENT = {"topics reached", "rows without an input"}
_WHOLE = {"instructions in the sample"}


@dataclass(frozen=True)
class AblationTable:
    """A table with column names, cells as text, and a note on how to read it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def make_tables(report: Figures) -> list[AblationTable]:
    """Turn the report of an ablation into tables.

    Args:
        report: As `ablation.ablate` returns it.

    Returns:
        Pools, measurements, and the judge's shares if there is a judge; the last two are followed by their differences
        if the full recipe is among the arms.
    """
    arms, notes, reference = report["arms"], report["notes"], report["reference"]
    pools = [(label, *(f"{one['pool'][name]:,}" for one in arms.values())) for name, label in _POOLS.items()]
    tables = [AblationTable("What each arm samples from", ("", *arms), tuple(pools), notes["arms"])]
    sections = [("Measurements", report["measurements"], notes["measurements"])]
    if report["judge"]:
        title = f"Shares of yes, judged by {report['judge']['judge']}"
        sections.append((title, report["judge"]["shares"], notes["judge"]))
    for title, found, note in sections:
        rows = [(name, *(_format(name, own[arm]) for arm in arms)) for name, own in found.items()]
        tables.append(AblationTable(title, ("", *arms), tuple(rows), note))
        if others := [arm for arm in arms if arm != reference] if reference else []:
            rows = [
                (name, *(_format(name, own[arm]["difference"], "+") for arm in others)) for name, own in found.items()
            ]
            header = ("", *(f"{arm} less {reference}" for arm in others))
            tables.append(AblationTable(f"{title}: differences", header, tuple(rows), ""))
    return tables


def to_markdown(report: Figures) -> str:
    """Return the tables of an ablation (see `make_tables`) as Markdown."""
    parts = [
        f"# Ablation: {', '.join(report['arms'])}",
        f"Teacher: {report['teacher']}. {report['num_instructions']:,} instructions, seed {report['seed']}. Each arm "
        f"has a sample of {report['num_samples']:,} rows; {report['measured']:,} instructions of each are measured.",
    ]
    for table in make_tables(report):
        lines = ["| " + " | ".join(map(inline, row)) + " |" for row in (table.header, *table.rows)]
        lines.insert(1, "|" + " --- |" + " ---: |" * (len(table.header) - 1))
        parts += [f"## {table.title}", table.note, "\n".join(lines)]
    parts += report["warnings"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _format(name: str, found: Figures, sign: str = "") -> str:
    """Return a figure as text with its interval and its counts; `sign` precedes positive values."""
    is_share = name in _PERCENT or "pairs" in found or "asked" in found

    def form(value: float) -> str:
        if is_share:
            return f"{100 * value:.1f}%"
        return f"{value:,.0f}" if name in _WHOLE else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"

    value = found["value"] if "value" in found else found["share"]
    if value is None:
        return ""
    details = [] if found["low"] is None else [f"{form(found['low'])} to {form(found['high'])}"]
    if "pairs" in found:
        details.append(f"{found['pairs']} pairs")
    if "asked" in found:
        details.append(f"{found['yes']} of {found['asked']}")
    return f"{sign if value > 0 else ''}{form(value)}" + (f" ({'; '.join(details)})" if details else "")
