"""Inspect a journal: sums by phase, single requests with their replies, failures."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TeacherError
from .journal import Journal, Usage

PERCENTILES = (50, 90, 99)
JournalRow = dict[str, Any]
"""A row of the table `replies` by column, its request as parsed JSON."""
_COLUMNS = "key, phase, model, is_batch, request, text, raw, error, input_tokens, cached_tokens, output_tokens, seconds"


@dataclass(frozen=True)
class PhaseSummary:
    """A phase: its sums, failures by kind, and latency in seconds at PERCENTILES (empty for batches)."""

    usage: Usage
    failures: dict[str, int]
    latency: tuple[float, ...]


def open_journal(path: Path) -> Journal:
    """Open the journal of a build; `path` is the build folder or the file. Raise TeacherError if it is missing."""
    file = path / "journal.sqlite" if path.is_dir() else path
    if not file.is_file():
        raise TeacherError(f"no journal at {file}: name the folder of a build, or its journal.sqlite")
    return Journal(file)


def summarise_journal(journal: Journal) -> list[PhaseSummary]:
    """Return a summary for each phase, model and mode of a journal, ordered by their first requests."""
    import numpy as np

    summaries = []
    for usage in journal.usage():
        group = (usage.phase, usage.model, usage.is_batch)
        found = journal.query(
            "SELECT error, seconds FROM replies WHERE phase = ? AND model = ? AND is_batch = ?", *group
        )
        kinds = Counter(error.partition(":")[0] for error, _ in found if error)
        waits = [seconds for _, seconds in found if seconds and not usage.is_batch]
        latency = tuple(float(value) for value in np.percentile(waits, PERCENTILES)) if waits else ()
        summaries.append(PhaseSummary(usage, dict(kinds.most_common()), latency))
    return summaries


def find_request(journal: Journal, key: str) -> JournalRow:
    """Return the request whose key starts with `key`; raise TeacherError if there is none, or more than one."""
    matches = list(_rows(journal, "substr(key, 1, ?) = ? LIMIT 2", len(key), key))
    if len(matches) != 1:
        raise TeacherError(f"{'more than one request' if matches else 'no request'} begins with the key {key!r}")
    return matches[0]


def search_journal(journal: Journal, text: str, limit: int) -> list[JournalRow]:
    """Return the first `limit` requests that contain a text, in themselves or their replies, ignoring case."""
    condition = "instr(lower(request), ?) OR instr(lower(text), ?) LIMIT ?"
    return list(_rows(journal, condition, text.lower(), text.lower(), limit))


def failed_requests(journal: Journal) -> Iterator[JournalRow]:
    """Yield the requests whose reply is not usable."""
    return _rows(journal, "error != ''")


def _rows(journal: Journal, condition: str, *values: object) -> Iterator[JournalRow]:
    for row in journal.query(f"SELECT {_COLUMNS} FROM replies WHERE {condition}", *values):
        named = dict(zip(_COLUMNS.split(", "), row, strict=True))
        yield {**named, "is_batch": bool(named["is_batch"]), "request": json.loads(named["request"])}
