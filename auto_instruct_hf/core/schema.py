"""The contract between phases: the columns and types after each phase, and the check of its input."""

from collections.abc import Iterable

from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from ..errors import SchemaError

_TEXT = Value("string")
_BOOL = Value("bool")
_CHUNK = 10_000

TEXT_COLUMNS = ("instruction", "input", "output")

SEEDS = Features({"instruction": _TEXT, "input": _TEXT, "output": _TEXT, "is_classification": _BOOL, "domain": _TEXT})
"""One row a seed task; `input` and `domain` are "" if there is none."""

_IN_WORDS = {"similarity": Value("float32"), "most_similar": _TEXT}
_IN_MEANING = {"cosine": Value("float32"), "nearest": _TEXT}
INSTRUCTIONS = Features(
    {"instruction_id": _TEXT, "instruction": _TEXT, **_IN_WORDS, **_IN_MEANING, "round": Value("int32")}
)
"""After bootstrap: one row an instruction; `similarity` is the highest ROUGE-L F1 against the pool when admitted,
`most_similar` the id of that instruction (or seed), "" if none shares a token, null and "" without `bootstrap.nearest`;
`cosine` and `nearest` are the same by embeddings, 0 and "" if they were not compared."""

ATTRIBUTES = Features({"is_classification": _BOOL, "input": _TEXT, "attributes": List(_TEXT)})
ATTRIBUTED = Features({**INSTRUCTIONS, **ATTRIBUTES})
"""After attribute: `attributes` are labels of a classification task, else strategies; `input` only for the latter."""

_KEYS = {"instance_id": _TEXT, "instruction_id": _TEXT, "instruction": _TEXT, "is_classification": _BOOL}
INSTANCES = Features({**_KEYS, "attribute": _TEXT, "input": _TEXT, "output": _TEXT})
"""After complete and curate: one row an instance; `attribute` is its label, its strategy, or ""."""

CLUSTERED = Features({**INSTANCES, "cluster": ClassLabel(names=["a topic"])})
"""After cluster: `cluster` is a ClassLabel whose names are the topics."""

MESSAGES = List({"role": _TEXT, "content": _TEXT})
"""Turns of a chat."""
CHAT = Features({"teacher": _TEXT, "messages": MESSAGES, "prompt": MESSAGES, "completion": MESSAGES})
"""What a published row has besides: the model that wrote it, and the row as a chat, whole and in two parts."""

PREFERENCES = Features(
    {
        **dict.fromkeys(("instruction_id", "chosen_id", "rejected_id"), _TEXT),
        **dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES),
        "teacher": _TEXT,
        "judge": _TEXT,
    }
)
"""One row a pair of instances with the same prompt: `judge` preferred the output of `chosen_id`."""


def with_rejected(features: Features) -> Features:
    """Add the column `rejected` (str): why the row is dropped, "" if it is kept."""
    return Features({**features, "rejected": _TEXT})


def require_columns(dataset: Dataset, features: Features, phase: str, columns: Iterable[str]) -> Dataset:
    """Check that a dataset has the columns that a phase reads.

    Args:
        dataset: The input of the phase.
        features: The contract that defines the types of the columns.
        phase: Its name, for the message.
        columns: The columns that the phase reads.

    Returns:
        The dataset, with any output format (such as torch) reset.

    Raises:
        SchemaError: If a column is missing, has another type than in `features`, or holds a null.
    """
    columns = tuple(columns)
    for column in columns:
        if column not in dataset.column_names:
            raise SchemaError(
                f"{phase} needs the column {column!r} ({_type_name(features[column])}); found: "
                f"{', '.join(dataset.column_names) or 'none'}. Rename yours with Dataset.rename_column"
            )
        found, expected = dataset.features[column], features[column]
        if _type_name(found) != _type_name(expected):
            raise SchemaError(
                f"{phase} needs the column {column!r} as {_type_name(expected)}; it is {_type_name(found)}. "
                "Convert it with Dataset.cast_column"
            )
    # Of selected rows `datasets` makes a table with a part for each row, of some kilobytes: not of all at once.
    parts = dataset.select_columns(list(columns)).with_format("arrow").iter(_CHUNK)
    for start, part in zip(range(1, len(dataset) + 1, _CHUNK), parts, strict=True):
        for column in columns:
            if part[column].null_count:
                row = start + part[column].is_null().to_pylist().index(True)
                remedy = "fill it with Dataset.map, or drop the row"
                raise SchemaError(f"{phase}: {column!r} is null in row {row}; {remedy}")
    return dataset if dataset.format["type"] is None else dataset.with_format(None)


def _type_name(feature: object) -> str:
    if isinstance(feature, List | LargeList):
        return f"list of {_type_name(feature.feature)}"
    name = str(getattr(feature, "dtype", feature))
    return {"large_string": "string", "string_view": "string"}.get(name, name)
