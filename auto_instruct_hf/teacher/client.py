"""The teacher: requests go in, checked replies come out, and nothing that was answered is ever asked again.

Requests run concurrently on an event loop of the teacher's own, in a thread: so phases stay plain functions, one client
keeps its connections for the whole run, and everything works inside a notebook as well.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import openai

from ..errors import TeacherError
from ..prompts import Prompt
from ..recipe import TeacherSettings
from ..transform import default_folder
from . import embedded
from .endpoint import Endpoint
from .exchange import NOT_A_COMPLETION, Reply, Request, read_completion
from .journal import Entry, Journal
from .prices import Cost, price
from .progress import Progress

# No other request would fare better.
_FATAL = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
    openai.RateLimitError,
)
_NO_ANSWER = "no answer"
_RETRIES_AT_FIRST = 3
# So many requests without an answer, and none with one: it is not the requests.
_HOPELESS = 8
# One attempt's draw numbers stay clear of another's.
_NEXT_ATTEMPT = 1_000_003
# Servers differ in how many bits a seed may have.
_SEEDS = 2**31
# At temperature 0 another draw would only repeat the reply that was not usable.
_TEMPERATURE_OF_RETRIES = 0.7
_PROBE = [{"role": "user", "content": "Answer with the word yes."}]

_Result = TypeVar("_Result")


class Teacher:
    """A language model behind an OpenAI-compatible endpoint, with a journal.

    Args:
        model: The model's name; `embedded` for the one that comes with the package; None: `gpt-4o` where there is a
            key, else the embedded one.
        base_url: The endpoint; None: OPENAI_BASE_URL, else OpenAI's.
        api_key: Its key; None: OPENAI_API_KEY. Never written anywhere.
        journal: File of the journal; None: `journal.sqlite` in a folder of our own in the cache of `datasets`. Replies
            are kept by model and request: for two endpoints that serve different models by one name, use two journals.
        settings: Concurrency, retries and the like; `model` and `base_url` in it stand where none is given here.

    Raises:
        RecipeError: If there is an address but neither a model nor a key, or the key is no key.
        TeacherError: If the journal cannot be opened.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        journal: str | Path | None = None,
        settings: TeacherSettings | None = None,
    ) -> None:
        self._settings = settings or TeacherSettings()
        self._endpoint = Endpoint(model, base_url, api_key, self._settings)
        self.model = self._endpoint.model
        self.is_embedded = self._endpoint.is_embedded
        self.describe = self._endpoint.describe
        self.journal = Journal(Path(journal or default_folder() / "journal.sqlite"))
        self._phase = ""
        self._progress: Progress | None = None
        self._in_flight: dict[str, asyncio.Task[Entry]] = {}
        self._has_answered = any(one.requests > one.failed for one in self.journal.usage() if one.model == self.model)
        self._unanswered: list[tuple[str, Entry, dict[str, Any]]] = []
        self._closing = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(embedded.SLOTS if self.is_embedded else self._settings.concurrency)
        self._thread = threading.Thread(target=self._loop.run_forever, name="teacher", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Teacher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Teacher({self.model!r})"

    @property
    def prompts(self) -> str:
        """The set of prompts that suits the model."""
        return "small" if self.is_embedded else "default"

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the replies besides the requests, for a fingerprint."""
        return {"model": self.model, "attempts": self._settings.attempts}

    def close(self) -> None:
        """Close the connections, the journal and the embedded server, if it runs. Once closed, it stays closed."""
        with self._closing:
            if self._loop.is_closed():
                return
            self._run(self._finish())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self.journal.close()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer requests, concurrently, each from the journal where it has been answered before.

        Args:
            requests: What to ask.

        Returns:
            One reply a request, in their order. One that stays unusable after all attempts carries its error.

        Raises:
            TeacherError: If the endpoint cannot be reached, rejects the key, or refuses whatever it is asked. What was
                answered until then is in the journal.
        """
        return self._run(self._ask_all(requests))

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Progress]:
        """Count requests made inside under a phase, and show their progress and cost.

        Args:
            name: The phase.
            total: How many requests there will be; None: not known.

        Yields:
            The progress bar, to show a note in.
        """
        self._phase = name
        self._progress = Progress(name, total, lambda: str(self.spent()))
        try:
            yield self._progress
        finally:
            self._progress.close()
            self._progress = None

    def spent(self) -> Cost:
        """Return what all requests in the journal cost at list price."""
        return sum((price(usage) for usage in self.journal.usage()), Cost(0.0))

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of this thread ends the requests in flight
            raise

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._endpoint.close()

    async def _ask_all(self, requests: Sequence[Request]) -> list[Reply]:
        self._unanswered.clear()  # of a call that was given up
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask_one(request)) for request in requests]
        except ExceptionGroup as group_of_errors:
            raise group_of_errors.exceptions[0] from None
        if self._unanswered:  # and nothing was ever answered
            raise self._give_up()
        return [task.result() for task in tasks]

    async def _ask_one(self, request: Request) -> Reply:
        entry = Entry("", "never asked")
        for attempt in range(self._settings.attempts):
            body = self._body(request, attempt)
            key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
            entry = self.journal.get(key) or await self._send_once(key, body, request.prompt)
            # The client has retried a request without an answer already; another draw is for another answer.
            if not entry.error or entry.error.startswith(_NO_ANSWER):
                break
        if self._progress is not None:
            self._progress.advance()
        # What a server says of its own failure stays in the journal: it may name accounts, and no two are alike.
        reason = entry.error.partition(":")[0]
        return Reply(None, reason) if reason else Reply(json.loads(entry.text))

    def _body(self, request: Request, attempt: int) -> dict[str, Any]:
        prompt = request.prompt
        temperature = prompt.temperature if attempt == 0 else max(prompt.temperature, _TEMPERATURE_OF_RETRIES)
        schema = {"name": prompt.name, "strict": True, "schema": prompt.schema}
        return {
            "model": self.model,
            "messages": request.messages,
            "temperature": temperature,
            "max_tokens": prompt.max_tokens * request.items,
            "seed": (request.draw + attempt * _NEXT_ATTEMPT) % _SEEDS,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }

    async def _send_once(self, key: str, body: dict[str, Any], prompt: Prompt) -> Entry:
        """Send a request, or wait for the same one that is in flight already."""
        if key not in self._in_flight:
            self._in_flight[key] = asyncio.create_task(self._send(key, body, prompt))
            self._in_flight[key].add_done_callback(lambda _: self._in_flight.pop(key, None))
        return await self._in_flight[key]

    async def _send(self, key: str, body: dict[str, Any], prompt: Prompt) -> Entry:
        async with self._slots:
            start = time.monotonic()
            try:
                completion = await self._create(body)
            except openai.APIError:
                # Whose fault is it? The endpoint's, if it does not answer the simplest request either: that stops the
                # run, and nothing is held against this request. Else it gets another chance: the fault may be over.
                await self._create({"model": self.model, "messages": _PROBE}, is_probe=True)
                try:
                    completion = await self._create(body)
                except openai.APIError as error:
                    return self._fail(key, Entry("", f"{_NO_ANSWER}: {self._endpoint.explain(error)}"), body)
            entry = read_completion(completion, prompt, time.monotonic() - start)
            if entry.error == NOT_A_COMPLETION:  # a login page, say: as much as no answer
                return self._fail(key, entry, body)
            return self._record(key, entry, body)

    async def _create(self, body: dict[str, Any], is_probe: bool = False) -> object:
        client = await self._endpoint.connect()
        if not self._has_answered:  # a wrong address or a dead server should not take a minute to be told
            client = client.with_options(max_retries=min(self._settings.retries, _RETRIES_AT_FIRST))
        try:
            return await client.chat.completions.create(**body)
        except (json.JSONDecodeError, UnicodeDecodeError):  # a body that is not JSON; the client lets it through
            return None
        except openai.APIError as error:
            if is_probe or isinstance(error, _FATAL):
                raise TeacherError(self._stopped_by(self._endpoint.explain(error))) from None
            raise

    def _fail(self, key: str, entry: Entry, body: dict[str, Any]) -> Entry:
        """Record that a request gets no answer; but not before any has got one: then the fault may be in all."""
        if self._has_answered:
            return self._record(key, entry, body)
        self._unanswered.append((key, entry, body))
        if len(self._unanswered) >= _HOPELESS:
            raise self._give_up()
        return entry

    def _record(self, key: str, entry: Entry, body: dict[str, Any]) -> Entry:
        if not entry.error:
            self._has_answered = True
            while self._unanswered:
                self._record(*self._unanswered.pop())
        return self.journal.record(key, entry, phase=self._phase, model=self.model, request=body)

    def _give_up(self) -> TeacherError:
        reason = self._unanswered[-1][1].error
        return TeacherError(self._stopped_by(f"it refuses whatever it is asked: {reason}"))

    def _stopped_by(self, reason: str) -> str:
        return (
            f"the teacher {self.describe()} does not answer: {reason}. Everything answered so far is in "
            f"{self.journal.path}; run the same command again to go on from there"
        )
