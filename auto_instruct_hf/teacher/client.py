"""The teacher: requests go in, checked replies come out, and nothing that was answered is ever asked again.

Requests run concurrently on an event loop of the teacher's own, in a thread: so phases stay plain functions, one client
keeps its connections for the whole run, and everything works inside a notebook as well.
"""

import asyncio
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import datasets
import openai
from openai.types.chat import ChatCompletion

from ..errors import TeacherError
from ..prompts import Message, Prompt
from ..recipe import TeacherSettings
from . import embedded
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
_Result = TypeVar("_Result")
# One attempt's draw numbers stay clear of another's.
_NEXT_ATTEMPT = 1_000_003
# Servers differ in how many bits a seed may have.
_SEEDS = 2**31
_NO_ANSWER = "no answer"
# After so many requests without an answer the endpoint itself is in doubt.
_DOUBTFUL = 8
_EMBEDDED = "embedded"
_DEFAULT_MODEL = "gpt-4o"
# At temperature 0 another draw would only repeat the reply that was not usable.
_TEMPERATURE_OF_RETRIES = 0.7


@dataclass(frozen=True)
class Request:
    """What to ask: messages made from a prompt, and a draw number that tells repeated requests apart."""

    prompt: Prompt
    messages: Sequence[Message]
    draw: int = 0


@dataclass(frozen=True)
class Reply:
    """What came back: an object valid under the prompt's schema, or None with the reason."""

    content: dict[str, Any] | None
    error: str = ""


