"""How one request gets its answer: in words the endpoint takes, in its turn, and again where that may help."""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import openai

from ..errors import TeacherError
from ..prompts import Prompt
from ..recipe import TeacherSettings
from .batch import Answer
from .budget import most_tokens
from .dialect import Dialect
from .endpoint import Endpoint
from .exchange import NO_ANSWER, NOT_BY_SCHEMA, NOT_JSON, REFUSED, read_completion
from .journal import Entry
from .pacing import Throttle, retry_after

# HTTP status by which no other request would fare better: the key, the account, the address or the model is wrong.
_REMEDIES = {
    401: "set OPENAI_API_KEY, or for a judge JUDGE_API_KEY, to a key of this endpoint",
    402: "its account has no money",
    403: "the key may not use this model",
    404: "check --teacher and --base-url",
    429: "its account has no money",
}
_FATAL = (401, 402, 403, 404)
# And those below 500 by which the same request may.
_PASSING = (408, 409)
# OpenAI's word for an account without money: a 429 that no wait cures.
_NO_MONEY = "insufficient_quota"
# Where nobody says how many. A server that takes more has --recipe teacher.concurrency.
MOST_AT_ONCE = 64
_LEFT_OVER = "left over from a batch"
_RETRIES_AT_FIRST = 3
# Ours: where every answer is "too many requests", or asks for a longer wait, the user should know.
_LONGEST_REFUSAL = 600.0
# As the openai client waits between retries: seconds.
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_ASKED = 0.5, 8.0, 120.0
# Of so many answers; enough to tell a dying endpoint from bad luck.
_WINDOW = 100
# So many unusable replies and none usable: the server does not hold the model to the schema, whatever it was asked.
_IGNORED_SCHEMA = 8
# A rough mean over languages and tokenizers, for the reservation of tokens a minute; what was used is charged after.
_BYTES_A_TOKEN = 4
_PROBE = {"messages": [{"role": "user", "content": "Answer with the word yes."}]}


class _PutDifferentlyError(Exception):
    """The endpoint does not take the request as it was put, and there is another way."""


