"""Sends requests, in the format of the endpoint, at its pace and with retries, and records the replies.

Replies are written to the journal many per commit, and none is used before its commit. Unanswered requests are written
only after a request has been answered: until then the endpoint may be at fault.
"""

import asyncio
import json
import logging
import random
import time
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2

from ..errors import TeacherError
from ..prompts import Prompt
from ..recipe import TeacherSettings
from .endpoint import Endpoint
from .exchange import (
    CUT_OFF,
    EMPTY,
    NO_ANSWER,
    NOT_A_COMPLETION,
    NOT_BY_SCHEMA,
    NOT_JSON,
    REFUSED,
    Body,
    read_completion,
)
from .journal import Entry, Journal, Record
from .prices import max_request_tokens
from .request_format import RequestFormat
from .server_words import find_error
from .throttle import Throttle, retry_after

if TYPE_CHECKING:
    import openai

_LOG = logging.getLogger(__name__)
# Remedies by HTTP status for faults of the key, the account, the address or the model: other requests would fail too.
_REMEDIES = {
    401: "set OPENAI_API_KEY, or for a judge JUDGE_API_KEY, to a key of this endpoint",
    402: "its account has no money",
    403: "the key may not use this model",
    404: "check --teacher and --base-url",
    429: "its account has no money",
}
_FATAL = (401, 402, 403, 404)
_TRANSIENT = (408, 409)  # below 500
_NO_MONEY = "insufficient_quota"  # OpenAI: a 429 that waiting does not cure
MAX_CONCURRENCY = 64
"""Requests in flight where neither the recipe nor the server sets a limit."""
_RETRIES_AT_FIRST = 3
_MAX_REFUSED = 600.0  # seconds after which the run stops, if every answer is a 429 or Retry-After is longer
_FIRST_WAIT, _MAX_WAIT, _MAX_ASKED = 0.5, 8.0, 120.0  # seconds between retries, as in the openai client
_WINDOW = 100  # answers, to distinguish a failing endpoint from chance
_IGNORED_LIMIT = 3  # replies cut off empty, after which the limit of the reply is dropped
_IGNORED_SCHEMA = 8  # after so many unusable replies and no usable one, the server ignores the schema
_MAX_UNANSWERED = 8  # after so many unanswered requests, and none answered, the endpoint is at fault
_MIN_BYTES_PER_TOKEN = 2  # hardly a tokenizer makes more tokens of a text, in any language
_BYTES_PER_TOKEN = 4  # an average, for the estimate of tokens per minute; the real number is charged later
_PROBE = {"messages": [{"role": "user", "content": "Answer with the word yes."}]}


