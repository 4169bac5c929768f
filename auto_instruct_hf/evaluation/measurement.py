"""The class that `evaluate.load` finds in a module file, made from a function of `measures`."""

import inspect
from collections.abc import Callable, Sequence

import evaluate
from datasets import Features, Value


def make_measurement(
    name: str,
    compute: Callable[..., object],
    columns: Sequence[str],
    *,
    example: str,
    citation: str = "",
    types: Sequence[str] = ("string",),
) -> type[evaluate.Measurement]:
    """Make a measurement of `evaluate` from a function.

    Args:
        name: Name of the class.
        compute: The function; its docstring describes the measurement. `evaluate` passes all arguments by name.
        columns: The arguments that are columns and may arrive in batches.
        example: A call in doctest format.
        citation: BibTeX of the sources.
        types: The types that the columns may have; the first that fits is used.

    Returns:
        The class; `evaluate.load` finds it in the module that holds it.
    """
    description, heading, inputs = inspect.getdoc(compute).partition("Args:")  # type: ignore[union-attr]

    def info(_: evaluate.Measurement) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            description=description,
            citation=citation,
            inputs_description=f"{heading}{inputs}\nExamples:\n{example}",
            features=[Features({column: Value(kind) for column in columns}) for kind in types],
        )

    def run(_: evaluate.Measurement, **arguments: object) -> object:
        return compute(**arguments)

    return type(name, (evaluate.Measurement,), {"__doc__": description, "_info": info, "_compute": run})
