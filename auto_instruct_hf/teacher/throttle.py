"""When the next request may be sent to an endpoint: given limits, and additive increase, multiplicative decrease."""

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from aiolimiter import AsyncLimiter

_MINUTE = 60.0 * (1 + 1e-6)  # keeps rounding on the safe side
_REQUEST_BURST, _TOKEN_BURST = 0.01, 0.1  # share of a limit per minute that may be sent at once
# Up to this share of refusals they count as random: only the refused request waits. Above it the limit is decreased;
# above the second, or for a longer Retry-After (seconds), all requests pause, and then one is sent first.
_TOLERATED, _MOST, _LONG = 0.25, 0.45, 5.0
_GROWING = 0.18  # above this share the limit does not grow
_DECREASE, _PAUSE_DECREASE = 0.75, 0.5  # factors
_INCREASE, _MAX_INCREASE = 0.15, 2.0  # per round trip: share, requests
_FIRST_WAIT, _MAX_WAIT = 1.0, 5.0  # seconds, without Retry-After; doubled from pause to pause
_MAX_GAP = 2.0  # seconds between requests if less than one may be in flight
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "": 1.0}
_NUMBER = re.compile(r"\s*\d{1,9}(\.\d*)?\s*", re.ASCII)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d*)?)(ms|[dhms]|$)", re.ASCII)


class Slot(NamedTuple):
    """A request that may be sent: when, and its estimated tokens."""

    sent: float
    tokens: int


