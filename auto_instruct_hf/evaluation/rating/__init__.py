"""People rate instances on a local page or in a Space."""

from .app import RatingAppError, RatingStore, run_app
from .items import fix_items, open_store, recover_ratings, write_items, write_space
from .summary import collect_ratings, list_answers, rated_only, read_ratings, summarise_people, summarise_ratings, vote

__all__ = [
    "RatingAppError",
    "RatingStore",
    "collect_ratings",
    "fix_items",
    "list_answers",
    "open_store",
    "rated_only",
    "read_ratings",
    "recover_ratings",
    "run_app",
    "summarise_people",
    "summarise_ratings",
    "vote",
    "write_items",
    "write_space",
]
