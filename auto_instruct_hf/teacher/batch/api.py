"""The calls of the OpenAI Batch API that a batch needs, each one patient with faults that pass.

Reference: https://platform.openai.com/docs/api-reference/batch
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Collection
from typing import IO, Any, TypeVar

import httpx2
import openai
from openai.types import Batch, FileObject

from ...errors import TeacherError

PATIENCE = 10
"""So many failures of a call in a row, the client's own retries not counted, are no longer waited out."""

_PASSING_STATUS = (408, 409, 429)
_MARK = "auto_instruct_hf"
_NO_BATCHES = "the endpoint has no Batch API: run without --batch"
_AGAIN = "What was submitted is known and not lost: run the same command again to go on from there"
_FILE = ("file_id", "input_file_id")
_FIELDS: dict[type[Any], tuple[str, ...]] = {FileObject: ("id",), Batch: ("id", "status")}

_Result = TypeVar("_Result")


class BatchApi:
    """The Batch API behind a client.

    Args:
        client: The client; its key never leaves it.
        pause: Seconds to wait after a failure.
    """

    def __init__(self, client: openai.AsyncOpenAI, pause: float) -> None:
        self._client = client
        self._once = client.with_options(max_retries=0)
        self._pause = pause

    async def upload(self, name: str, file: IO[bytes]) -> str:
        """Upload an input file, as a stream.

        Args:
            name: Its name there.
            file: Its lines.

        Returns:
            Its id.

        Raises:
            TeacherError: If the endpoint refuses it, has no such interface, or stays away.
        """

        async def send() -> FileObject:
            file.seek(0)
            return await self._client.files.create(file=(name, file, "application/jsonl"), purpose="batch")

        return (await self._insist(send, FileObject)).id

    async def create(self, name: str, file: str) -> Batch:
        """Submit an uploaded file under a name, once: after a failure its name is looked for before it is sent again.

        The client's retries are off here, since it would send the same once more without looking.

        Args:
            name: A name that no other batch has.
            file: The id of the file.

        Returns:
            The batch.

        Raises:
            TeacherError: If the endpoint refuses it or stays away; then it may have been accepted nevertheless.
        """
        is_sent = False

        async def submit() -> Batch:
            nonlocal is_sent
            if is_sent and (found := await self.find([name])):
                return found[name]
            is_sent = True
            return await self._once.batches.create(
                completion_window="24h",
                endpoint="/v1/chat/completions",
                input_file_id=file,
                metadata={_MARK: name},
            )

        return await self._insist(submit, Batch)

    async def find(self, names: Collection[str]) -> dict[str, Batch]:
        """Return the submitted batches by those of the names that the endpoint knows."""

        async def search() -> dict[str, Batch] | None:
            found: dict[str, Batch] = {}
            try:
                async for batch in self._client.batches.list(limit=100):
                    name = (batch.metadata or {}).get(_MARK, "")
                    if name in names:
                        found.setdefault(name, batch)
            except AttributeError:  # what came is no list; the client lets it through until it looks inside
                return None
            return found

        return await self._insist(search, dict)

    async def look(self, batch: str) -> Batch:
        """Ask how a batch stands.

        Args:
            batch: Its id.

        Returns:
            The batch.

        Raises:
            TeacherError: If the endpoint does not know it, or stays away.
        """
        try:
            return await self._insist(lambda: self._client.batches.retrieve(batch), Batch, is_known=True)
        except openai.NotFoundError:
            raise TeacherError(
                f"the endpoint does not know {batch}, which holds some of these requests: run with the address and the "
                "key it was submitted with, or without --batch"
            ) from None

    async def download(self, file: str, into: IO[bytes]) -> bool:
        """Write a file of results to one on disk.

        Args:
            file: Its id.
            into: What is written; what it held is lost.

        Returns:
            Whether there was one: the API deletes them after a time.

        Raises:
            TeacherError: If the endpoint refuses it, or stays away.
        """

        async def fetch() -> bool:
            into.seek(0)
            into.truncate()
            async with self._client.files.with_streaming_response.content(file) as response:
                async for chunk in response.iter_bytes():
                    into.write(chunk)
            return True

        for _ in range(PATIENCE):  # a file may take a moment to be seen everywhere, and what it holds is paid for
            try:
                return await self._insist(fetch, bool, is_known=True)
            except openai.NotFoundError:
                await asyncio.sleep(self._pause)
        return False

    async def delete(self, file: str) -> None:
        """Delete a file that was uploaded here, if the endpoint lets it be deleted; it costs nothing to stay."""
        with contextlib.suppress(openai.APIError, ValueError):
            await self._once.files.delete(file)

    def clean(self, text: object) -> str:
        """Return one line of a server's words, 300 characters at most, without the key or an account's name."""
        line = " ".join(str(text).split())
        if len(self._client.api_key) > len("placeholder"):
            line = line.replace(self._client.api_key, "***")
        return re.sub(r"(Bearer |\borg-)\S+", r"\1***", line)[:300]

    async def _insist(
        self, call: Callable[[], Awaitable[_Result | None]], kind: type[_Result], *, is_known: bool = False
    ) -> _Result:
        """Call until it succeeds, fails for good, or has failed too often.

        Args:
            call: What to call.
            kind: Of what type an answer is: a server without this interface may answer anything.
            is_known: Whether the interface is known to be there: then it is for the caller to say what a 404 means.

        Returns:
            What the call returned.

        Raises:
            TeacherError: If the endpoint refuses it, has no such interface, or has failed too often in a row.
            NotFoundError: If `is_known`, and there is no such thing.
        """
        reason = ""
        for attempt in range(PATIENCE):
            if attempt:
                await asyncio.sleep(self._pause)
            try:
                result = await call()
            except openai.APIStatusError as error:
                if is_known and error.status_code == 404:
                    raise
                if error.status_code in (404, 405) and error.param not in _FILE:
                    raise TeacherError(_NO_BATCHES) from None
                reason = self.clean(describe(error.status_code, error.body))
                if not _is_passing(error):
                    raise TeacherError(f"the Batch API refuses: {reason}. {_AGAIN}") from None
            except (openai.APIError, httpx2.HTTPError, UnicodeDecodeError, json.JSONDecodeError) as error:
                reason = self.clean(f"{type(error).__name__}: {error.__cause__ or error}")
            else:
                if isinstance(result, kind) and all(getattr(result, name, None) for name in _FIELDS.get(kind, ())):
                    return result
                reason = f"not what the Batch API answers: {self.clean(result)}"
        raise TeacherError(f"the Batch API has failed {PATIENCE} times in a row: {reason}. {_AGAIN}")


def describe(status: int, body: object) -> str:
    """Return a status and what a server says of it, from any of the forms that errors have."""
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    message = body.get("message") if isinstance(body, dict) else body
    return f"HTTP {status}: {message or 'no reason given'}"


def is_passing_status(status: int) -> bool:
    """Return whether a request that got this status may fare better later."""
    return status in _PASSING_STATUS or status >= 500


def _is_passing(error: openai.APIStatusError) -> bool:
    # An uploaded file may take a moment to be seen everywhere.
    return (is_passing_status(error.status_code) and error.code != "insufficient_quota") or error.param in _FILE
