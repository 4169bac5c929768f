"""The report, the card and the folder of a build, and its push to the Hub."""

from .build_folder import add_evaluation, push_build, write_build
from .build_report import PHASES, BuildReport, format_figure
from .card_figures import CardInputs, plot_gains
from .collect import collect_report, count_reasons, list_costs, tabulate_phases
from .finished_build import require_same_build
from .hub import Pushed, check_access, check_name
from .hub_terms import check_terms

__all__ = [
    "PHASES",
    "BuildReport",
    "CardInputs",
    "Pushed",
    "add_evaluation",
    "check_access",
    "check_name",
    "check_terms",
    "collect_report",
    "count_reasons",
    "format_figure",
    "list_costs",
    "plot_gains",
    "push_build",
    "require_same_build",
    "tabulate_phases",
    "write_build",
]
