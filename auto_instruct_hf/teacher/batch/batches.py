"""Batch mode of the teacher: requests go to the OpenAI Batch API in files and are answered within a day at half price.

A batch is paid for once the API has accepted it. So each step is recorded before and after it is taken
(`batch_log.py`), a batch carries a random name in its metadata, and one whose acceptance was never heard of is looked
for by that name before anything is submitted again.
"""

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import openai
from filelock import FileLock, Timeout
from openai.types import Batch

from ...errors import TeacherError
from .api import PATIENCE, BatchApi, describe, is_passing_status
from .log import UPLOADED, BatchLog, Row

_ENDED = ("completed", "failed", "expired", "cancelled")
_URL = "/v1/chat/completions"
_OVER_LIMIT = "token_limit_exceeded"


@dataclass(frozen=True)
class Answer:
    """What a batch says to one request: a chat completion, or why there is none.

    `key` is the request's in the journal; `body` the completion as the API returned it, or None; `error` why there is
    none, in a few words; `is_passing` says that asking again may help: the request expired, was cancelled or met a
    passing fault.
    """

    key: str
    body: dict[str, Any] | None
    error: str = ""
    is_passing: bool = False


class Batches:
    """Batches of requests that any number of runs submit, wait for and collect, each once.

    Processes that share the file do not submit the same request twice either: one at a time submits, under a lock
    beside the file, and the others wait for its batches. A batch of which nothing is asked again stays open at the API,
    its answers included, until one of its requests is.

    Args:
        path: The SQLite file of the journal; only the table `batches` in it is touched.
        poll: Seconds between looks at the batches, and after a failure of the connection.
        max_requests: Most requests in a file; the API allows 50,000.
        max_bytes: Most bytes in a file; the API allows 200 MB.

    Raises:
        TeacherError: If the file cannot be opened.
    """

    def __init__(
        self, path: Path, *, poll: float = 30.0, max_requests: int = 50_000, max_bytes: int = 190_000_000
    ) -> None:
        self._path = path
        self._poll = poll
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._log = BatchLog(path)

    def close(self) -> None:
        """Close the file. Batches under way stay so; another run collects them."""
        self._log.close()

    async def answer(
        self,
        client: openai.AsyncOpenAI,
        requests: Mapping[str, dict[str, Any]],
        *,
        note: Callable[[str], None] = lambda _: None,
    ) -> AsyncGenerator[Answer, None]:
        """Submit what is in no open batch yet, wait, and yield answers as they come in, in any order, each key once.

        An open batch of an earlier run that holds any of the requests is waited for, and all of its answers are
        yielded, those not asked for now included: they are paid for. A batch counts as collected when the consumer
        comes back for more after its last answer; so record an answer before taking the next one, and hold no write
        transaction on the file meanwhile. After a kill some answers are yielded again.

        A batch refused for the limit of enqueued tokens is submitted again when all others are done; where all were
        refused, in files of half the size, one at a time, until there is room for more.

        Args:
            client: The client; its retries hold for every call but the submission of a batch.
            requests: Bodies of `/v1/chat/completions` by key. Keys are unique for good and at most 64 characters.
            note: Called with a few words on how far it is.

        Yields:
            An answer; one without a body tells whether asking again may help.

        Raises:
            TeacherError: If the endpoint has no Batch API, refuses a batch, or fails ten times in a row. Batches under
                way stay so, and the next call goes on with them.
        """
        api = BatchApi(client, self._poll)
        answered: set[str] = set()
        size, at_once = self._max_requests, sys.maxsize
        while pending := requests.keys() - answered:
            async with self._alone():
                await self._settle(api)
                rows = [row for row in self._log.pending() if not pending.isdisjoint(row.keys)]
                pending.difference_update(*(row.keys for row in rows))
                rows += await self._submit(api, islice(self._files(requests, pending, size), at_once))
            refused: list[Row] = []
            async with aclosing(self._wait(api, rows, note)) as ended:
                async for row, batch in ended:
                    if batch.status == "failed":
                        self._log.finish(row, "failed")
                        await api.delete(row.file)
                        refused.append(row)
                        if not _is_over_limit(batch) or (len(row.keys) == 1 and len(rows) == 1):
                            raise TeacherError(_explain_failure(api, batch, len(row.keys)))
                        continue
                    async with aclosing(self._collect(api, row, batch)) as answers:
                        async for one in answers:
                            if one.key not in answered:
                                answered.add(one.key)
                                yield one
                    self._log.finish(row, batch.status)
                    await api.delete(row.file)
            if len(refused) == len(rows):
                at_once, size = 1, max(1, max(len(row.keys) for row in refused) // 2)
            elif refused:
                at_once = len(rows) - len(refused)
            else:  # the limit is the account's: others' batches may have held it
                at_once, size = min(2 * at_once, sys.maxsize), min(2 * size, self._max_requests)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other processes, and other calls of this one, from submitting meanwhile."""
        lock = FileLock(f"{self._path}.batches.lock")
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except Timeout:
                await asyncio.sleep(min(self._poll, 1.0))
        try:
            yield
        finally:
            lock.release()

    async def _settle(self, api: BatchApi) -> None:
        """Find what was submitted by a run that did not live to hear of it; forget what was not."""
        unsure = [row for row in self._log.pending() if not row.batch]
        for pause in (0.0, self._poll):  # the list may lag behind the submission
            names = [row.name for row in unsure if row.status == UPLOADED]
            if not names:
                break
            await asyncio.sleep(pause)
            found = await api.find(names)
            for name, batch in found.items():
                row = next(row for row in unsure if row.name == name)
                self._log.update(row, batch=batch.id, status=batch.status)
            unsure = [row for row in unsure if row.name not in found]
        for row in unsure:
            self._log.drop(row)
            if row.file:
                await api.delete(row.file)

    async def _submit(self, api: BatchApi, files: Iterable[tuple[list[str], IO[bytes]]]) -> list[Row]:
        rows = []
        for keys, file in files:
            with file:
                row = self._log.plan(keys)
                uploaded = await api.upload(f"{row.name}.jsonl", file)
            row = self._log.update(row, file=uploaded, status=UPLOADED)
            batch = await api.create(row.name, uploaded)
            rows.append(self._log.update(row, batch=batch.id, status=batch.status))
        return rows

    def _files(
        self, requests: Mapping[str, dict[str, Any]], wanted: set[str], size: int
    ) -> Iterator[tuple[list[str], IO[bytes]]]:
        """Write requests to files within the limits, one model a file, each when it is asked for."""
        by_model: dict[str, list[str]] = {}
        for key in filter(wanted.__contains__, requests):
            by_model.setdefault(requests[key]["model"], []).append(key)
        for ours in by_model.values():
            start = 0
            while start < len(ours):
                file, stop = self._scratch(), start
                for key in ours[start : start + size]:
                    line = {"custom_id": key, "method": "POST", "url": _URL, "body": requests[key]}
                    text = json.dumps(line).encode() + b"\n"
                    if stop > start and file.tell() + len(text) > self._max_bytes:
                        break
                    file.write(text)
                    stop += 1
                yield ours[start:stop], file
                start = stop

    def _scratch(self) -> IO[bytes]:
        # Without a name, so a kill leaves nothing behind; on the journal's disk, for /tmp is often small.
        return tempfile.TemporaryFile(dir=self._path.parent)

    async def _wait(
        self, api: BatchApi, rows: list[Row], note: Callable[[str], None]
    ) -> AsyncGenerator[tuple[Row, Batch], None]:
        """Yield each batch when it has ended."""
        total = sum(len(row.keys) for row in rows)
        done: dict[str, int] = {}
        waiting = rows
        late: Counter[str] = Counter()
        while waiting:
            still = []
            for known in waiting:
                batch = await api.look(known.batch)
                row = known if batch.status == known.status else self._log.update(known, status=batch.status)
                counts = batch.request_counts
                done[row.name] = counts.completed + counts.failed if counts else 0
                if batch.status in _ENDED:
                    late[row.name] += 1
                    # A batch may take a moment to name its results.
                    if batch.output_file_id or not (counts and counts.completed) or late[row.name] > PATIENCE:
                        done[row.name] = len(row.keys)
                        yield row, batch
                        continue
                still.append(row)
            waiting = still
            ended = len(rows) - len(waiting)
            note(f"{ended} of {len(rows)} batches, {sum(done.values()):,} of {total:,} answered")
            if waiting:
                await asyncio.sleep(self._poll)

    async def _collect(self, api: BatchApi, row: Row, batch: Batch) -> AsyncGenerator[Answer, None]:
        """Yield one answer for each request of a batch that has ended."""
        missing = dict.fromkeys(row.keys)
        for name in filter(None, (batch.output_file_id, batch.error_file_id)):
            with self._scratch() as file:
                if not await api.download(name, file):
                    continue
                file.seek(0)
                for line in file:
                    answer = _read(line, api)
                    if answer and answer.key in missing:
                        del missing[answer.key]
                        yield answer
        for key in missing:
            yield Answer(key, None, f"not in the results of a batch that is {batch.status}", is_passing=True)


def _read(line: bytes, api: BatchApi) -> Answer | None:
    """Read a line of an output or error file; None where it is none."""
    try:
        content = json.loads(line)
        key, response, error = content["custom_id"], content.get("response"), content.get("error")
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        body = response.get("body")
        if status == 200 and isinstance(body, dict):
            return Answer(key, body)
        return Answer(key, None, api.clean(describe(status, body)), is_passing_status(status))
    # Without a response the fault was not the request's but the batch's: expired, cancelled, a broken connection.
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else ("no response", error)
    return Answer(key, None, api.clean(f"{code}: {message}"), is_passing=True)


def _is_over_limit(batch: Batch) -> bool:
    return any(error.code == _OVER_LIMIT for error in (batch.errors and batch.errors.data) or [])


def _explain_failure(api: BatchApi, batch: Batch, count: int) -> str:
    errors = (batch.errors and batch.errors.data) or []
    words = api.clean(f"{errors[0].code}: {errors[0].message}") if errors else "no reason given"
    return (
        f"the Batch API refuses {batch.id} of {count} requests: {words}. Nothing in it was answered or paid for; "
        "mend this, then run the same command again"
    )
