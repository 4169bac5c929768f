"""What commands print of a judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import print_table

if TYPE_CHECKING:
    from ..evaluation.measures import Figures


def show_faults(judge: Figures) -> None:
    """Print how many of the faults made by program the judge caught, by kind; `judge` is `JudgeFigures` as JSON."""
    from ..evaluation.report import list_faults

    caught = [(name, one["caught"]) for name, one in list_faults(judge) if one["caught"]["asked"]]
    rows = [
        (name, f"{one['yes']} of {one['asked']}", f"{one['share']:.1%} ({one['low']:.1%} to {one['high']:.1%})")
        for name, one in caught
    ]
    if rows:
        print_table(f"Faults made by program, caught by {judge['judge']}", ("", "caught", "share"), rows)
