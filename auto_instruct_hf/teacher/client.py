"""The teacher: takes requests, returns validated replies, and never sends an answered request again.

Requests run concurrently on the teacher's own event loop in a thread, so phases are plain functions, connections are
kept for the whole run, and it works inside a notebook.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..core import default_folder
from ..errors import RecipeError
from ..recipe import TeacherSettings
from .batch import BatchRounds
from .budget import Budget
from .endpoint import Endpoint
from .exchange import NOT_YET, Reply, Request, is_final, is_valid_entry, list_attempts
from .journal import Entry, Journal
from .prices import Cost, Prices, rates_from
from .progress import RequestProgress
from .sender import MAX_CONCURRENCY, Job, Sender
from .shared_ask import SharedAsk

_LOG = logging.getLogger(__name__)
_GRACE = 10.0  # seconds to wait for requests in flight when a run must stop: they are paid for
_Result = TypeVar("_Result")
ReplyListener = Callable[[str, Request, Reply], object]


class Teacher:
    """A language model behind an OpenAI-compatible endpoint, with a journal.

    Args:
        model: The model's name; `embedded` for the one that comes with the package; `PATH.gguf`, `REPO:FILE.gguf` or
            `REPO` on the Hub for a GGUF model on this machine; None: `gpt-4o` if there is a key, else `embedded`.
        base_url: The endpoint; None: OPENAI_BASE_URL, or OpenAI's.
        api_key: Its key; None: OPENAI_API_KEY. Never written anywhere.
        journal: File of the journal; None: `journal.sqlite` in the default cache folder. Replies are kept by model and
            request: for two endpoints that serve different models under one name, use two journals.
        settings: Limits, budget and retries; its `model` and `base_url` apply if none is given here.

    Raises:
        RecipeError: If there is a base URL but neither a model nor a key, the key is not valid, or there is a budget
            but no price.
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
                f"a budget needs a price, and that of {self.model} is not known: set teacher.input_price and "
                "teacher.output_price in the recipe (US dollars per million tokens)"
            )
        self.journal = Journal(Path(journal or default_folder() / "journal.sqlite"))
        self._budget = Budget(self._settings.budget, self.journal, self.prices)
        local = self.endpoint.local_model
        self.concurrency = local.slots if local else self._settings.concurrency
        """Maximum number of requests in flight; None: adapted."""
        self._sender = Sender(self.endpoint, self.journal, self._budget, self._settings, self.concurrency)
        self._batch_rounds: BatchRounds | None = None
        if self._settings.batch and not local:
            self._batch_rounds = BatchRounds(self._sender, self.prices, self._settings)
        self._num_workers = (self.concurrency or MAX_CONCURRENCY) * 5 // 4 + 4  # some wait for the disk
        self.expected: Mapping[str, float | None] = {}
        """Expected cost of phases in US dollars, in their order."""
        self._listeners: list[ReplyListener] = []
        self._phase = ""
        self._progress: RequestProgress | None = None
        self._in_flight: dict[str, asyncio.Task[Entry]] = {}
        self._closing = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="teacher", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Teacher":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Teacher({self.model!r})"

    @property
    def prompts(self) -> str:
        """The name of the set of prompts for the model."""
        local = self.endpoint.local_model
        return "small" if local and local.is_small else "default"

    @property
    def identity(self) -> dict[str, object]:
        """What determines the replies in addition to the requests, for a fingerprint."""
        effort = {"reasoning_effort": self._settings.reasoning_effort} if self._settings.reasoning_effort else {}
        return {"model": self.model, "attempts": self._settings.max_attempts, **effort}

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that make a teacher with the same endpoint, key, journal and limits."""
        base_url, api_key = self.endpoint.base_url_and_key
        return {
            "model": self.model,
            "base_url": base_url,
            "api_key": api_key,
            "journal": self.journal.path.resolve(),
            "settings": self._settings,
        }

    def share(self, phase: str) -> SharedAsk | None:
        """Return what lets workers of an engine ask through one teacher; None: only this process can ask.

        That is so for a model on this machine, and for batches, which are larger the fewer ask.
        """
        is_here = self.endpoint.local_model is not None or self._batch_rounds is not None
        return None if is_here else SharedAsk(self, phase)

    def close(self) -> None:
        """Close the connections, the journal and the embedded server for good."""
        with self._closing:
            if self._loop.is_closed():
                return
            self._run(self._finish())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            if self._batch_rounds:
                self._batch_rounds.close()
            self._budget.close()
            self.journal.close()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer requests concurrently, from the journal if they have been answered before.

        Args:
            requests: The requests.

        Returns:
            One reply per request, in their order; with an error if it is unusable after all attempts.

        Raises:
            TeacherError: If the endpoint cannot be reached, rejects the key or all requests, or fails too often. All
                replies so far are in the journal.
            BudgetError: If the next request might exceed the budget.
        """
        replies = self._run(self._ask_all(requests))
        for request, reply in zip(requests, replies, strict=True):
            for listener in self._listeners:
                listener(self._phase, request, reply)
        return replies

    @contextmanager
    def listening(self, listener: ReplyListener) -> Iterator[None]:
        """Call a listener with phase, request and reply of each request inside, in order."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[RequestProgress]:
        """Assign the requests inside (`total`, or None: unknown) to a phase, and show their progress and cost."""
        self._phase = name
        names = list(self.expected)
        costs = [self.expected[one] for one in names[names.index(name) + 1 :]] if name in names else [None]
        later = None if None in costs else sum(cost or 0.0 for cost in costs)
        self._progress = RequestProgress(name, total, lambda: self.spent().dollars, later)
        try:
            yield self._progress
        finally:
            self._progress.close()
            if not self._progress.is_final:
                _LOG.warning(
                    "%s: some requests were not answered, though others were: run the same command again to send them "
                    "again",
                    name,
                )
            self._progress = None

    def expect(self, dollars_by_phase: Mapping[str, float | None]) -> None:
        """Set the expected cost of phases in US dollars, in their order, for the progress bar."""
        self.expected = dict(dollars_by_phase)

    def spent(self) -> Cost:
        """Return the cost of all requests in the journal."""
        return sum(map(self.prices.price, self.journal.usage()), Cost(0.0))

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of this thread cancels the requests in flight
            raise

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.endpoint.close()

    async def _ask_all(self, requests: Sequence[Request]) -> list[Reply]:
        try:
            if self._batch_rounds:
                note = self._progress.note if self._progress else lambda _: None
                await self._batch_rounds.ask(requests, self._phase, self._send_once, note)
            replies = await self._ask_each(requests)
            self._sender.health.require_answers()
        except BaseException:  # any: the next call may succeed
            self._sender.health.reset()
            raise
        return replies

    async def _ask_each(self, requests: Sequence[Request]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        waiting = iter(enumerate(requests))

        async def work() -> None:
            for number, request in waiting:
                replies[number] = await self._ask_one(request)

        workers = [asyncio.create_task(work()) for _ in range(min(self._num_workers, len(requests)))]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            list(waiting)  # if one failed: send nothing new
            await asyncio.wait(workers, timeout=_GRACE)
        finally:
            for worker in workers:
                worker.cancel()
            ended = await asyncio.gather(*workers, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        return [replies[number] for number in range(len(requests))]

    async def _ask_one(self, request: Request) -> Reply:
        entries, is_known = [], True
        for key, body in list_attempts(request, self.model, self._settings):
            known = self.journal.get(key)
            if known is not None and not is_valid_entry(
                known, request.prompt
            ):  # damaged on the disk: it is asked again
                self.journal.prune("key = ?", key)
                known = None
            is_known = is_known and known is not None
            job = Job(key, body, request.prompt, self._phase, is_group=request.items > 1)
            entries.append(known or await self._send_once(job))
            if is_final(entries[-1]):
                break
        if self._progress is not None:
            self._progress.advance(is_known=is_known)
            self._progress.is_final &= not entries[-1].error.startswith(NOT_YET)
        # The server's own words stay in the journal: they may name accounts, and differ from reply to reply.
        reason = entries[-1].error.partition(":")[0]
        return Reply(
            None if reason else json.loads(entries[-1].text),
            reason,
            attempts=len(entries),
            input_tokens=sum(one.input_tokens for one in entries),
            output_tokens=sum(one.output_tokens for one in entries),
            seconds=sum(one.seconds for one in entries),
        )

    async def _send_once(self, job: Job) -> Entry:
        """Send a request, or wait for the same one if it is in flight."""
        if job.key not in self._in_flight:
            self._in_flight[job.key] = asyncio.create_task(self._sender.send(job))
            self._in_flight[job.key].add_done_callback(lambda _: self._in_flight.pop(job.key, None))
        return await self._in_flight[job.key]