class Throttle:
    """Decides when a request may be sent. For one event loop.

    Given limits hold in any 60 s: `rpm` requests and `tpm` tokens per minute, `concurrency` requests in flight. Those
    that are None are found from `x-ratelimit` headers and refusals (HTTP 429); requests in flight from 4 up to
    `max_in_flight`. Their limit is decreased at most once per round trip. Below one it is a pace: at 0.2, one request
    per five round trips (as in Swift, Kumar et al. 2020). A request of over a tenth of `tpm`, or one that waits for
    `rpm`, may exceed `tpm` by its own tokens.
    """

    def __init__(
        self, concurrency: int | None = None, rpm: float | None = None, tpm: int | None = None, max_in_flight: int = 64
    ) -> None:
        self._requests, self._tokens = _limiter(rpm, _REQUEST_BURST), _limiter(tpm, _TOKEN_BURST)
        self._owed = 0  # tokens used above the estimates
        self._line, self._changed = asyncio.Lock(), asyncio.Event()  # only the first in line looks at the limits
        self.in_flight = self._tokens_in_flight = self._recording = 0
        self._max = float(concurrency or max_in_flight)
        self.limit, self._threshold = float(concurrency or min(4, max_in_flight)), math.inf  # doubles up to that
        self._refused, self._pauses, self._latency = 0.0, 0, 0.0  # share; since the last success; seconds, average
        self._last_sent = self._paused_until = self._decreased = -math.inf
        self._left: dict[str, tuple[float, float]] = {}  # requests or tokens left, until when

    @contextlib.asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[Slot]:
        """Wait until a request of about `tokens` tokens may be sent; it is in flight until the context ends."""
        async with self._line:
            await self._wait_for_room(tokens)
            owed, self._owed = self._owed, 0
            await _acquire(self._tokens, owed)
            await _acquire(self._tokens, tokens)
            await _acquire(self._requests, 1)
            await self._wait_for_room(tokens)  # a refusal may have come meanwhile
            slot = Slot(asyncio.get_running_loop().time(), tokens)
            self._last_sent = slot.sent
            for kind, (left, until) in self._left.items():
                self._left[kind] = left - (1 if kind == "requests" else tokens), until
            self.in_flight, self._tokens_in_flight = self.in_flight + 1, self._tokens_in_flight + tokens
        try:
            yield slot
        finally:
            self.in_flight, self._tokens_in_flight = self.in_flight - 1, self._tokens_in_flight - tokens
            self._changed.set()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Leave a reply its place until it is recorded: a crash before that would cost it as well.

        To be entered without a pause after the end of its slot.
        """
        self._recording += 1
        try:
            yield
        finally:
            self._recording -= 1
            self._changed.set()

    def succeeded(self, slot: Slot, headers: Mapping[str, str] | None = None, tokens: int = 0) -> None:
        """Report that a request was accepted, with the headers of the response and the tokens it used."""
        now = asyncio.get_running_loop().time()
        self._latency += (now - slot.sent - self._latency) / (8 if self._latency else 1)
        self._refused -= self._refused / max(8.0, self.limit)
        if self._pauses and slot.sent > self._decreased:
            self._pauses, self._refused = 0, _GROWING / 2
        if not self._pauses and 2 * self.in_flight >= self.limit:
            step = min(_INCREASE * self.limit, _MAX_INCREASE / self.limit) * max(0.0, 1 - self._refused / _GROWING)
            self.limit = min(self.limit + (1.0 if 1 <= self.limit < self._threshold else step), self._max)
        self._owed += max(tokens - slot.tokens, 0)
        for kind, others in ("requests", self.in_flight - 1), ("tokens", self._tokens_in_flight - slot.tokens):
            if found := remaining(headers or {}, kind):  # the server may not have counted the others yet
                self._left[kind] = found[0] - others, now + min(found[1], _MINUTE)

    def refused(self, slot: Slot, retry_after: float | None = None) -> float:
        """Report a refusal (HTTP 429) with its Retry-After; return for how many seconds to stay in the slot."""
        now, wait = asyncio.get_running_loop().time(), _FIRST_WAIT if retry_after is None else retry_after
        self._refused += (1 - self._refused) / max(8.0, self.limit)
        must_pause = wait >= _LONG or self._refused > _MOST or self._pauses > 0
        if slot.sent > self._decreased and (must_pause or self._refused > _TOLERATED):
            self._decreased = now
            if not self._pauses:
                factor = _PAUSE_DECREASE if must_pause else _DECREASE
                self.limit = max(self.limit * factor, min(1.0, self._latency / _MAX_GAP))
                self._threshold = self.limit
            if must_pause:
                self._pauses, self.limit = self._pauses + 1, min(self.limit, 1.0)
        if not must_pause:
            return wait
        if self._pauses > 1:
            wait = max(wait, min(_FIRST_WAIT * 2.0 ** (self._pauses - 1), _MAX_WAIT))
        self._paused_until = max(self._paused_until, now + wait)
        return 0.0

    async def _wait_for_room(self, tokens: int) -> None:
        while (at := self._opens_at(tokens)) > asyncio.get_running_loop().time():
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if at == math.inf else at):
                    await self._changed.wait()

    def _opens_at(self, tokens: int) -> float:
        """Return when a request may be sent; infinity: not before another one has ended."""
        if self.in_flight + self._recording >= max(int(self.limit), 1):
            return math.inf
        gap = min(self._latency / self.limit, _MAX_GAP) if self.limit < 1 else 0.0
        at = max(self._paused_until, self._last_sent + gap)
        for kind, (left, until) in list(self._left.items()):
            if until > asyncio.get_running_loop().time():
                at = max(at, until if left < (1 if kind == "requests" else tokens) else at)
            elif self._left.pop(kind)[0] < 1:  # what is left now is unknown
                self._threshold, self.limit = self.limit, min(self.limit, 1.0)
        return at


def _limiter(limit: float | None, burst: float) -> AsyncLimiter | None:
    """Return a leaky bucket: with size B and rate r, fewer than B + 60 r pass in less than 60 s."""
    if limit is None:
        return None
    limit = limit if limit < 1 else math.floor(limit)
    size = max(1.0, math.floor(limit * burst))
    return AsyncLimiter(size, _MINUTE * size / (limit - size + 1))


async def _acquire(limiter: AsyncLimiter | None, amount: float) -> None:
    while limiter and amount > 0:
        await limiter.acquire(min(limiter.max_rate, amount))
        amount -= limiter.max_rate


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `retry-after-ms` or `retry-after` (RFC 9110: seconds or a date) in seconds, or None if there is none."""
    value = headers.get("retry-after", "")
    for text, unit in ((headers.get("retry-after-ms", ""), 0.001), (value, 1.0)):
        if _NUMBER.fullmatch(text):
            return float(text) * unit
    until, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)  # the server's clock if it is sent
    return None if until is None else max((until - now).total_seconds(), 0.0)


def remaining(headers: Mapping[str, str], kind: str) -> tuple[int, float] | None:
    """Return how many `kind` (requests, tokens) are left and for how many seconds: OpenAI's `x-ratelimit` headers."""
    left = headers.get(f"x-ratelimit-remaining-{kind}", "")
    reset = headers.get(f"x-ratelimit-reset-{kind}", "").strip()  # 1s, 6m0s, 120ms, 1h2m; a bare number is seconds
    parts = _DURATION.findall(reset)
    if not _NUMBER.fullmatch(left) or not parts or "".join(number + unit for number, unit in parts) != reset:
        return None
    return int(float(left)), sum(float(number) * _UNITS[unit] for number, unit in parts)


def _date(text: str) -> datetime | None:
    with contextlib.suppress(ValueError):
        date = parsedate_to_datetime(text)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
