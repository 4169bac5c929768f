"""Batch mode as the teacher uses it: wave after wave of batches, until what they can answer is answered."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from ..prompts import Prompt
from .batch import Batches
from .budget import Budget
from .endpoint import Endpoint
from .journal import Entry
from .prices import Rates
from .sender import Sender

# A batch may take a day: a last few are asked one by one.
_TOO_FEW = 20
_ATTEMPTS = 3
_RETRIES = 4

Unknown = Mapping[str, tuple[dict[str, Any], Prompt]]
"""Requests that are not in the journal, by their key: the body, and the prompt that it was made of."""


class Waves:
    """Asks through the Batch API.

    Args:
        journal: File of the journal; the batches under way stand in it too.
        endpoint: Where.
        sender: Knows what the endpoint takes, and reads answers.
        budget: What may be spent.
        poll: Seconds between looks at the batches.
    """

    def __init__(self, journal: Path, endpoint: Endpoint, sender: Sender, budget: Budget, poll: float) -> None:
        self._batches = Batches(journal, poll=poll)
        self._endpoint = endpoint
        self._sender = sender
        self._budget = budget

    def close(self) -> None:
        """Close the file. Batches under way stay so; another run collects them."""
        self._batches.close()

    async def ask(
        self,
        find_unknown: Callable[[], Unknown],
        send_one: Callable[[str, dict[str, Any], Prompt], Awaitable[Entry]],
        rates: Rates | None,
        mean_cost: Callable[[], float | None],
        note: Callable[[str], None],
    ) -> AsyncGenerator[tuple[str, dict[str, Any], Entry], None]:
        """Have batches answer what is not in the journal.

        What they fail to answer, and a last few, are left: they are for the caller to ask one by one.

        Args:
            find_unknown: Returns what is still to be asked; called before each wave.
            send_one: Asks one request online and journals its answer.
            rates: The model's, for the budget.
            mean_cost: Returns what such a request costs in a batch, as far as is known.
            note: Takes a few words for the progress bar.

        Yields:
            Key, body and entry of each answer, to be journalled before the next one is taken.
        """
        failures: Counter[str] = Counter()
        while True:
            unknown = {key: one for key, one in find_unknown().items() if failures[key] < _ATTEMPTS}
            if len(unknown) < _TOO_FEW:
                return
            if not self._sender.has_answered:  # one by itself shows that the endpoint answers, and what it takes
                key, (body, prompt) = next(iter(unknown.items()))
                await send_one(key, body, prompt)
                failures[key] += 1
                continue
            wanted = {key: body for key, (body, _) in unknown.items()}
            chosen = self._budget.choose(wanted, rates, mean_cost(), _TOO_FEW)
            bodies = {key: self._sender.dialect.translate(body) for key, body in chosen.items()}
            client = (await self._endpoint.connect()).with_options(max_retries=_RETRIES)
            async for answer in self._batches.answer(client, bodies, note=note):
                if answer.is_passing:
                    failures[answer.key] += 1
                    continue
                body, known = unknown.get(answer.key, ({}, None))
                yield answer.key, body, self._sender.read_answer(answer, known)
