"""What a journal holds, for people: sums by phase, single requests with their replies, failures."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TeacherError
from .journal import Journal, Usage

PERCENTILES = (50, 90, 99)
MOST_FOUND = 20
_COLUMNS = "key, phase, model, is_batch, request, text, raw, error, input_tokens, cached_tokens, output_tokens, seconds"


@dataclass(frozen=True)
class Line:
    """One phase of a journal: its sums, failures by kind, and latency at PERCENTILES in seconds (none of batches)."""

    usage: Usage
    failures: dict[str, int]
    latency: tuple[float, ...]


def open_journal(path: Path) -> Journal:
    """Open the journal of a build.

    Args:
        path: The folder of the build, or the file.

    Returns:
        The journal.

    Raises:
        TeacherError: If there is none.
    """
    file = path / "journal.sqlite" if path.is_dir() else path
    if not file.is_file():
        raise TeacherError(f"no journal at {file}: name the folder of a build, or its journal.sqlite")
    return Journal(file)


def summarise(journal: Journal) -> list[Line]:
    """Return a line for each phase, model and mode of a journal, in the order of their first requests."""
    import numpy as np

    lines = []
    for usage in journal.usage():
        group = (usage.phase, usage.model, usage.is_batch)
        found = journal.query(
            "SELECT error, seconds FROM replies WHERE phase = ? AND model = ? AND is_batch = ?", *group
        )
        kinds = Counter(error.partition(":")[0] for error, _ in found if error)
        waits = [seconds for _, seconds in found if seconds and not usage.is_batch]
        latency = tuple(float(value) for value in np.percentile(waits, PERCENTILES)) if waits else ()
        lines.append(Line(usage, dict(kinds.most_common()), latency))
    return lines


def find(journal: Journal, key: str) -> dict[str, Any]:
    """Return one request with its reply.

    Args:
        journal: The journal.
        key: The key, or the beginning of it.

    Returns:
        The columns of the journal by name, the request as JSON.

    Raises:
        TeacherError: If none or more than one begins so.
    """
    matches = list(_rows(journal, "substr(key, 1, ?) = ? LIMIT 2", len(key), key))
    if len(matches) != 1:
        raise TeacherError(f"{'more than one request' if matches else 'no request'} begins with the key {key!r}")
    return matches[0]


def search(journal: Journal, text: str) -> list[dict[str, Any]]:
    """Return the first MOST_FOUND requests with a text in them or in their replies (case aside), as `find` does."""
    condition = "instr(lower(request), ?) OR instr(lower(text), ?) LIMIT ?"
    return list(_rows(journal, condition, text.lower(), text.lower(), MOST_FOUND))


def failures(journal: Journal) -> Iterator[dict[str, Any]]:
    """Yield the requests whose reply was of no use, as `find` returns them."""
    return _rows(journal, "error != ''")


def _rows(journal: Journal, condition: str, *values: Any) -> Iterator[dict[str, Any]]:
    for row in journal.query(f"SELECT {_COLUMNS} FROM replies WHERE {condition}", *values):
        named = dict(zip(_COLUMNS.split(", "), row, strict=True))
        yield {**named, "is_batch": bool(named["is_batch"]), "request": json.loads(named["request"])}