class Sender:
    """Sends requests to one endpoint, at most `concurrency` at once (None: adapted), and records replies."""

    def __init__(
        self, endpoint: Endpoint, journal: Journal, settings: TeacherSettings, concurrency: int | None
    ) -> None:
        self.endpoint, self.journal, self._settings = endpoint, journal, settings
        self.request_format = RequestFormat(settings.structured)
        self._throttle = Throttle(concurrency, settings.rpm, settings.tpm, MAX_CONCURRENCY)
        self.has_answered = any(one.requests > one.failed for one in journal.usage() if one.model == endpoint.model)
        self._usable = self._unusable = self._cut_empty = 0
        self._has_no_usage = False
        self._last_good = 0.0
        self._recent: deque[str] = deque(maxlen=_WINDOW)
        self._unanswered: list[Record] = []
        self._waiting: list[tuple[Record, asyncio.Future[Entry]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def send(self, body: Body, prompt: Prompt) -> Entry:
        """Send a request until it is answered; return the validated reply, or an error that begins with NO_ANSWER.

        Raise TeacherError if the endpoint is at fault, not the request: then nothing is recorded.
        """
        import openai

        try:
            return await self._send_with_retries(body, prompt)
        except openai.APIError:
            # If the endpoint does not answer the simplest request either, it is at fault and the run stops. Otherwise
            # the request is sent once more: the fault may have been transient.
            await self._probe(body["model"])
            try:
                return await self._send_with_retries(body, prompt, retries=0)
            except openai.APIError as error:
                return Entry("", f"{NO_ANSWER}: {self.endpoint.explain(error)}")

    async def keep(self, record: Record) -> Entry:
        """Commit a reply; return the entry that stands for its request, which is the first one recorded."""
        error = record.entry.error
        if not self.has_answered and (error.startswith(NO_ANSWER) or error == NOT_A_COMPLETION):
            self._unanswered.append(record)
            if len(self._unanswered) >= _MAX_UNANSWERED:
                self.require_answers()
            return record.entry
        held, self._unanswered = self._unanswered, []
        for other in held if self.has_answered else ():
            await self._write(other)
        return await self._write(record)

    def require_answers(self) -> None:
        """Raise TeacherError if there were requests and none was ever answered."""
        if self._unanswered:
            raise self._stopped_by(f"refuses whatever it is asked: {self._unanswered[-1].entry.error}")

    def reset(self) -> None:
        """Forget earlier failures: the endpoint may work again after a stop."""
        self._recent.clear()
        self._unanswered.clear()
        self._usable = self._unusable = 0

    async def _send_with_retries(self, body: Body, prompt: Prompt, retries: int | None = None) -> Entry:
        import openai

        if retries is None:  # a wrong address or a dead server should be reported within seconds
            most = self._settings.max_retries
            retries = most if self.has_answered else min(most, _RETRIES_AT_FIRST)
        failures = 0
        while True:
            self._check()
            try:
                if entry := await self._send_once(body, prompt):
                    return entry
            except openai.APIError as error:
                status = getattr(error, "status_code", None)
                if status in _FATAL and not (status == 403 and self.has_answered):  # else it is about this request
                    raise self._stop(error) from None
                if not failures:
                    self._recent.append(type(error).__name__)
                failures += 1
                if failures > retries or (status and status < 500 and status not in _TRANSIENT):
                    raise
                await asyncio.sleep(_wait(failures, error))

    async def _send_once(self, body: Body, prompt: Prompt) -> Entry | None:
        """Send a request; return None if another format or a later time may be accepted."""
        import openai

        client = await self.endpoint.connect()
        async with self._throttle.slot(sum(max_request_tokens(body)) // _BYTES_PER_TOKEN) as slot:
            start, version = time.monotonic(), self.request_format.version
            repair = not self.request_format.enforces_schema
            sent = self.request_format.translate(body)
            try:
                response, payload = await _post(client, sent)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if version != self.request_format.version or self.request_format.adapt(error):
                    return None
                raise
            except openai.RateLimitError as error:
                await asyncio.sleep(self._throttle.refused(slot, self._check_refusal(error)))
                return None
            self._last_good = time.monotonic()
            entry = read_completion(payload, prompt, self._last_good - start, repair=repair)
            entry = replace(entry, text=self.endpoint.hide_key(entry.text), raw=self.endpoint.hide_key(entry.raw))
            if not (entry.input_tokens or entry.output_tokens or self.endpoint.local_model):
                entry = self._estimate_usage(entry, body)
            self._throttle.succeeded(slot, response.headers, entry.input_tokens + entry.output_tokens)
        self._count(entry)
        return entry

    async def _probe(self, model: str) -> None:
        import openai

        client = await self.endpoint.connect()
        try:
            async with self._throttle.slot():
                await _post(client, {"model": model, **_PROBE})
        except openai.RateLimitError:
            pass  # it is alive
        except openai.APIError as error:
            raise self._stop(error) from None

    def _check_refusal(self, error: "openai.RateLimitError") -> float | None:
        """Return the Retry-After of a 429 in seconds; stop the run if waiting does not help."""
        if _NO_MONEY in (error.code, error.type):
            raise self._stop(error) from None
        asked = retry_after(error.response.headers)
        now = time.monotonic()
        self._last_good = self._last_good or now
        if (asked or 0) > _MAX_REFUSED or now - self._last_good > _MAX_REFUSED + (asked or 0):
            wait = f" and asks to wait for {asked:,.0f} seconds" if asked else ""
            raise self._stopped_by(f"refuses all requests as too many{wait}: {self.endpoint.explain(error)}")
        return asked

    def _estimate_usage(self, entry: Entry, body: Body) -> Entry:
        """Return a reply that came without usage with a cautious estimate of its tokens, so that a budget holds."""
        if not self._has_no_usage:
            self._has_no_usage = True
            _LOG.warning(
                "%s reports no usage: tokens and cost are estimated, cautiously, from the lengths of the texts",
                self.endpoint.describe(),
            )
        sizes = (max_request_tokens(body)[0], len((entry.raw or entry.text).encode()))
        tokens = [size // _MIN_BYTES_PER_TOKEN + 1 for size in sizes]
        return replace(entry, input_tokens=tokens[0], output_tokens=tokens[1])

    def _count(self, entry: Entry) -> None:
        if entry.error == CUT_OFF and not entry.text:  # hidden reasoning used up the limit of the reply
            self._cut_empty += 1
            if self._cut_empty >= _IGNORED_LIMIT and self.request_format.drop_limit():
                _LOG.warning(
                    "%d replies were cut off before their first word, as by hidden reasoning: from now on requests are "
                    "sent without a limit of the reply's length, and can cost more than estimated",
                    self._cut_empty,
                )
        if not entry.error:
            self._usable += 1
            self.has_answered = True
        elif entry.error in (NOT_JSON, NOT_BY_SCHEMA, EMPTY):
            self._unusable += 1
            if not self._usable and self._unusable >= _IGNORED_SCHEMA:
                self._unusable = 0
                self.request_format.step_down()
        self._recent.append("" if entry.error == REFUSED else entry.error)  # a refusal of the model is no failure

    def _check(self) -> None:
        """Stop the run if too many of the last answers failed: more would cost time and money for nothing."""
        failed = [kind for kind in self._recent if kind]
        if len(self._recent) == _WINDOW and len(failed) > self._settings.max_failing * _WINDOW:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(failed).most_common())
            raise self._stopped_by(
                f"fails too often: {len(failed)} of its last {_WINDOW} answers were unusable ({kinds}). See them with "
                "`auto-instruct journal OUT --export-failures FILE`, then try --structured text or another model"
            )

    def _stop(self, error: Exception) -> TeacherError:
        remedy = _REMEDIES.get(getattr(error, "status_code", 0))
        words = f"refuses to answer ({remedy})" if remedy else "does not answer"
        return self._stopped_by(f"{words}: {self.endpoint.explain(error)}")

    def _stopped_by(self, reason: str) -> TeacherError:
        return TeacherError(
            f"the teacher {self.endpoint.describe()} {reason}. Everything answered so far is in "
            f"{self.journal.path}; run the same command again to go on from there"
        )

    async def _write(self, record: Record) -> Entry:
        written: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())
        with self._throttle.recording():
            return await written

    async def _commit(self) -> None:
        """Commit records in groups: those that arrive during a commit share the next one."""
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                entries = await asyncio.to_thread(self.journal.record, [record for record, _ in group])
            except Exception as error:  # any error: nobody may wait forever
                for _, written in group:
                    if not written.done():
                        written.set_exception(error)
                continue
            for (_, written), entry in zip(group, entries, strict=True):
                if not written.done():  # it was cancelled
                    written.set_result(entry)


async def _post(client: "openai.AsyncOpenAI", body: Body) -> tuple[httpx2.Response, object]:
    """Return the response and its JSON; raise the client's error for one inside an answer with status 200, too."""
    # The client's method for endpoints it does not know: it returns the response unparsed.
    response = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
    payload = _parse(response.content)
    if error := find_error(payload):
        # As if the server had sent this status: the client knows its own class of error for each.
        raise client._make_status_error_from_response(
            httpx2.Response(
                error[0] or 502, headers=response.headers, content=response.content, request=response.request
            )
        )
    return response, payload


def _parse(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _wait(failures: int, error: "openai.APIError") -> float:
    """Return the seconds before a retry: Retry-After, or exponential backoff with jitter."""
    response = getattr(error, "response", None)  # none if the connection failed
    asked = None if response is None else retry_after(response.headers)
    if asked is not None and 0 < asked <= _MAX_ASKED:
        return asked
    return float(min(_FIRST_WAIT * 2 ** (failures - 1), _MAX_WAIT) * (1 - 0.25 * random.random()))
