"""Batch mode as the teacher uses it: wave after wave of batches, until what they can answer is answered."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from ...prompts import Prompt
from ...recipe import TeacherSettings
from ..budget import Budget
from ..endpoint import Endpoint
from ..exchange import Request, address, count_attempts, is_final
from ..journal import Entry, Journal
from ..prices import Cost, Prices
from ..sender import Sender
from .batches import Batches

# A batch may take a day: a last few are asked one by one.
_TOO_FEW = 20
_ATTEMPTS = 3
_RETRIES = 4
_ENOUGH_FOR_A_MEAN = 50


class Waves:
    """Asks through the Batch API.

    Args:
        model: The model's name.
        journal: Where answers are; the batches under way stand in its file too.
        endpoint: Where to ask.
        sender: Knows what the endpoint takes, and reads answers.
        budget: What may be spent.
        prices: What it costs.
        settings: How often to ask, and to look.
    """

    def __init__(
        self,
        model: str,
        journal: Journal,
        endpoint: Endpoint,
        sender: Sender,
        budget: Budget,
        prices: Prices,
        settings: TeacherSettings,
    ) -> None:
        self._model = model
        self._journal = journal
        self._batches = Batches(journal.path, poll=settings.batch_poll)
        self._endpoint = endpoint
        self._sender = sender
        self._budget = budget
        self._prices = prices
        self._attempts = settings.max_attempts

    def close(self) -> None:
        """Close the file. Batches under way stay so; another run collects them."""
        self._batches.close()

    async def ask(
        self,
        requests: Sequence[Request],
        phase: str,
        send_one: Callable[[str, dict[str, Any], Prompt], Awaitable[Entry]],
        note: Callable[[str], None],
    ) -> AsyncGenerator[tuple[str, dict[str, Any], Entry], None]:
        """Have batches answer what is not in the journal.

        What they fail to answer, and a last few, are left: they are for the caller to ask one by one.

        Args:
            requests: What to ask.
            phase: Under which their cost is counted.
            send_one: Asks one request online and journals its answer.
            note: Takes a few words for the progress bar.

        Yields:
            Key, body and entry of each answer, to be journalled before the next one is taken.
        """
        failures: Counter[str] = Counter()
        while True:
            unknown = {key: one for key, one in self._find_unknown(requests).items() if failures[key] < _ATTEMPTS}
            if len(unknown) < _TOO_FEW:
                return
            if not self._sender.has_answered:  # one by itself shows that the endpoint answers, and what it takes
                key, (body, prompt) = next(iter(unknown.items()))
                await send_one(key, body, prompt)
                failures[key] += 1
                continue
            wanted = {key: body for key, (body, _) in unknown.items()}
            chosen = self._budget.choose(wanted, self._prices.find(self._model), self._mean_cost(phase), _TOO_FEW)
            bodies = {key: self._sender.dialect.translate(body) for key, body in chosen.items()}
            client = (await self._endpoint.connect()).with_options(max_retries=_RETRIES)
            async for answer in self._batches.answer(client, bodies, note=note):
                if answer.is_passing:
                    failures[answer.key] += 1
                    continue
                body, known = unknown.get(answer.key, ({}, None))
                yield answer.key, body, self._sender.read_answer(answer, known)

    def _find_unknown(self, requests: Sequence[Request]) -> dict[str, tuple[dict[str, Any], Prompt]]:
        """Return the next attempts that are not in the journal, by key."""
        unknown = {}
        for request in requests:
            for attempt in range(count_attempts(request, self._attempts)):
                key, body = address(request, self._model, attempt)
                entry = self._journal.get(key)
                if entry is None:
                    unknown[key] = (body, request.prompt)
                if entry is None or is_final(entry):
                    break
        return unknown

    def _mean_cost(self, phase: str) -> float | None:
        """Return what a request of a phase costs in a batch, on the mean, in US dollars; None where few tell."""
        sums = [one for one in self._journal.usage() if (one.phase, one.model) == (phase, self._model)]
        count = sum(one.requests for one in sums)
        dollars = sum((self._prices.price(replace(one, is_batch=True)) for one in sums), Cost(0.0)).dollars
        return None if dollars is None or count < _ENOUGH_FOR_A_MEAN else dollars / count
