"""Submit requests to the OpenAI Batch API in files; they are answered within a day at half price.

An accepted batch is paid for. So each step is recorded before and after it is taken, and a batch whose
acceptance is unknown is looked up by the random name in its metadata before anything is submitted again.
"""

import asyncio
import json
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import AsyncFileLock

from ...core import open_database, transaction
from ...errors import TeacherError
from ..exchange import Body
from ..redaction import Redaction
from .api import MAX_FAILURES, Answer, BatchApi, read_answer

if TYPE_CHECKING:
    import openai
    from openai.types import Batch

_ENDED = ("completed", "failed", "expired", "cancelled")
_URL = "/v1/chat/completions"
_OVER_LIMIT = "token_limit_exceeded"
_PLANNED, _UPLOADED = "planned", "uploaded"  # states before the API knows the batch
_TABLE = """
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY, keys TEXT NOT NULL, file TEXT NOT NULL, batch TEXT NOT NULL, status TEXT NOT NULL,
    collected INTEGER NOT NULL, created REAL NOT NULL
)
"""
_UPDATE = "UPDATE batches SET status = ?, file = ?, batch = ?, collected = ? WHERE name = ?"
_OPEN = "SELECT name, keys, file, batch, status FROM batches WHERE NOT collected ORDER BY rowid"


@dataclass(frozen=True)
class BatchRow:
    """A batch: a random name, the keys of its requests, the API's ids ("" until known), and its status."""

    name: str
    keys: tuple[str, ...]
    file: str = ""
    batch: str = ""
    status: str = _PLANNED