class Sender:
    """Sends requests to one endpoint.

    Args:
        endpoint: Where.
        settings: Rates, retries and the like.
        concurrency: Requests in flight at most; None: it adapts.
        stopped_by: Makes the error that stops a run, of a reason.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: TeacherSettings,
        concurrency: int | None,
        stopped_by: Callable[[str], TeacherError],
    ) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._stopped_by = stopped_by
        self.dialect = Dialect(settings.structured)
        self.throttle = Throttle(concurrency, settings.rpm, settings.tpm, most=MOST_AT_ONCE)
        self.has_answered = False
        self._usable = self._unusable = 0
        self._last_good = 0.0
        self._recent: deque[str] = deque(maxlen=_WINDOW)

    async def send(self, body: dict[str, Any], prompt: Prompt) -> Entry:
        """Send a request until it is answered.

        Args:
            body: The request, as it is meant.
            prompt: What it was made of.

        Returns:
            The reply, checked; or an entry whose error begins with NO_ANSWER.

        Raises:
            TeacherError: If the endpoint is at fault, not the request: nothing is held against it then.
        """
        try:
            return await self._send_in_turn(body, prompt)
        except openai.APIError:
            # Whose fault is it? The endpoint's, if it does not answer the simplest request either: that stops the run.
            # Else the request gets another chance: the fault may be over.
            await self._probe(body["model"])
            try:
                return await self._send_in_turn(body, prompt, retries=0)
            except openai.APIError as error:
                return Entry("", f"{NO_ANSWER}: {self._endpoint.explain(error)}")

    def start_anew(self) -> None:
        """Forget how earlier requests fared: after a stop the endpoint may have been mended."""
        self._recent.clear()
        self._usable = self._unusable = 0

    def read_answer(self, answer: Answer, prompt: Prompt | None) -> Entry:
        """Check an answer that came in a batch.

        Args:
            answer: The answer.
            prompt: What its request was made of; None: it is not known any more, so the answer only counts as paid.

        Returns:
            The reply, checked; or an entry whose error begins with NO_ANSWER.
        """
        if answer.body is None:
            return Entry("", f"{NO_ANSWER}: {answer.error}")
        known = prompt or Prompt("", "", "", {}, 0.0, 0)
        entry = read_completion(answer.body, known, 0.0, mend=not self.dialect.holds_to_schema)
        return entry if prompt else replace(entry, error=_LEFT_OVER)

    async def _send_in_turn(self, body: dict[str, Any], prompt: Prompt, retries: int | None = None) -> Entry:
        if retries is None:  # a wrong address or a dead server should not take a minute to be told
            retries = (
                self._settings.max_retries if self.has_answered else min(self._settings.max_retries, _RETRIES_AT_FIRST)
            )
        failures = 0
        while True:
            self._check()
            try:
                return await self._send_once(body, prompt)
            except _PutDifferentlyError:
                continue
            except openai.RateLimitError as error:
                await asyncio.sleep(self._bear(error))
            except openai.APIError as error:
                status = getattr(error, "status_code", None)
                if status in _FATAL:
                    raise self._stop(error) from None
                if not failures:
                    self._recent.append(type(error).__name__)
                failures += 1
                if failures > retries or (status and status < 500 and status not in _PASSING):
                    raise
                await asyncio.sleep(_wait(failures, error))

    async def _send_once(self, body: dict[str, Any], prompt: Prompt) -> Entry:
        client = await self._endpoint.connect()
        async with self.throttle.slot(_expected_tokens(body)):
            start, version, mend = time.monotonic(), self.dialect.version, not self.dialect.holds_to_schema
            sent = self.dialect.translate(body)
            try:
                # The client's way for endpoints that it has no method for: the answer is kept as it came.
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=sent)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if version != self.dialect.version or self.dialect.learn(error):
                    raise _PutDifferentlyError from None
                raise
        self._last_good = time.monotonic()
        try:
            payload = json.loads(response.content)
        except ValueError:  # a body that is not JSON
            payload = None
        self.throttle.succeeded(response.headers, _used_tokens(payload))
        entry = read_completion(payload, prompt, self._last_good - start, mend=mend)
        self._learn_from(entry)
        return entry

    async def _probe(self, model: str) -> None:
        client = await self._endpoint.connect()
        try:
            async with self.throttle.slot():
                await client.post("/chat/completions", cast_to=httpx2.Response, body={"model": model, **_PROBE})
        except openai.RateLimitError:
            pass  # it is alive
        except openai.APIError as error:
            raise self._stop(error) from None

    def _bear(self, error: openai.RateLimitError) -> float:
        """Return how many seconds to wait, for "too many requests" is a reason to, unless no wait would help."""
        if _NO_MONEY in (error.code, error.type):
            raise self._stop(error) from None
        asked = retry_after(error.response.headers)
        now = time.monotonic()
        self._last_good = self._last_good or now
        if (asked or 0) > _LONGEST_REFUSAL or now - self._last_good > _LONGEST_REFUSAL + (asked or 0):
            wait = f" and asks to wait for {asked:,.0f} seconds" if asked else ""
            raise self._stopped_by(f"refuses all requests as too many{wait}: {self._endpoint.explain(error)}")
        return self.throttle.refused(asked)

    def _learn_from(self, entry: Entry) -> None:
        if not entry.error:
            self._usable += 1
            self.has_answered = True
        elif entry.error in (NOT_JSON, NOT_BY_SCHEMA):
            self._unusable += 1
            if not self._usable and self._unusable >= _IGNORED_SCHEMA:
                self._unusable = 0
                self.dialect.step_down()
        self._recent.append("" if entry.error == REFUSED else entry.error)  # whoever refuses is alive and well

    def _check(self) -> None:
        """Stop the run when too many of the last answers failed: more would cost time and money for nothing."""
        failed = [kind for kind in self._recent if kind]
        if len(self._recent) == _WINDOW and len(failed) > self._settings.max_failing * _WINDOW:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(failed).most_common())
            raise self._stopped_by(
                f"fails too often: of its last {_WINDOW} answers {len(failed)} were of no use ({kinds})"
            )

    def _stop(self, error: Exception) -> TeacherError:
        remedy = _REMEDIES.get(getattr(error, "status_code", 0))
        words = f"refuses to answer ({remedy})" if remedy else "does not answer"
        return self._stopped_by(f"{words}: {self._endpoint.explain(error)}")


def _wait(failures: int, error: openai.APIError) -> float:
    """Return how long to wait before a retry, in seconds: what the server asks for, else longer each time."""
    asked = retry_after(error.response.headers) if isinstance(error, openai.APIStatusError) else None
    if asked is not None and 0 < asked <= _LONGEST_ASKED:
        return asked
    return float(min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT) * (1 - 0.25 * random.random()))


def _expected_tokens(body: dict[str, Any]) -> int:
    most_input, most_output = most_tokens(body)
    return most_input // _BYTES_A_TOKEN + most_output // _BYTES_A_TOKEN


def _used_tokens(payload: object) -> int:
    usage = payload.get("usage") if isinstance(payload, dict) else None
    return int(usage.get("total_tokens") or 0) if isinstance(usage, dict) else 0
