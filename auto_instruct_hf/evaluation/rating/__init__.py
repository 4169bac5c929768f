"""People rate instances on a local page or in a Space."""

from .people import list_answers, rated_only, read_ratings, summarise_people, vote

__all__ = ["list_answers", "rated_only", "read_ratings", "summarise_people", "vote"]