class Teacher:
    """A language model behind an OpenAI-compatible endpoint, with a journal.

    Args:
        model: The model's name; `embedded` for the one that comes with the package; None: `gpt-4o` where OPENAI_API_KEY
            is set, else the embedded one.
        base_url: The endpoint; None: OPENAI_BASE_URL, else OpenAI's.
        api_key: Its key; None: OPENAI_API_KEY. Never written anywhere.
        journal: File of the journal; None: `journal.sqlite` in a folder of our own in the cache of `datasets`.
        settings: Concurrency, retries and the like; `model` and `base_url` in it stand where none is given here.
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
        self._base_url = base_url or self._settings.base_url or os.environ.get("OPENAI_BASE_URL")
        self._api_key = api_key or os.environ.get("OPENAI_API_KEY")
        model = model or self._settings.model or (_DEFAULT_MODEL if self._api_key else _EMBEDDED)
        self.is_embedded = model in (_EMBEDDED, embedded.MODEL)
        self.model = embedded.MODEL if self.is_embedded else model
        default = Path(datasets.config.HF_DATASETS_CACHE) / "auto_instruct_hf" / "journal.sqlite"
        self.journal = Journal(Path(journal or default))
        self._phase = ""
        self._progress: Progress | None = None
        self._unanswered: list[tuple[str, Entry, dict[str, Any]]] = []
        self._client: openai.AsyncOpenAI | None = None
        self._stop_server: Callable[[], None] | None = None
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

    @property
    def prompts(self) -> str:
        """The set of prompts that suits the model."""
        return "small" if self.is_embedded else "default"

    def describe(self) -> str:
        """Return the model and where it answers, without secrets."""
        where = "this machine's CPU" if self.is_embedded else self._base_url or "https://api.openai.com/v1"
        return f"{self.model} at {_without_password(where)}"

    def __repr__(self) -> str:
        return f"Teacher({self.model!r})"

    def close(self) -> None:
        """Close the connections, the journal and the embedded server, if it runs."""
        if self._client is not None:
            self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._stop_server is not None:
            self._stop_server()
        self.journal.close()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer requests, concurrently, each from the journal where it has been answered before.

        Args:
            requests: What to ask.

        Returns:
            One reply a request, in their order. One that stays unusable after all attempts carries its error.

        Raises:
            TeacherError: If the endpoint cannot be reached, rejects the key, or fails again and again. What was
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

    async def _ask_all(self, requests: Sequence[Request]) -> list[Reply]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask_one(request)) for request in requests]
            await self._settle()
        except ExceptionGroup as group_of_errors:
            raise group_of_errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask_one(self, request: Request) -> Reply:
        entry = Entry("", "never asked")
        for attempt in range(self._settings.attempts):
            body = self._body(request, attempt)
            key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
            entry = self.journal.get(key) or await self._send(key, body, request.prompt)
            # The client has retried a request without an answer already; another draw is for another answer.
            if not entry.error or entry.error.startswith(_NO_ANSWER):
                break
        if self._progress is not None:
            self._progress.advance()
        return Reply(None, entry.error) if entry.error else Reply(json.loads(entry.text))

    def _body(self, request: Request, attempt: int) -> dict[str, Any]:
        prompt = request.prompt
        temperature = prompt.temperature if attempt == 0 else max(prompt.temperature, _TEMPERATURE_OF_RETRIES)
        schema = {"name": prompt.name, "strict": True, "schema": prompt.schema}
        return {
            "model": self.model,
            "messages": request.messages,
            "temperature": temperature,
            "max_tokens": prompt.max_tokens,
            "seed": (request.draw + attempt * _NEXT_ATTEMPT) % _SEEDS,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }

    async def _send(self, key: str, body: dict[str, Any], prompt: Prompt) -> Entry:
        async with self._slots:
            client = self._client or self._connect()
            start = time.monotonic()
            try:
                completion = await client.chat.completions.create(**body)
            except _FATAL as error:
                raise TeacherError(self._explain(error)) from None
            except openai.APIError as error:
                entry = Entry("", f"{_NO_ANSWER}: {self._clean(error)}")
                self._unanswered.append((key, entry, body))
                if len(self._unanswered) == _DOUBTFUL:
                    await self._settle()
                return entry
            except ValueError:  # a body that is not JSON; the client lets it through
                completion = None
            entry = _read(completion, prompt, time.monotonic() - start)
            self.journal.record(key, entry, phase=self._phase, model=self.model, request=body)
            return entry

    async def _settle(self) -> None:
        """Find out whose fault it is that requests got no answer: theirs, and they have failed; or the endpoint's.

        Raises:
            TeacherError: If the endpoint does not answer the simplest request either. Then nothing is recorded, and
                a later run asks again.
        """
        if not self._unanswered:
            return
        client = self._client or self._connect()
        probe: Any = {"model": self.model, "messages": [{"role": "user", "content": "Answer with the word yes."}]}
        try:
            await client.chat.completions.create(**probe)
        except openai.APIError as error:
            self._unanswered.clear()
            raise TeacherError(self._explain(error)) from None
        while self._unanswered:
            key, entry, body = self._unanswered.pop()
            self.journal.record(key, entry, phase=self._phase, model=self.model, request=body)

    def _connect(self) -> openai.AsyncOpenAI:
        base_url, api_key = self._base_url, self._api_key
        if self.is_embedded:
            (base_url, api_key), self._stop_server = embedded.serve()
        if not api_key and not base_url:
            raise TeacherError(f"the teacher {self.model} needs a key: set OPENAI_API_KEY, or name another endpoint")
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",  # servers on one's own machine ask for no key, the client does
            max_retries=self._settings.retries,
            timeout=self._settings.timeout,
        )
        return self._client

    def _explain(self, error: openai.APIError) -> str:
        return (
            f"the teacher {self.describe()} does not answer: {self._clean(error)}. Everything answered so far is in "
            f"{self.journal.path}; run the same command again to go on from there"
        )

    def _clean(self, error: openai.APIError) -> str:
        """Return one line of an error without the key, which some servers repeat."""
        text = " ".join(f"{type(error).__name__}: {error.__cause__ or error}".split())
        return (text.replace(self._api_key, "***") if self._api_key else text)[:300]


def _read(completion: object, prompt: Prompt, seconds: float) -> Entry:
    """Check a reply on arrival: whole, not refused, JSON, valid under the schema that was sent."""
    if not isinstance(completion, ChatCompletion) or not completion.choices or not completion.choices[0].message:
        return Entry("", "not a chat completion", seconds=seconds)
    usage, choice = completion.usage, completion.choices[0]
    details = usage and usage.prompt_tokens_details
    # Half of a surrogate pair cannot be stored anywhere.
    text = (choice.message.refusal or choice.message.content or "").encode("utf-8", "replace").decode()
    return Entry(
        text=text,
        error=_fault(text, choice.finish_reason, bool(choice.message.refusal), prompt),
        input_tokens=(usage and usage.prompt_tokens) or 0,
        cached_tokens=(details and details.cached_tokens) or 0,
        output_tokens=(usage and usage.completion_tokens) or 0,
        seconds=seconds,
    )


def _fault(text: str, finish_reason: str, is_refusal: bool, prompt: Prompt) -> str:
    if is_refusal or finish_reason == "content_filter":
        return "refused"
    if finish_reason == "length":
        return "cut off"
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "not JSON"
    return "" if prompt.accepts(content) else "not as the schema asks"


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
