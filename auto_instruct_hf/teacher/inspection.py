"""Look into a journal: sums by phase, single requests; recover one that is damaged."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import SQLITE_FAILURES, is_intact_row, lock_build, recover_database
from ..errors import TeacherError
from .journal import COLUMNS, DAMAGED, JOURNAL_FORMAT, Journal, Usage

PERCENTILES = (50, 90, 99)
JournalRow = dict[str, Any]
"""A row of the table `replies` by column; `request` as parsed JSON, as text if it is damaged; `error` says if it is."""
_SUM_ALL = """
INSERT OR IGNORE INTO sums SELECT phase, model, is_batch, COUNT(*), SUM(error != ''), SUM(input_tokens),
    SUM(cached_tokens), SUM(output_tokens), SUM(seconds), SUM(is_estimated), NULL FROM replies
    GROUP BY phase, model, is_batch ORDER BY MIN(created)
"""


@dataclass(frozen=True)
class PhaseSummary:
    """A phase: its sums, failures by kind, and latency in seconds at PERCENTILES (empty for batches)."""

    usage: Usage
    failures: dict[str, int]
    latency: tuple[float, ...]


def open_journal(path: Path) -> Journal:
    """Open the journal of a build; `path` is the build folder or the file. Raise TeacherError if it is missing."""
    return Journal(_find_file(path))


def _find_file(path: Path) -> Path:
    file = path / "journal.sqlite" if path.is_dir() else path
    if not file.is_file():
        raise TeacherError(f"no journal at {file}: name the folder of a build, or its journal.sqlite")
    return file


def summarise_journal(journal: Journal) -> list[PhaseSummary]:
    """Return a summary for each phase, model and mode of a journal, ordered by their first requests."""
    import numpy as np

    summaries = []
    for usage in journal.usage():
        group = (usage.phase, usage.model, usage.is_batch)
        found = journal.query(
            "SELECT error, seconds FROM replies WHERE phase = ? AND model = ? AND is_batch = ? "
            "AND typeof(error) = 'text' AND typeof(seconds) = 'real'",  # others are damaged
            *group,
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


def recover_journal(path: Path) -> int:
    """Replace a damaged journal (a build folder or the file) by what can be read; return the number of its replies.

    The damaged file is kept beside it as `NAME.damaged`. Raise TeacherError if nothing can be read.
    """
    file = _find_file(path)
    try:
        with lock_build(file.parent):
            kept = recover_database(file, JOURNAL_FORMAT, "replies")
    except SQLITE_FAILURES as reason:
        raise TeacherError(f"nothing can be read of {file} ({reason}): move it away to begin a new journal") from None
    with Journal(file) as journal, journal._transaction():
        journal._writer.execute(_SUM_ALL)  # for sums that were lost
    return kept


def _rows(journal: Journal, condition: str, *values: object) -> Iterator[JournalRow]:
    for row in journal.query(f"SELECT * FROM replies WHERE {condition}", *values):
        named = dict(zip(COLUMNS, row, strict=True))
        if is_intact_row(row):
            named["request"] = json.loads(named["request"])
        else:
            named["error"] = DAMAGED
        del named["created"], named["is_estimated"], named["checksum"]
        yield {**named, "is_batch": bool(named["is_batch"])}
