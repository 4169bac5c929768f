"""Collect the requests of a phase by running its batch function with generated replies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core import columns
from ..teacher import Reply, Request


def dry_run(function: Callable[..., Any], table: Sequence[Mapping[str, Any]], **settings: Any) -> list[Request]:
    """Return the requests that a batch function sends if each is answered at once.

    Args:
        function: Takes a batch and `ask`.
        table: The rows, alike in their columns.
        **settings: Its other arguments.

    Returns:
        The requests.
    """
    asked: list[Request] = []

    def ask(requests: Sequence[Request]) -> list[Reply]:
        asked.extend(requests)
        return [Reply(_imagine(request.prompt.schema, request.items)) for request in requests]

    if table:
        function(columns(table, table[0]), ask=ask, **settings)
    return asked


def _imagine(schema: Mapping[str, Any], items: int, number: int = 1) -> dict[str, Any]:
    """Return a reply of the shape that a schema asks for: no classification task, everything else there."""
    answer: dict[str, Any] = {}
    for name, kind in schema["properties"].items():
        if name == "answers":
            answer[name] = [_imagine(_shape(kind["items"]), 1, number) for number in range(1, items + 1)]
        elif name == "is_classification":
            answer[name] = False
        else:
            of_type = {"integer": number, "array": ["something"], "boolean": False}
            answer[name] = of_type.get(kind.get("type") if isinstance(kind.get("type"), str) else "", "something")
    return answer


def _shape(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one of several shapes that is not a classification task's."""
    return next(
        shape for shape in schema.get("anyOf", [schema]) if "input" in shape["properties"] or "anyOf" not in schema
    )
