"""Collect the requests of a phase by running its batch function with generated replies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core import Columns, columns
from ..teacher import Reply, Request


def dry_run(
    function: Callable[..., Columns], table: Sequence[Mapping[str, object]], **settings: object
) -> list[Request]:
    """Return the requests that a batch function sends for a table of rows if each is answered at once.

    The rows have the same columns; `settings` are the arguments of the function besides the batch and `ask`.
    """
    asked: list[Request] = []

    def ask(requests: Sequence[Request]) -> list[Reply]:
        asked.extend(requests)
        return [Reply(_make_answer(request.prompt.schema, request.items)) for request in requests]

    if table:
        function(columns(table, table[0]), ask=ask, **settings)
    return asked


def _make_answer(schema: Mapping[str, Any], items: int, number: int = 1) -> dict[str, object]:
    """Return an answer of the shape of a schema: no classification task, and everything else filled in."""
    answer: dict[str, object] = {}
    for name, kind in schema["properties"].items():
        if name == "answers":
            shapes = kind["items"].get("anyOf", [kind["items"]])
            shape = next((one for one in shapes if "input" in one["properties"]), shapes[0])
            answer[name] = [_make_answer(shape, 1, number) for number in range(1, items + 1)]
        else:
            by_type = {"integer": number, "array": ["something"], "boolean": False}
            answer[name] = by_type.get(str(kind.get("type")), "something")
    return answer
