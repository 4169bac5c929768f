"""The report, the card and the folder of a build, and its push to the Hub."""

from .build_folder import add_evaluation, push_build, write_build
from .build_report import PHASES, BuildReport, format_figure
from .card_figures import CardInputs
from .collect import collect_report, count_reasons, list_costs, tabulate_phases
from .hub import Pushed, check_name

__all__ = [
    "PHASES",
    "BuildReport",
    "CardInputs",
    "Pushed",
    "add_evaluation",
    "check_name",
    "collect_report",
    "count_reasons",
    "format_figure",
    "list_costs",
    "push_build",
    "tabulate_phases",
    "write_build",
]
