"""Sends requests, in the format of the endpoint, within its limits and the budget, and records the replies.

Replies are written to the journal many per commit, and none is used before its commit.
"""

import asyncio
import json
import logging
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..prompts import Prompt
from ..recipe import TeacherSettings
from .budget import Budget, Reservation
from .endpoint import Endpoint
from .exchange import (
    CUT_OFF,
    EMPTY,
    NO_ANSWER,
    NOT_A_COMPLETION,
    NOT_BY_SCHEMA,
    NOT_JSON,
    NOT_YET,
    Body,
    estimate_usage,
    read_completion,
)
from .group_commit import GroupCommit
from .health import MAX_SILENCE, Health
from .journal import Entry, Journal, Record
from .prices import max_context
from .request_format import RequestFormat, is_too_long
from .throttle import Throttle, retry_after

if TYPE_CHECKING:
    import openai

_LOG = logging.getLogger(__name__)
MAX_CONCURRENCY = 64
"""Requests in flight where neither the recipe nor the server sets a limit."""
_RETRIES_AT_FIRST, _RETRIES_OF_TIMEOUT = 3, 2
_FIRST_WAIT, _MAX_WAIT, _MAX_ASKED = 0.5, 8.0, 120.0  # seconds between retries, as in the openai client
_DOUBTS = 3  # how often a request must fail where others do as well, until it is given up
_CUT_EMPTY = 3  # replies cut off empty, after which the limit of the reply is raised
_IGNORED_SCHEMA = 8  # after so many unusable replies and no usable one, the server ignores the schema
_BYTES_PER_TOKEN = 4  # an average, for the estimate of tokens per minute; the real number is charged later
_TOKENS_PER_MESSAGE = 16  # role and separators, rounded up
_PROBE = {"messages": [{"role": "user", "content": "Answer with the word yes."}], "max_tokens": 16}


@dataclass(frozen=True)
class Job:
    """A request: its key in the journal, its body, its prompt, its phase, and whether it has several items."""

    key: str
    body: Body
    prompt: Prompt
    phase: str
    is_group: bool = False


