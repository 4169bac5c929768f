"""Models for the tests of the throttle: an event loop whose clock jumps to the next timer, and servers with limits."""

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from auto_instruct_hf.teacher.throttle import Throttle

TICK = 1e-6  # each turn of the loop takes so long, and timers are as late


class _NoWaiting(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is left that could ever happen")
        self.now += timeout + TICK
        return super().select(0)


class FakeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _NoWaiting()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=FakeLoop) as runner:
        return runner.run(work)


Answer = tuple[bool, float | None]  # accepted, and else Retry-After


@dataclass
class SlidingWindow:
    allowed: int = 60
    accepted: deque[float] = field(default_factory=deque)

    def ask(self, now: float) -> Answer:
        while self.accepted and self.accepted[0] + 60 <= now:
            self.accepted.popleft()
        if len(self.accepted) < self.allowed:
            self.accepted.append(now)
            return True, None
        return False, self.accepted[0] + 60 - now

    def opportunities(self, seconds: float) -> float:
        return self.allowed * math.ceil(seconds / 60)


@dataclass
class TokenBucket:
    capacity: float = 60
    refill: float = 1
    level: float = math.nan
    last: float = 0

    def ask(self, now: float) -> Answer:
        if math.isnan(self.level):
            self.level, self.last = self.capacity, now
        self.level, self.last = min(self.capacity, self.level + (now - self.last) * self.refill), now
        if self.level >= 1 - 1e-9:
            self.level -= 1
            return True, None
        return False, (1 - self.level) / self.refill

    def opportunities(self, seconds: float) -> float:
        return self.capacity + seconds * self.refill


@dataclass
class FixedWindow:
    allowed: int = 60
    start: float = 1000 - 20  # the first window is two thirds of a minute
    window: int = -1
    used: int = 0

    def ask(self, now: float) -> Answer:
        window = int((now - self.start) // 60)
        if window != self.window:
            self.window, self.used = window, 0
        if self.used < self.allowed:
            self.used += 1
            return True, None
        return False, self.start + 60 * (window + 1) - now

    def opportunities(self, seconds: float) -> float:
        return self.allowed * (math.ceil((1000 + seconds - self.start) / 60))


@dataclass
class NoLimit:
    """Refuses, for nothing, one request by its number, a share at random, and half of those within `busy` seconds."""

    stray: int = 0
    share: float = 0.0
    busy: tuple[float, float] = (math.inf, math.inf)
    random: Random = field(default_factory=lambda: Random(0))
    asked: int = 0

    def ask(self, now: float) -> Answer:
        self.asked += 1
        share = 0.5 if self.busy[0] <= now - 1000 < self.busy[1] else self.share
        return self.asked != self.stray and self.random.random() >= share, None


@dataclass
class Outcome:
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    max_in_flight: int = 0


async def drive(
    throttle: Throttle,
    server: Any,
    *,
    seconds: float,
    workers: int,
    latency: float = 0.2,
    refusal: float = 0.01,
    places: int | None = None,
    retry_after: Callable[[float | None], float | None] | None = None,
    headers: Callable[[Any, float], dict[str, str]] | None = None,
) -> Outcome:
    """Let workers send without end; refuse what comes when `places` are taken, or what the server's limit refuses.

    `retry_after` makes the Retry-After of a refusal from the true one (None: the same).
    """
    loop, outcome, inside = asyncio.get_running_loop(), Outcome(), 0
    start = loop.time()

    async def work() -> None:
        nonlocal inside
        while True:
            async with throttle.slot() as slot:
                now = loop.time()
                outcome.sent.append(now - start)
                outcome.max_in_flight = max(outcome.max_in_flight, throttle.in_flight)
                if places is not None and inside >= places:
                    is_accepted, honest = False, None
                else:
                    is_accepted, honest = server.ask(now)
                if is_accepted:
                    said = headers(server, now) if headers else None
                    inside += 1
                    await asyncio.sleep(latency)
                    inside -= 1
                    outcome.accepted.append(now - start)
                    throttle.succeeded(slot, said)
                else:
                    outcome.refused.append(now - start)
                    await asyncio.sleep(refusal)
                    await asyncio.sleep(throttle.refused(slot, retry_after(honest) if retry_after else honest))

    tasks = [asyncio.create_task(work()) for _ in range(workers)]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    for task in done:
        task.result()
    await asyncio.gather(*tasks, return_exceptions=True)
    return outcome