class BatchLog:
    """The batches recorded in an SQLite file. Each method commits, or raises TeacherError if it cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = open_database(path, _TABLE, version=None, error=TeacherError, name="journal")

    def plan(self, keys: Sequence[str]) -> BatchRow:
        """Record a batch under a new unique name, before its upload."""
        row = BatchRow(secrets.token_hex(16), tuple(keys))
        values = (row.name, json.dumps(keys), row.status, time.time())
        self._run("INSERT INTO batches VALUES (?, ?, '', '', ?, 0, ?)", *values)
        return row

    def update(
        self, row: BatchRow, *, status: str, file: str = "", batch: str = "", is_collected: bool = False
    ) -> BatchRow:
        """Record the status of a batch, the ids that are given, and whether all its answers have been collected."""
        row = replace(row, status=status, file=file or row.file, batch=batch or row.batch)
        self._run(_UPDATE, row.status, row.file, row.batch, is_collected, row.name)
        return row

    def drop(self, row: BatchRow) -> None:
        """Delete the record of a batch that was never submitted."""
        self._run("DELETE FROM batches WHERE name = ?", row.name)

    def pending(self) -> list[BatchRow]:
        """Return the batches that are not collected yet, oldest first."""
        try:
            return [BatchRow(name, tuple(json.loads(keys)), *rest) for name, keys, *rest in self._run(_OPEN)]
        except (ValueError, TypeError):
            raise TeacherError(
                f"{self._path} is damaged: the requests of an open batch cannot be read. Its answers are paid for, and "
                "can be downloaded from the API; delete the row from the table `batches` to go on without them"
            ) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _run(self, statement: str, *values: object) -> list[Any]:
        with self._lock, transaction(self._connection, self._path, TeacherError):
            return self._connection.execute(statement, values).fetchall()


class Batches:
    """Submits, waits for and collects batches, each once, over any number of runs.

    Processes that share the file submit one at a time, under a lock file, and the others wait for these batches. A
    batch stays open, with its answers, until one of its requests is asked again.

    Args:
        path: The SQLite file of the journal; only its table `batches` is used.
        poll: Seconds between polls, and after a connection error.
        max_requests: Maximum number of requests in a file; the API allows 50,000.
        max_bytes: Maximum size of a file; the API allows 200 MB.
        redaction: Hides secrets in messages of the API; None: the key of the client.
    """

    def __init__(
        self,
        path: Path,
        *,
        poll: float = 30.0,
        max_requests: int = 50_000,
        max_bytes: int = 190_000_000,
        redaction: Redaction | None = None,
    ) -> None:
        self._path, self._poll, self._redaction = path, poll, redaction
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self._log = BatchLog(path)
        self.close = self._log.close
        """Close the file. Open batches continue at the API; another run collects them."""

    async def answer(
        self, client: "openai.AsyncOpenAI", requests: Mapping[str, Body], note: Callable[[str], None] = lambda _: None
    ) -> AsyncGenerator[Answer, None]:
        """Submit requests that are in no open batch, wait, and yield answers in any order, each key once.

        An open batch of an earlier run that contains any of the requests (key of at most 64 characters: body) is
        collected with all its answers. Record each answer before taking the next one, and hold no write transaction on
        the file: a batch counts as collected when the next answer after its last one is requested. After a crash some
        answers are repeated.

        A batch rejected for the limit of enqueued tokens is submitted again when all others have ended; if all were
        rejected, in files of half the size, one at a time, until more are accepted. Raise TeacherError if the endpoint
        has no Batch API, rejects a batch, or fails ten times in a row: open batches continue, and the next call
        collects them.
        """
        api = BatchApi(client, self._poll, self._redaction or Redaction([client.api_key]))
        answered: set[str] = set()
        size, at_once = self._max_requests, sys.maxsize
        while pending := requests.keys() - answered:
            lock = AsyncFileLock(f"{self._path}.batches.lock", run_in_executor=False)
            async with await lock.acquire(poll_interval=min(self._poll, 1.0)):
                await self._settle(api)
                rows = [row for row in self._log.pending() if not pending.isdisjoint(row.keys)]
                pending.difference_update(*(row.keys for row in rows))
                rows += await self._submit(api, islice(self._files(requests, pending, size), at_once))
            refused: list[BatchRow] = []
            async with aclosing(self._wait(api, rows, note)) as ended:
                async for row, batch in ended:
                    if batch.status != "failed":
                        async with aclosing(self._collect(api, row, batch)) as answers:
                            async for one in answers:
                                if one.key not in answered:
                                    answered.add(one.key)
                                    yield one
                    self._log.update(row, status=batch.status, is_collected=True)
                    await api.delete(row.file)
                    if batch.status == "failed":
                        refused.append(row)
                        errors = (batch.errors and batch.errors.data) or []
                        is_over_limit = any(error.code == _OVER_LIMIT for error in errors)
                        if not is_over_limit or (len(row.keys) == 1 and len(rows) == 1):
                            words = api.clean(f"{errors[0].code}: {errors[0].message}") if errors else "no reason given"
                            raise TeacherError(
                                f"the Batch API refuses {batch.id} of {len(row.keys)} requests: {words}. Nothing in it "
                                "was answered or paid for; fix this, then run the same command again"
                            )
            if len(refused) == len(rows):
                at_once, size = 1, max(1, max(len(row.keys) for row in refused) // 2)
            elif refused:
                at_once = len(rows) - len(refused)
            else:  # the limit is per account: other batches may have used it up
                at_once, size = min(2 * at_once, sys.maxsize), min(2 * size, self._max_requests)

    async def _settle(self, api: BatchApi) -> None:
        """Find the batches whose submission was not confirmed before a crash; drop those never submitted."""
        unsure = {row.name: row for row in self._log.pending() if not row.batch}
        for pause in (0.0, self._poll):  # a new batch may not be listed at once
            if names := [row.name for row in unsure.values() if row.status == _UPLOADED]:
                await asyncio.sleep(pause)
                for name, batch in (await api.find(names)).items():
                    self._log.update(unsure.pop(name), batch=batch.id, status=batch.status)
        for row in unsure.values():
            self._log.drop(row)
            if row.file:
                await api.delete(row.file)

    async def _submit(self, api: BatchApi, files: Iterable[tuple[list[str], IO[bytes]]]) -> list[BatchRow]:
        rows = []
        for keys, file in files:
            with file:
                row = self._log.plan(keys)
                uploaded = await api.upload(f"{row.name}.jsonl", file)
            row = self._log.update(row, file=uploaded, status=_UPLOADED)
            batch = await api.create(row.name, uploaded)
            rows.append(self._log.update(row, batch=batch.id, status=batch.status))
        return rows

    def _files(
        self, requests: Mapping[str, Body], wanted: set[str], size: int
    ) -> Iterator[tuple[list[str], IO[bytes]]]:
        """Write requests lazily to files within the limits, with one model per file."""
        by_model: dict[str, list[str]] = {}
        for key in filter(wanted.__contains__, requests):
            by_model.setdefault(requests[key]["model"], []).append(key)
        for ours in by_model.values():
            start = 0
            while start < len(ours):
                # Unnamed: a crash leaves nothing behind. On the journal's disk: /tmp is often small.
                file, stop = tempfile.TemporaryFile(dir=self._path.parent), start  # noqa: SIM115
                for key in ours[start : start + size]:
                    line = {"custom_id": key, "method": "POST", "url": _URL, "body": requests[key]}
                    text = json.dumps(line).encode() + b"\n"
                    if stop > start and file.tell() + len(text) > self._max_bytes:
                        break
                    file.write(text)
                    stop += 1
                yield ours[start:stop], file
                start = stop

    async def _wait(
        self, api: BatchApi, rows: list[BatchRow], note: Callable[[str], None]
    ) -> "AsyncGenerator[tuple[BatchRow, Batch], None]":
        """Yield each batch when it has ended."""
        total = sum(len(row.keys) for row in rows)
        done: Counter[str] = Counter()
        late: Counter[str] = Counter()
        waiting = rows
        while waiting:
            still = []
            for known in waiting:
                batch = await api.look(known.batch)
                row = known if batch.status == known.status else self._log.update(known, status=batch.status)
                counts = batch.request_counts
                done[row.name] = counts.completed + counts.failed if counts else 0
                late[row.name] += batch.status in _ENDED  # its results may not be listed at once
                has_results = batch.output_file_id or not (counts and counts.completed)
                if late[row.name] > (0 if has_results else MAX_FAILURES):
                    done[row.name] = len(row.keys)
                    yield row, batch
                else:
                    still.append(row)
            waiting = still
            note(f"{len(rows) - len(still)} of {len(rows)} batches, {done.total():,} of {total:,} answered")
            if waiting:
                await asyncio.sleep(self._poll)

    async def _collect(self, api: BatchApi, row: BatchRow, batch: "Batch") -> AsyncGenerator[Answer, None]:
        """Yield one answer per request of a batch that has ended."""
        missing = dict.fromkeys(row.keys)
        for name in filter(None, (batch.output_file_id, batch.error_file_id)):
            with tempfile.TemporaryFile(dir=self._path.parent) as file:
                if not await api.download(name, file):
                    continue
                file.seek(0)
                for line in file:
                    answer = read_answer(line, api)
                    if answer and answer.key in missing:
                        del missing[answer.key]
                        yield answer
        for key in missing:
            yield Answer(key, None, f"not in the results of a batch that is {batch.status}", is_passing=True)
