"""Batch mode of the teacher: rounds of batches until everything that batches can answer is answered."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...prompts import Prompt
from ...recipe import TeacherSettings
from ..exchange import NO_ANSWER, Body, Request, is_final, list_attempts, read_completion
from ..journal import Entry, Record
from ..prices import Cost, Prices
from ..sender import Job, Sender
from .batches import Batches

_MIN_BATCH = 20  # a batch may take a day: fewer requests are sent one by one
_ATTEMPTS = 3
_RETRIES = 4
_MIN_FOR_AVERAGE = 50
_MARGIN = 1.25  # of the average cost
_LEFT_OVER = Job("", {}, Prompt("", "", "", {}, 0.0, 0), "")  # an answer in a batch of an earlier run


@dataclass
class BatchRounds:
    """Answers requests through the Batch API; open batches are recorded in the file of the journal."""

    sender: Sender
    prices: Prices
    settings: TeacherSettings

    def __post_init__(self) -> None:
        self._model, self._journal = self.sender.endpoint.model, self.sender.journal
        redaction = self.sender.endpoint.redaction
        self._batches = Batches(self._journal.path, poll=self.settings.batch_poll, redaction=redaction)
        self.close = self._batches.close
        """Close the file. Open batches continue at the API; another run collects them."""

    async def ask(
        self,
        requests: Sequence[Request],
        phase: str,
        send_one: Callable[[Job], Awaitable[Entry]],
        note: Callable[[str], None],
    ) -> None:
        """Record answers to requests that are not in the journal.

        Failures of batches and the last few requests are left to the caller. `send_one` sends one request online and
        records its reply; `note` shows a text in the progress bar.
        """
        failures: Counter[str] = Counter()
        while True:
            found = self._find_unknown(requests, phase)
            unknown = {key: one for key, one in found.items() if failures[key] < _ATTEMPTS}
            if len(unknown) < _MIN_BATCH:
                return
            if not self.sender.health.has_answered:  # a single request shows that the endpoint answers, and its format
                first = next(iter(unknown.values()))
                await send_one(first)
                failures[first.key] += 1
                continue
            wanted = {key: job.body for key, job in unknown.items()}
            async with self.sender.budget.reserve() as reservation:
                chosen = await reservation.cover_first(wanted, self._list_costs(wanted, phase), _MIN_BATCH)
                await self._ask_batches(chosen, unknown, phase, failures, note)

    async def _ask_batches(
        self,
        chosen: Mapping[str, Body],
        unknown: Mapping[str, Job],
        phase: str,
        failures: Counter[str],
        note: Callable[[str], None],
    ) -> None:
        request_format = self.sender.request_format
        bodies = {key: request_format.translate(body) for key, body in chosen.items()}
        client = (await self.sender.endpoint.connect()).with_options(max_retries=_RETRIES)
        async for answer in self._batches.answer(client, bodies, note=note):
            if answer.is_passing:
                failures[answer.key] += 1
                continue
            job = unknown.get(answer.key, _LEFT_OVER)
            entry = Entry("", f"{NO_ANSWER}: {answer.error}")
            if answer.body is not None:
                entry = read_completion(answer.body, job.prompt, 0.0, repair=not request_format.enforces_schema)
                entry = entry if job.body else replace(entry, error="left over from a batch")  # it only counts as paid
                entry = self.sender.complete_usage(self.sender.endpoint.hide_key(entry), job.body)
            await self.sender.keep(Record(answer.key, entry, phase, self._model, job.body, is_batch=True))

    def _find_unknown(self, requests: Sequence[Request], phase: str) -> dict[str, Job]:
        """Return the next attempts that are not in the journal, by key."""
        unknown = {}
        for request in requests:
            for key, body in list_attempts(request, self._model, self.settings):
                entry = self._journal.get(key)
                if entry is None:
                    unknown[key] = Job(key, body, request.prompt, phase, is_group=request.items > 1)
                if entry is None or is_final(entry):
                    break
        return unknown

    def _list_costs(self, bodies: Mapping[str, Body], phase: str) -> list[float] | None:
        """Return the cost of requests in a batch, in US dollars; it is known only when all of it is paid.

        It is the average of the phase with a 25 % margin, or the worst case while too few are known. None: no price.
        """
        rates, average = self.prices.find(self._model), self._average_cost(phase)
        if rates is None:
            return None
        if average is not None:
            return [_MARGIN * average] * len(bodies)
        return [rates.cost(*self.sender.max_tokens(body), is_batch=True) for body in bodies.values()]

    def _average_cost(self, phase: str) -> float | None:
        """Return the average cost of a request of a phase in a batch, in US dollars; None: too few are known."""
        sums = [one for one in self._journal.usage() if (one.phase, one.model) == (phase, self._model)]
        count = sum(one.requests for one in sums)
        dollars = sum((self.prices.price(replace(one, is_batch=True)) for one in sums), Cost(0.0)).dollars
        return None if dollars is None or count < _MIN_FOR_AVERAGE else dollars / count
