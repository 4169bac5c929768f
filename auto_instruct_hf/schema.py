"""The contract between phases: the columns and types after each, and the check at each phase's door."""

from collections.abc import Iterable

from datasets import Dataset, Features, List, Value

from .errors import SchemaError

_TEXT = Value("string")
_BOOL = Value("bool")

SEEDS = Features({"instruction": _TEXT, "input": _TEXT, "output": _TEXT, "is_classification": _BOOL, "domain": _TEXT})
"""One row a seed task; `input` and `domain` are "" where there is none."""

INSTRUCTIONS = Features(
    {
        "instruction_id": _TEXT,
        "instruction": _TEXT,
        "similarity": Value("float32"),
        "round": Value("int32"),
    }
)
"""After bootstrap: one row an instruction; `similarity` is the highest ROUGE-L F1 against the pool when admitted."""

ATTRIBUTED = Features({**INSTRUCTIONS, "is_classification": _BOOL, "input": _TEXT, "attributes": List(_TEXT)})
"""After attribute: `attributes` are labels of a classification task, else strategies; `input` only for the latter."""

INSTANCES = Features(
    {
        "instance_id": _TEXT,
        "instruction_id": _TEXT,
        "instruction": _TEXT,
        "is_classification": _BOOL,
        "attribute": _TEXT,
        "input": _TEXT,
        "output": _TEXT,
    }
)
"""After complete and curate: one row an instance; `attribute` is its label, its strategy, or ""."""

MESSAGES = List({"role": _TEXT, "content": _TEXT})
"""A published row as a chat: one turn of the user, one of the assistant."""


def with_rejected(features: Features) -> Features:
    """Add the column `rejected` (str): why the row is dropped, "" where it is kept."""
    return Features({**features, "rejected": _TEXT})


def require_columns(dataset: Dataset, features: Features, phase: str, columns: Iterable[str]) -> None:
    """Check at the door of a phase that a dataset has what the phase reads.

    Args:
        dataset: What was passed in.
        features: The contract that the columns come from.
        phase: Named in the message.
        columns: The columns that the phase reads.

    Raises:
        SchemaError: If a column is missing or has another type than in `features`.
    """
    for column in columns:
        if column not in dataset.column_names:
            raise SchemaError(
                f"{phase} needs the column {column!r} ({_type_name(features[column])}); found: "
                f"{', '.join(dataset.column_names) or 'none'}. Rename yours with Dataset.rename_column"
            )
        found, wanted = dataset.features[column], features[column]
        if _type_name(found) != _type_name(wanted):
            raise SchemaError(
                f"{phase} needs the column {column!r} as {_type_name(wanted)}; it is {_type_name(found)}. "
                "Convert it with Dataset.cast_column"
            )


def _type_name(feature: object) -> str:
    if isinstance(feature, List):
        return f"list of {_type_name(feature.feature)}"
    name = str(getattr(feature, "dtype", feature))
    return {"large_string": "string"}.get(name, name)
