"""The report, the card and the folder of a build, and its push to the Hub."""

from .build_folder import add_evaluation, push_build
from .build_report import count_reasons, list_costs
from .card_figures import Material

__all__ = ["Material", "add_evaluation", "count_reasons", "list_costs", "push_build"]
