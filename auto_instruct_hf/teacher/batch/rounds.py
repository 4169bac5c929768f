"""Batch mode of the teacher: rounds of batches until everything that batches can answer is answered."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from ...prompts import Prompt
from ...recipe import TeacherSettings
from ..budget import Budget
from ..endpoint import Endpoint
from ..exchange import Body, Request, count_attempts, is_final, request_key_and_body
from ..journal import Entry, Journal
from ..prices import Cost, Prices
from ..sender import Sender
from .batches import Batches

_MIN_BATCH = 20  # a batch may take a day: fewer requests are sent one by one
_ATTEMPTS = 3
_RETRIES = 4
_MIN_FOR_AVERAGE = 50


@dataclass
class BatchRounds:
    """Answers requests through the Batch API; open batches are recorded in the file of the journal."""

    model: str
    journal: Journal
    endpoint: Endpoint
    sender: Sender
    budget: Budget
    prices: Prices
    settings: TeacherSettings

    def __post_init__(self) -> None:
        self._batches = Batches(self.journal.path, poll=self.settings.batch_poll)
        self.close = self._batches.close
        """Close the file. Open batches continue at the API; another run collects them."""

    async def ask(
        self,
        requests: Sequence[Request],
        phase: str,
        send_one: Callable[[str, Body, Prompt], Awaitable[Entry]],
        note: Callable[[str], None],
    ) -> AsyncGenerator[tuple[str, Body, Entry], None]:
        """Yield key, body and entry of each answer to requests that are not in the journal.

        Record each answer before taking the next one. Failures of batches and the last few requests are left to the
        caller. `send_one` sends one request online and records its reply; `note` shows a text in the progress bar.
        """
        failures: Counter[str] = Counter()
        while True:
            unknown = {key: one for key, one in self._find_unknown(requests).items() if failures[key] < _ATTEMPTS}
            if len(unknown) < _MIN_BATCH:
                return
            if not self.sender.has_answered:  # a single request shows that the endpoint answers, and its format
                key, (body, prompt) = next(iter(unknown.items()))
                await send_one(key, body, prompt)
                failures[key] += 1
                continue
            wanted = {key: body for key, (body, _) in unknown.items()}
            chosen = self.budget.choose(wanted, self.prices.find(self.model), self._average_cost(phase), _MIN_BATCH)
            bodies = {key: self.sender.request_format.translate(body) for key, body in chosen.items()}
            client = (await self.endpoint.connect()).with_options(max_retries=_RETRIES)
            async for answer in self._batches.answer(client, bodies, note=note):
                if answer.is_passing:
                    failures[answer.key] += 1
                    continue
                body, known = unknown.get(answer.key, ({}, None))
                yield answer.key, body, self.sender.read_answer(answer, known)

    def _find_unknown(self, requests: Sequence[Request]) -> dict[str, tuple[Body, Prompt]]:
        """Return the next attempts that are not in the journal, by key."""
        unknown = {}
        for request in requests:
            for attempt in range(count_attempts(request, self.settings.max_attempts)):
                key, body = request_key_and_body(request, self.model, attempt)
                entry = self.journal.get(key)
                if entry is None:
                    unknown[key] = (body, request.prompt)
                if entry is None or is_final(entry):
                    break
        return unknown

    def _average_cost(self, phase: str) -> float | None:
        """Return the average cost of a request of a phase in a batch, in US dollars; None: too few are known."""
        sums = [one for one in self.journal.usage() if (one.phase, one.model) == (phase, self.model)]
        count = sum(one.requests for one in sums)
        dollars = sum((self.prices.price(replace(one, is_batch=True)) for one in sums), Cost(0.0)).dollars
        return None if dollars is None or count < _MIN_FOR_AVERAGE else dollars / count
