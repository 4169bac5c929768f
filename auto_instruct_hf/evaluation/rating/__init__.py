"""People rate instances on a local page or in a Space."""

from .app import RatingAppError, RatingStore, collect_ratings, serve_page
from .items import SEED, SIZE, fix_items, name_dataset, open_store
from .people import list_answers, rated_only, read_ratings, summarise_people, vote
from .space import write_space
from .summary import summarise_ratings

__all__ = [
    "SEED",
    "SIZE",
    "RatingAppError",
    "RatingStore",
    "collect_ratings",
    "fix_items",
    "list_answers",
    "name_dataset",
    "open_store",
    "rated_only",
    "read_ratings",
    "serve_page",
    "summarise_people",
    "summarise_ratings",
    "vote",
    "write_space",
]
