"""The teacher: requests go in, checked replies come out, and nothing that was answered is ever asked again.

Requests run concurrently on an event loop of the teacher's own, in a thread: so phases stay plain functions, one client
keeps its connections for the whole run, and everything works inside a notebook as well.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ..core import default_folder
from ..errors import RecipeError, TeacherError
from ..prompts import Prompt
from ..recipe import TeacherSettings
from .batch import Waves
from .budget import Budget
from .embedded import embedded_server as embedded
from .endpoint import Endpoint
from .exchange import Reply, Request, address, count_attempts, is_final
from .journal import Entry, Journal, Record
from .prices import Cost, Prices, rates_from
from .progress import Progress
from .sender import MOST_AT_ONCE, Sender
from .writer import Writer

# What is in flight when a run must stop is paid for: worth a short wait, in seconds.
_GRACE = 10.0

_Result = TypeVar("_Result")
Listener = Callable[[str, Request, Reply], object]


class Teacher:
    """A language model behind an OpenAI-compatible endpoint, with a journal.

    Args:
        model: The model's name; `embedded` for the one that comes with the package; None: `gpt-4o` where there is a
            key, else the embedded one.
        base_url: The endpoint; None: OPENAI_BASE_URL, else OpenAI's.
        api_key: Its key; None: OPENAI_API_KEY. Never written anywhere.
        journal: File of the journal; None: `journal.sqlite` in a folder of our own in the cache of `datasets`. Replies
            are kept by model and request: for two endpoints that serve different models by one name, use two journals.
        settings: Rates, budget, retries and the like; `model` and `base_url` in it stand where none is given here.

    Raises:
        RecipeError: If there is an address but neither a model nor a key, the key is no key, or there is a budget but
            no price.
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
        self.endpoint = Endpoint(model, base_url, api_key, self._settings)
        self.model = self.endpoint.model
        self.is_embedded = self.endpoint.is_embedded
        self.describe = self.endpoint.describe
        given = rates_from(self._settings)
        self.prices = Prices({self.model: given} if given else {})
        if self._settings.budget is not None and self.prices.find(self.model) is None:
            raise RecipeError(
                f"a budget needs a price, and that of {self.model} is not known: give teacher.input_price and "
                "teacher.output_price in the recipe (US dollars a million tokens)"
            )
        self.journal = Journal(Path(journal or default_folder() / "journal.sqlite"))
        self._budget = Budget(self._settings.budget, self._spent_as_known)
        concurrency = embedded.SLOTS if self.is_embedded else self._settings.concurrency
        self._sender = Sender(self.endpoint, self._settings, concurrency, self._stopped_by)
        self._writer = Writer(self.journal, self._sender, self._stopped_by)
        self._sender.has_answered = any(
            one.requests > one.failed for one in self.journal.usage() if one.model == self.model
        )
        self.concurrency = concurrency
        """Requests in flight at most; None: it adapts."""
        self._waves: Waves | None = None
        if self._settings.batch and not self.is_embedded:
            self._waves = Waves(
                self.model, self.journal, self.endpoint, self._sender, self._budget, self.prices, self._settings
            )
        # Some wait for the disk while others wait for the endpoint.
        self._num_workers = (concurrency or MOST_AT_ONCE) * 5 // 4 + 4
        self.expected: Mapping[str, float | None] = {}
        self._listeners: list[Listener] = []
        self._phase = ""
        self._progress: Progress | None = None
        self._in_flight: dict[str, asyncio.Task[Entry]] = {}
        self._closing = threading.Lock()
        self._loop = asyncio.new_event_loop()
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
        return {"model": self.model, "attempts": self._settings.max_attempts}

    def close(self) -> None:
        """Close the connections, the journal and the embedded server, if it runs. Once closed, it stays closed."""
        with self._closing:
            if self._loop.is_closed():
                return
            self._run(self._finish())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            if self._waves:
                self._waves.close()
            self.journal.close()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer requests, concurrently, each from the journal where it has been answered before.

        Args:
            requests: What to ask.

        Returns:
            One reply a request, in their order. One that stays unusable after all attempts carries its error.

        Raises:
            TeacherError: If the endpoint cannot be reached, rejects the key, refuses whatever it is asked, or fails too
                often. What was answered until then is in the journal.
            BudgetError: If the budget is used up.
        """
        return self._run(self._ask_all(requests))

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Tell of each reply inside: its phase, its request, the reply, in the order of the requests.

        Args:
            listener: Called in the teacher's thread.

        Yields:
            Nothing.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def expect(self, dollars: Mapping[str, float | None]) -> None:
        """Show in the progress bar what phases are expected to cost: US dollars by phase, in their order."""
        self.expected = dollars

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
        names = list(self.expected)
        later = [self.expected[one] for one in names[names.index(name) + 1 :]] if name in names else [None]
        self._progress = Progress(
            name, total, lambda: self.spent().dollars, None if None in later else sum(one or 0.0 for one in later)
        )
        try:
            yield self._progress
        finally:
            self._progress.close()
            self._progress = None

    def spent(self) -> Cost:
        """Return what all requests in the journal cost."""
        return sum(map(self.prices.price, self.journal.usage()), Cost(0.0))

    def _spent_as_known(self) -> float:
        """Return US dollars; what another model cost earlier, of which no price is known, cannot count."""
        return sum(self.prices.price(usage).dollars or 0.0 for usage in self.journal.usage())

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
        await self.endpoint.close()

    async def _ask_all(self, requests: Sequence[Request]) -> list[Reply]:
        try:
            return await self._ask_each(requests)
        except BaseException:  # whatever ended it: the next call may find the fault mended
            self._sender.start_anew()
            self._writer.start_anew()
            raise

    async def _ask_each(self, requests: Sequence[Request]) -> list[Reply]:
        if self._waves:
            async for key, body, entry in self._waves.ask(requests, self._phase, self._send_once, self._note):
                await self._writer.keep(Record(key, entry, self._phase, self.model, body, is_batch=True))
        replies: list[Reply | None] = [None] * len(requests)
        waiting = iter(enumerate(requests))

        async def work() -> None:
            for number, request in waiting:
                replies[number] = await self._ask_one(request)

        workers = [asyncio.create_task(work()) for _ in range(min(self._num_workers, len(requests)))]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for _ in waiting:  # where one failed: nothing new is asked
                pass
            await asyncio.wait(workers, timeout=_GRACE)
        finally:
            for worker in workers:
                worker.cancel()
            ended = await asyncio.gather(*workers, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        self._writer.check()
        answered = [reply for reply in replies if reply is not None]
        for request, reply in zip(requests, answered, strict=True):
            for listener in self._listeners:
                listener(self._phase, request, reply)
        return answered

    async def _ask_one(self, request: Request) -> Reply:
        entry, entries, is_known = Entry("", "never asked"), [], True
        for attempt in range(count_attempts(request, self._settings.max_attempts)):
            key, body = address(request, self.model, attempt)
            known = self.journal.get(key)
            is_known = is_known and known is not None
            entry = known or await self._send_once(key, body, request.prompt)
            entries.append(entry)
            if is_final(entry):
                break
        if self._progress is not None:
            self._progress.advance(is_known=is_known)
        # What a server says of its own failure stays in the journal: it may name accounts, and no two are alike.
        reason = entry.error.partition(":")[0]
        return Reply(
            None if reason else json.loads(entry.text),
            reason,
            attempts=len(entries),
            input_tokens=sum(one.input_tokens for one in entries),
            output_tokens=sum(one.output_tokens for one in entries),
            seconds=sum(one.seconds for one in entries),
        )

    async def _send_once(self, key: str, body: dict[str, Any], prompt: Prompt) -> Entry:
        """Send a request, or wait for the same one that is in flight already."""
        if key not in self._in_flight:
            self._in_flight[key] = asyncio.create_task(self._send(key, body, prompt))
            self._in_flight[key].add_done_callback(lambda _: self._in_flight.pop(key, None))
        return await self._in_flight[key]

    async def _send(self, key: str, body: dict[str, Any], prompt: Prompt) -> Entry:
        async with self._budget.room(body, self.prices.find(self.model)):
            entry = await self._sender.send(body, prompt)
            return await self._writer.keep(Record(key, entry, self._phase, self.model, body))

    def _note(self, text: str) -> None:
        if self._progress is not None:
            self._progress.note(text)

    def _stopped_by(self, reason: str) -> TeacherError:
        return TeacherError(
            f"the teacher {self.describe()} {reason}. Everything answered so far is in "
            f"{self.journal.path}; run the same command again to go on from there"
        )
