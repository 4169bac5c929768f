"""An ablation as tables: one column per arm, figures with their intervals, differences to the full recipe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core import inline
from ..evaluation.measures import Figures

_PERCENT = {"topics reached", "rows without an input"}
_WHOLE = {"instructions in the sample"}
Format = Callable[[float], str]


@dataclass(frozen=True)
class AblationTable:
    """One table: its title, the names of its columns, its cells as text, and a note on how to read it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def make_tables(report: Figures) -> list[AblationTable]:
    """Turn the report of an ablation into tables.

    Args:
        report: As `ablation.ablate` returns it.

    Returns:
        Pools, measurements, and the judge's shares where there is a judge; the last two are followed by their
        differences if the full recipe is among the arms.
    """
    arms, reference = list(report["arms"]), report["reference"]
    others = [arm for arm in arms if arm != reference] if reference else []
    tables = [_describe_pools(report["arms"], report["notes"]["arms"])]
    sections: list[tuple[str, Figures, str, Callable[[str], Format]]] = [
        ("Measurements", report["measurements"], report["notes"]["measurements"], _format_measure)
    ]
    if report["judge"]:
        title = f"Shares of yes, judged by {report['judge']['judge']}"
        sections.append((title, report["judge"]["shares"], report["notes"]["judge"], lambda _: _percent))
    for title, found, note, form in sections:
        rows = [(name, *(_format(own[arm], form(name)) for arm in arms)) for name, own in found.items()]
        tables.append(AblationTable(title, ("", *arms), tuple(rows), note))
        if others:
            rows = [
                (name, *(_format(own[arm]["difference"], form(name), "+") for arm in others))
                for name, own in found.items()
            ]
            header = ("", *(f"{arm} less {reference}" for arm in others))
            tables.append(AblationTable(f"{title}: differences", header, tuple(rows), ""))
    return tables


def to_markdown(report: Figures) -> str:
    """Return the tables of an ablation as Markdown.

    Args:
        report: As for `make_tables`.

    Returns:
        The text of a file.
    """
    parts = [f"# Ablation: {' beside '.join(report['arms'])}", _describe(report)]
    for table in make_tables(report):
        lines = ["| " + " | ".join(map(inline, row)) + " |" for row in (table.header, *table.rows)]
        lines.insert(1, "|" + " --- |" + " ---: |" * (len(table.header) - 1))
        parts += [f"## {table.title}", table.note, "\n".join(lines)]
    parts += report["warnings"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe(report: Figures) -> str:
    return (
        f"Teacher: {report['teacher']}. {report['num_instructions']:,} instructions, seed {report['seed']}. Each arm "
        f"yields a sample of {report['num_samples']:,} rows; {report['measured']:,} instructions of each are measured."
    )


def _describe_pools(arms: Figures, note: str) -> AblationTable:
    names = {"instructions": "instructions", "instances": "instances after curation", "dropped": "instances dropped"}
    rows = [(label, *(f"{one['pool'][name]:,}" for one in arms.values())) for name, label in names.items()]
    return AblationTable("What each arm draws from", ("", *arms), tuple(rows), note)


def _format_measure(name: str) -> Format:
    if name in _WHOLE:
        return lambda value: f"{value:,.0f}"
    return _percent if name in _PERCENT else lambda value: f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _format(found: Figures, form: Format, sign: str = "") -> str:
    value = found["value"] if "value" in found else found["share"]
    if value is None:
        return ""
    counts: Sequence[str] = [f"{found['pairs']} pairs"] if "pairs" in found else []
    counts = [f"{found['yes']} of {found['asked']}"] if "asked" in found else counts
    interval = [] if found["low"] is None else [f"{form(found['low'])} to {form(found['high'])}"]
    plus = sign if value > 0 else ""
    return f"{plus}{form(value)} ({'; '.join([*interval, *counts])})" if interval or counts else f"{plus}{form(value)}"
