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
    """Make a class of `evaluate` from a function, whose docstring describes the measurement.

    `name` is that of the folder; the class has the same name in CamelCase, and must be in the module that
    `evaluate.load` reads. `columns` are the arguments that may arrive in batches, of the first of the `types` that
    fits; `example` is a call in doctest format, `citation` BibTeX.
    """
    load = f'evaluate.load("auto_instruct_hf/evaluation/{name}")'
    description, heading, inputs = (inspect.getdoc(compute) or "").partition("Args:")

    def info(_: evaluate.Measurement) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            description=description,
            citation=citation,
            inputs_description=f"{heading}{inputs}\nExamples:\n    >>> {name} = {load}\n{example}",
            features=[Features({column: Value(kind) for column in columns}) for kind in types],
        )

    def run(_: evaluate.Measurement, **arguments: object) -> object:
        return compute(**arguments)

    return type(
        name.title().replace("_", ""), (evaluate.Measurement,), {"__doc__": description, "_info": info, "_compute": run}
    )