class Sender:
    """Sends requests to one endpoint, at most `concurrency` at once (None: adapted), and records replies."""

    def __init__(
        self, endpoint: Endpoint, journal: Journal, budget: Budget, settings: TeacherSettings, concurrency: int | None
    ) -> None:
        self.endpoint, self.journal, self.budget, self._settings = endpoint, journal, budget, settings
        self.request_format = RequestFormat(settings.structured, settings.max_tokens)
        has_answered = any(one.requests > one.failed for one in journal.usage() if one.model == endpoint.model)
        self.health = Health(endpoint, journal.path, settings.max_failing, has_answered=has_answered)
        self._throttle = Throttle(concurrency, settings.rpm, settings.tpm, MAX_CONCURRENCY)
        self._commits = GroupCommit(journal)
        self._usable = self._unusable = self._cut_empty = 0
        self._has_no_usage = False
        self._examining, self._examined = asyncio.Lock(), 0.0

    async def send(self, job: Job) -> Entry:
        """Send a request until it is answered and recorded.

        Return the entry that stands for it: the validated reply, or an error that begins with NO_ANSWER (the endpoint
        refuses this request) or NOT_YET (it answered others; this is not recorded). Raise TeacherError if the endpoint
        is at fault: then nothing is recorded.
        """
        async with self.budget.reserve() as reservation:
            entry = await self._send_with_retries(job, reservation)
            return await self.keep(Record(job.key, entry, job.phase, job.body["model"], job.body), job.is_group)

    async def keep(self, record: Record, is_group: bool = False) -> Entry:
        """Commit a reply; return the entry that stands for its request, which is the first one recorded."""
        if is_group and record.entry.error.startswith(NO_ANSWER) and not self.health.has_answered:
            return record.entry  # it may be too long: its parts will show whether the endpoint is at fault
        entry = record.entry
        with self._throttle.recording():
            for one in self.health.hold(record):
                entry = await self._commits.write(one)
        return entry

    def max_tokens(self, body: Body) -> tuple[int, int]:
        """Return the maximum of input tokens (no token is shorter than a byte) and output tokens of a request."""
        schema = json.dumps(body.get("response_format", ""), ensure_ascii=False)
        texts = [schema, *(message["content"] for message in body["messages"])]
        limit = self.request_format.limit(body)
        return (
            sum(len(text.encode()) + _TOKENS_PER_MESSAGE for text in texts),
            max_context(body["model"]) if limit is None else limit,
        )

    async def _send_with_retries(self, job: Job, reservation: Reservation) -> Entry:
        import openai

        most = self._settings.max_retries
        if not self.health.has_answered:  # a wrong address or a dead server should be reported within seconds
            most = min(most, _RETRIES_AT_FIRST)
        start, failures, doubts = time.monotonic(), 0, 1
        while True:
            self.health.check()
            try:
                if entry := await self._send_once(job, reservation, start):
                    return entry
                continue  # another format or a later time may be accepted
            except openai.APIError as failure:
                error = failure
            reservation.release()  # nothing is held while it waits: others may wait for the budget
            may_pass = self.health.check_error(error)
            failures += 1
            if may_pass and failures <= (min(most, _RETRIES_OF_TIMEOUT) if _is_timeout(error) else most):
                await asyncio.sleep(_wait(failures, error))
            elif not (may_pass or job.is_group) and "max_tokens" in job.body and is_too_long(error):
                job = replace(job, body={name: value for name, value in job.body.items() if name != "max_tokens"})
            elif not doubts or (job.is_group and not may_pass):  # its parts are sent, and show whether it is too long
                self.health.count_failure(error)
                return Entry("", f"{NOT_YET if may_pass else NO_ANSWER}: {self.endpoint.explain(error)}")
            elif await self._examine(job, reservation, may_pass=may_pass):
                doubts -= 1  # it is sent once more: the fault may have passed
            else:
                doubts = _DOUBTS
                if self.health.seconds_silent(start) > MAX_SILENCE:
                    raise self.health.stop_for(error)
                await asyncio.sleep(_wait(failures, error))

    async def _send_once(self, job: Job, reservation: Reservation, start: float) -> Entry | None:
        """Send a request; return None if another format or a later time may be accepted."""
        import openai

        from .http_client import UnreadableError, post

        client = await self.endpoint.connect()
        version = self.request_format.version
        worst = self.max_tokens(job.body)
        await reservation.cover(job.body["model"], worst)
        expected = worst[0] + job.prompt.max_tokens  # the worst case of a reply without a limit is far from the usual
        async with self._throttle.slot(expected // _BYTES_PER_TOKEN) as slot:
            if version != self.request_format.version:  # adapted while it waited
                return None
            begin = time.monotonic()
            repair = not self.request_format.enforces_schema
            try:
                response, payload = await post(client, self.request_format.translate(job.body))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if version != self.request_format.version or self.request_format.adapt(error):
                    return None
                raise
            except openai.RateLimitError as error:
                await asyncio.sleep(self._throttle.refused(slot, self.health.check_refusal(error, start)))
                return None
            except UnreadableError as error:
                entry, headers = Entry("", f"{NOT_A_COMPLETION}: {error}", seconds=time.monotonic() - begin), None
            else:
                entry = read_completion(payload, job.prompt, time.monotonic() - begin, repair=repair)
                kind = response.headers.get("content-type", "no content type")
                if entry.error == NOT_A_COMPLETION and "json" not in kind:
                    entry = replace(entry, error=f"{NOT_A_COMPLETION}: {kind[:50]}")
                headers = response.headers
            self.health.count_answer()
            entry = self.complete_usage(self.endpoint.hide_key(entry), job.body)
            self._throttle.succeeded(slot, headers, entry.input_tokens + entry.output_tokens)
        self.health.count_entry(entry)
        self._learn(entry, version)
        return entry

    async def _examine(self, job: Job, reservation: Reservation, *, may_pass: bool) -> bool:
        """Return whether the endpoint works, after a request failed; raise TeacherError if it does not even answer.

        It is sent the simplest request, and, for errors that may pass, the last one that it answered.
        """
        failed = time.monotonic()
        async with self._examining:
            if self._examined > failed:  # another request has just found that it works
                return True
            if not await self._probe({"model": job.body["model"], **_PROBE}, job, reservation, must=True):
                return False
            known = self.journal.last_answered(job.body["model"]) if may_pass else None
            if known and not await self._probe(known, job, reservation):
                return False
            self._examined = time.monotonic()
            return True

    async def _probe(self, body: Body, job: Job, reservation: Reservation, *, must: bool = False) -> bool:
        """Send a request whose reply is not needed, and record what it cost; return whether it was answered.

        Raise TeacherError if the endpoint is at fault, or, if it `must` be answered, for any error but a refusal (429).
        """
        import openai

        from .http_client import UnreadableError, post

        client = await self.endpoint.connect()
        worst = self.max_tokens(body)
        await reservation.cover(body["model"], worst)
        try:
            async with self._throttle.slot():
                _, payload = await post(client, self.request_format.translate(body))
        except openai.RateLimitError:
            return must  # it is alive
        except openai.APIError as error:
            if must:
                raise self.health.stop_for(error) from None
            self.health.check_error(error)
            return False
        except UnreadableError:
            return False
        entry = self.complete_usage(replace(read_completion(payload, job.prompt, 0.0), error=""), body)
        await asyncio.to_thread(self.journal.charge, Record("", entry, job.phase, body["model"], body))
        return True

    def complete_usage(self, entry: Entry, body: Body) -> Entry:
        """Return a reply with a cautious estimate of the tokens that the endpoint did not report, or not as numbers."""
        size = len((entry.raw or entry.text).encode())
        if self.endpoint.local_model or (entry.input_tokens and (entry.output_tokens or not size)):
            return entry
        if not self._has_no_usage and not entry.error.startswith(NOT_A_COMPLETION):
            self._has_no_usage = True
            _LOG.warning(
                "%s reports no usage: tokens and cost are estimated, cautiously, from the lengths of the texts",
                self.endpoint.describe(),
            )
        return estimate_usage(entry, self.max_tokens(body)[0] if body else 0)

    def _learn(self, entry: Entry, version: int) -> None:
        """Adapt the format to replies that come to nothing."""
        if not entry.error:
            self._usable += 1
        elif entry.error == CUT_OFF and not entry.text and version == self.request_format.version:
            self._cut_empty += 1
            if self._cut_empty >= _CUT_EMPTY and (change := self.request_format.raise_limit()):
                _LOG.warning(
                    "%d replies were cut off before their first word, as by hidden reasoning: from now on %s, and "
                    "requests can cost more than estimated. The setting teacher.max_tokens sets a limit of your own",
                    self._cut_empty,
                    change,
                )
                self._cut_empty = 0
        elif entry.error in (NOT_JSON, NOT_BY_SCHEMA, EMPTY):
            self._unusable += 1
            if not self._usable and self._unusable >= _IGNORED_SCHEMA:
                self._unusable = 0
                self.request_format.step_down()


def _is_timeout(error: Exception) -> bool:
    import openai

    return isinstance(error, openai.APITimeoutError)


def _wait(failures: int, error: "openai.APIError") -> float:
    """Return the seconds before a retry: Retry-After, or exponential backoff with jitter."""
    response = getattr(error, "response", None)  # none if the connection failed
    asked = None if response is None else retry_after(response.headers)
    if asked is not None and 0 < asked <= _MAX_ASKED:
        return asked
    return float(min(_FIRST_WAIT * 2 ** min(failures - 1, 10), _MAX_WAIT) * (1 - 0.25 * random.random()))
