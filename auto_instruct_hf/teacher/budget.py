"""The budget of a journal: the worst-case cost of each request is reserved before it is sent.

Processes that spend from one journal at the same time see each other's reservations, in a file beside it.
"""

import asyncio
import contextlib
import secrets
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from filelock import FileLock, Timeout

from ..core import open_database, transaction
from ..errors import BudgetError
from .exchange import Body
from .journal import Journal
from .prices import Prices

_TABLE = "CREATE TABLE IF NOT EXISTS reserved (process TEXT PRIMARY KEY, dollars REAL NOT NULL)"
_OTHERS = "SELECT process, dollars FROM reserved WHERE process != ?"
_POLL = 0.2  # seconds, while other processes hold what is left


class Budget:
    """A limit in US dollars (None: no limit) on the cost of all requests in a journal; unknown prices count as zero."""

    def __init__(self, dollars: float | None, journal: Journal, prices: Prices) -> None:
        self.dollars, self._journal, self._prices = dollars, journal, prices
        self._reserved: dict[object, float] = {}
        self._settled = asyncio.Event()
        self._shared = None if dollars is None else _Reservations(journal.path)

    def close(self) -> None:
        """Close the file of reservations."""
        if self._shared:
            self._shared.close()

    @contextlib.asynccontextmanager
    async def reserve(self) -> "AsyncIterator[Reservation]":
        """Return a reservation, of nothing yet, for one request or batch.

        The cost must be in the journal when the context ends.
        """
        reservation = Reservation(self, self._prices)
        try:
            yield reservation
        finally:
            reservation.release()

    def take(self, owner: object, sums: Sequence[float]) -> int:
        """Reserve the last of some increasing sums in US dollars that fits, instead of what the owner had.

        Return its position, from 1; 0: none fits, and nothing is reserved.
        """
        if self._shared is None or self.dollars is None:
            return len(sums)
        before = self._reserved.pop(owner, 0.0)
        ours = sum(self._reserved.values())
        with self._shared.updating() as others:
            # Read under the lock: what other processes no longer reserve is in the journal by now.
            spent = self._spent()
            number = bisect_right(sums, self.dollars - spent - others - ours)
            self._shared.set(ours + (sums[number - 1] if number else 0.0))
        after = sums[number - 1] if number else 0.0
        if after:
            self._reserved[owner] = after
        if after < before:
            self._settled.set()
        return number

    async def wait(self, dollars: float) -> None:
        """Wait until a reservation may have ended; raise BudgetError if there is none and so `dollars` never fit."""
        others = self._shared.count_others() if self._shared else 0
        if not self._reserved and not others:
            raise BudgetError(
                f"the budget of ${self.dollars:.2f} does not cover the next request: ${self._spent():.4f} are spent, "
                f"and it may cost ${dollars:.4f}. Raise --budget and run the same command again to continue from here"
            )
        self._settled.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), _POLL if others else None)

    def _spent(self) -> float:
        return sum(self._prices.price(usage).dollars or 0.0 for usage in self._journal.usage())


class Reservation:
    """The part of a budget that a request or a batch may cost; see `Budget.reserve`."""

    def __init__(self, budget: Budget, prices: Prices) -> None:
        self._budget, self._prices = budget, prices

    def release(self) -> None:
        """Give back what was reserved: the request failed and costs nothing."""
        self._budget.take(self, [])

    async def cover(self, model: str, tokens: tuple[int, int]) -> None:
        """Wait until the cost of a request with these numbers of input and output tokens fits, and reserve it.

        It replaces what was reserved before. Raise BudgetError if it does not fit and nothing else is in flight.
        """
        rates = self._prices.find(model) if self._budget.dollars is not None else None
        dollars = rates.cost(*tokens, is_batch=False) if rates else 0.0
        while dollars and not self._budget.take(self, [dollars]):
            await self._budget.wait(dollars)

    async def cover_first(
        self, bodies: Mapping[str, Body], costs: Sequence[float] | None, min_requests: int
    ) -> dict[str, Body]:
        """Return the first requests of a batch that fit, and reserve their `costs` (US dollars; None: unknown).

        Raise BudgetError if fewer than `min_requests` fit although there are more, and nothing else is in flight.
        """
        if costs is None:
            return dict(bodies)
        sums, least = list(accumulate(costs)), min(min_requests, len(bodies))
        while (number := self._budget.take(self, sums)) < least:
            self.release()
            await self._budget.wait(sums[least - 1])
        return dict(list(bodies.items())[:number])


class _Reservations:
    """What each process that spends from a journal has reserved. A process that holds its lock file is alive."""

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_suffix(".reserved.sqlite")
        self._process = secrets.token_hex(8)
        self._connection = open_database(self._path, _TABLE, version=None, error=BudgetError, name="reservations")
        self._connection.execute("PRAGMA synchronous=NORMAL")  # after a power failure no process is alive
        self._lock = FileLock(self._lock_file(self._process))
        self._lock.acquire()

    def close(self) -> None:
        """End the reservations of this process."""
        with self.updating():
            self._connection.execute("DELETE FROM reserved WHERE process = ?", (self._process,))
        self._connection.close()
        self._lock.release()
        self._lock_file(self._process).unlink(missing_ok=True)

    @contextlib.contextmanager
    def updating(self) -> Iterator[float]:
        """Lock the file, and return what other processes have reserved, in US dollars."""
        with transaction(self._connection, self._path, BudgetError):
            yield sum(dollars for _, dollars in self._others())

    def set(self, dollars: float) -> None:
        """Replace what this process has reserved; inside `updating`."""
        self._connection.execute("INSERT OR REPLACE INTO reserved VALUES (?, ?)", (self._process, dollars))

    def count_others(self) -> int:
        """Return how many other processes have something reserved; the reservations of dead ones end."""
        alive = 0
        for process, dollars in self._others():
            try:
                with FileLock(self._lock_file(process), timeout=0):
                    self._connection.execute("DELETE FROM reserved WHERE process = ?", (process,))
                self._lock_file(process).unlink(missing_ok=True)
            except Timeout:
                alive += dollars > 0
        return alive

    def _others(self) -> list[tuple[str, float]]:
        return self._connection.execute(_OTHERS, (self._process,)).fetchall()

    def _lock_file(self, process: str) -> Path:
        return self._path.with_suffix(f".{process}.lock")
