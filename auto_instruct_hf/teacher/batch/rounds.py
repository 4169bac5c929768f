"""Batch mode of the teacher: rounds of batches until everything that batches can answer is answered."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from ...prompts import Prompt
from ...recipe import TeacherSettings
from ..exchange import NO_ANSWER, Body, Request, is_final, list_attempts, read_completion
from ..journal import Entry, Record
from ..prices import Budget, Cost, Prices
from ..sender import Sender
from .batches import Batches

_MIN_BATCH = 20  # a batch may take a day: fewer requests are sent one by one
_ATTEMPTS = 3
_RETRIES = 4
_MIN_FOR_AVERAGE = 50
_LEFT_OVER = "left over from a batch"


@dataclass
class BatchRounds:
    """Answers requests through the Batch API; open batches are recorded in the file of the journal."""

    sender: Sender
    budget: Budget
    prices: Prices
    settings: TeacherSettings

    def __post_init__(self) -> None:
        self._model, self._journal = self.sender.endpoint.model, self.sender.journal
        self._batches = Batches(self._journal.path, poll=self.settings.batch_poll)
        self.close = self._batches.close
        """Close the file. Open batches continue at the API; another run collects them."""

    async def ask(
        self,
        requests: Sequence[Request],
        phase: str,
        send_one: Callable[[str, Body, Prompt], Awaitable[Entry]],
        note: Callable[[str], None],
    ) -> None:
        """Record answers to requests that are not in the journal.

        Failures of batches and the last few requests are left to the caller. `send_one` sends one request online and
        records its reply; `note` shows a text in the progress bar.
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
            chosen = self.budget.choose(wanted, self.prices.find(self._model), self._average_cost(phase), _MIN_BATCH)
            request_format = self.sender.request_format
            bodies = {key: request_format.translate(body) for key, body in chosen.items()}
            client = (await self.sender.endpoint.connect()).with_options(max_retries=_RETRIES)
            async for answer in self._batches.answer(client, bodies, note=note):
                if answer.is_passing:
                    failures[answer.key] += 1
                    continue
                body, known = unknown.get(answer.key, ({}, None))
                entry = Entry("", f"{NO_ANSWER}: {answer.error}")
                if answer.body is not None:
                    prompt = known or Prompt("", "", "", {}, 0.0, 0)
                    entry = read_completion(answer.body, prompt, 0.0, repair=not request_format.enforces_schema)
                    entry = entry if known else replace(entry, error=_LEFT_OVER)  # it only counts as paid
                await self.sender.keep(Record(answer.key, entry, phase, self._model, body, is_batch=True))

    def _find_unknown(self, requests: Sequence[Request]) -> dict[str, tuple[Body, Prompt]]:
        """Return the next attempts that are not in the journal, by key."""
        unknown = {}
        for request in requests:
            for key, body in list_attempts(request, self._model, self.settings.max_attempts):
                entry = self._journal.get(key)
                if entry is None:
                    unknown[key] = (body, request.prompt)
                if entry is None or is_final(entry):
                    break
        return unknown

    def _average_cost(self, phase: str) -> float | None:
        """Return the average cost of a request of a phase in a batch, in US dollars; None: too few are known."""
        sums = [one for one in self._journal.usage() if (one.phase, one.model) == (phase, self._model)]
        count = sum(one.requests for one in sums)
        dollars = sum((self.prices.price(replace(one, is_batch=True)) for one in sums), Cost(0.0)).dollars
        return None if dollars is None or count < _MIN_FOR_AVERAGE else dollars / count
