"""The calls of the OpenAI Batch API, with retries on transient errors.

Reference: https://platform.openai.com/docs/api-reference/batch
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, TypeVar

import httpx2

from ...errors import TeacherError
from ..exchange import Body
from ..redaction import Redaction

if TYPE_CHECKING:
    import openai
    from openai.types import Batch, FileObject

MAX_FAILURES = 10
"""Consecutive failures of a call, without the client's own retries, after which it is given up."""

_TRANSIENT_STATUS = (408, 409, 429)
_MARK = "auto_instruct_hf"
_NO_BATCHES = "the endpoint has no Batch API: run without --batch"
_AGAIN = "What was submitted is recorded and not lost: run the same command again to go on from there"
_FILE = ("file_id", "input_file_id")

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Answer:
    """The answer of a batch to one request: a chat completion, or the reason why there is none.

    `key` is the request's key in the journal, `body` the completion or None. With `is_passing`, another try may
    succeed: the request expired, was cancelled or met a transient error.
    """

    key: str
    body: Body | None
    error: str = ""
    is_passing: bool = False


class BatchApi:
    """The Batch API behind a client; `pause` is the number of seconds to wait after a failure.

    `clean` returns a server's message in one short line, without secrets and account names.
    """

    def __init__(self, client: "openai.AsyncOpenAI", pause: float, redaction: Redaction) -> None:
        self._client, self._once, self._pause = client, client.with_options(max_retries=0), pause
        self.clean = redaction.shorten

    async def upload(self, name: str, file: IO[bytes]) -> str:
        """Upload an input file as a stream, and return its id."""

        async def send() -> "FileObject":
            file.seek(0)
            return await self._client.files.create(file=(name, file, "application/jsonl"), purpose="batch")

        return (await self._retry(send, ("id",))).id

    async def create(self, name: str, file: str) -> "Batch":
        """Submit an uploaded file under a unique name, once, and return the batch."""
        is_sent = False

        async def submit() -> "Batch":
            nonlocal is_sent  # after a failure it may have been accepted; the client's own retries would not look
            if is_sent and (found := await self.find([name])):
                return found[name]
            is_sent = True
            return await self._once.batches.create(
                completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file, metadata={_MARK: name}
            )

        return await self._retry(submit, ("id", "status"))

    async def find(self, names: Collection[str]) -> "dict[str, Batch]":
        """Return the submitted batches with one of the names, by name."""

        async def search() -> "dict[str, Batch] | None":
            with contextlib.suppress(AttributeError):  # the client does not check whether it is a list
                listed = [batch async for batch in self._client.batches.list(limit=100)]
                named = {(batch.metadata or {}).get(_MARK, ""): batch for batch in reversed(listed)}
                return {name: named[name] for name in names if name in named}
            return None

        return await self._retry(search)

    async def look(self, batch: str) -> "Batch":
        """Return the present state of a batch, by its id."""
        import openai

        try:
            return await self._retry(lambda: self._client.batches.retrieve(batch), ("id", "status"), is_known=True)
        except openai.NotFoundError:
            raise TeacherError(
                f"the endpoint does not know {batch}, which holds some of these requests: run with the address and the "
                "key it was submitted with, or without --batch"
            ) from None

    async def download(self, file: str, into: IO[bytes]) -> bool:
        """Download a file, by its id, into a local one; return whether it exists (the API deletes old ones)."""
        import openai

        async def fetch() -> bool:
            into.seek(0)
            into.truncate()
            async with self._client.files.with_streaming_response.content(file) as response:
                async for chunk in response.iter_bytes():
                    into.write(chunk)
            return True

        for _ in range(MAX_FAILURES):  # a new file may not be visible at once, and its content is paid for
            try:
                return await self._retry(fetch, is_known=True)
            except openai.NotFoundError:
                await asyncio.sleep(self._pause)
        return False

    async def delete(self, file: str) -> None:
        """Delete an uploaded file; ignore errors, as it costs nothing."""
        import openai

        with contextlib.suppress(openai.APIError, ValueError):
            await self._once.files.delete(file)

    async def _retry(
        self, call: Callable[[], Awaitable[_Result | None]], fields: Sequence[str] = (), *, is_known: bool = False
    ) -> _Result:
        """Retry a call until it succeeds, fails permanently, or has failed too often.

        The result must have `fields`: a server without a Batch API may answer anything. If the endpoint is known to
        have one, a 404 is raised to the caller.
        """
        import openai

        reason = ""
        for attempt in range(MAX_FAILURES):
            if attempt:
                await asyncio.sleep(self._pause)
            try:
                result = await call()
            except openai.APIStatusError as error:
                if is_known and error.status_code == 404:
                    raise
                if error.status_code in (404, 405) and error.param not in _FILE:
                    raise TeacherError(_NO_BATCHES) from None
                reason = self.clean(_describe_error(error.status_code, error.body))
                is_transient = _is_transient(error.status_code) and error.code != "insufficient_quota"
                if not is_transient and error.param not in _FILE:  # an uploaded file may not be visible at once
                    raise TeacherError(f"the Batch API refuses: {reason}. {_AGAIN}") from None
            except (openai.APIError, httpx2.HTTPError, UnicodeDecodeError, json.JSONDecodeError) as error:
                reason = self.clean(f"{type(error).__name__}: {error.__cause__ or error}")
            else:
                if result is not None and all(getattr(result, name, None) for name in fields):
                    return result
                reason = f"not what the Batch API answers: {self.clean(result)}"
        raise TeacherError(f"the Batch API has failed {MAX_FAILURES} times in a row: {reason}. {_AGAIN}")


def read_answer(line: bytes, api: BatchApi) -> Answer | None:
    """Parse a line of an output or error file of a batch; None: it is not valid."""
    try:
        content = json.loads(line)
        key, response, error = content["custom_id"], content.get("response"), content.get("error")
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if isinstance(response, dict) and isinstance(status := response.get("status_code"), int):
        body = response.get("body")
        if status == 200 and isinstance(body, dict):
            return Answer(key, body)
        return Answer(key, None, api.clean(_describe_error(status, body)), _is_transient(status))
    # Without a response the batch failed, not the request: it expired, was cancelled, or lost its connection.
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else ("no response", error)
    return Answer(key, None, api.clean(f"{code}: {message}"), is_passing=True)


def _describe_error(status: int, body: object) -> str:
    match body:
        case {"error": {**error}} | {**error}:
            body = error.get("message")
    return f"HTTP {status}: {body or 'no reason given'}"


def _is_transient(status: int) -> bool:
    return status in _TRANSIENT_STATUS or status >= 500
