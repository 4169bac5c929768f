"""When the next request may go to an endpoint: within the limits that were given, or those that its refusals show."""

import asyncio
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from aiolimiter import AsyncLimiter

_MINUTE = 60.0
_AT_FIRST = 4
# A success makes room for an eighth more: where a limit is met, at most about one request in nine has been too many.
_GROWTH = 1 / 8
# Share of a minute's limit that may go at once: above what timers are late, below what a server notices.
_BURST = 0.01
_LONGEST_BACKOFF = 60.0
# A server that wants so many seconds of silence counts requests by time, not those in flight.
_WINDOW = 5.0
# Refused again after fewer successes than this, or than twice the limit: fewer in flight did not help.
_SOON = 10
# What was found is held for a minute, since limits are by the minute; then it is tried again, by so much a second, and
# a pace that has trebled without a refusal is not what limits.
_RISE = 1.01
_FREE = _MINUTE + math.log(3) / math.log(_RISE)
_SEARCH = 1.1
_SLOWER, _SLOWEST = 0.95, 0.25
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


class _Sent(NamedTuple):
    episode: int  # how many times the throttle had been cut when the request went
    tokens: int


# The request that the current task has sent, for `succeeded` and `refused` to tell which it is.
_SENT: ContextVar[_Sent] = ContextVar("sent")


class Throttle:
    """Decides when a request may go. To be used in one event loop.

    Limits that are given are held exactly: in no 60 s is there one request or one estimated token too many. Others are
    found: by the `x-ratelimit` headers of OpenAI where a server sends them, else by its refusals (HTTP 429). After one,
    nothing goes until the time it names is over, then a single request, and the others only after that was accepted.
    The first refusals lower how many may be in flight, to as many as were not refused; if they come again soon, or name
    a longer time, requests are paced by what was accepted in the time that it took.

    Args:
        concurrency: At most so many in flight, from the start; None: found, from 4 up to `most`.
        rpm: Requests a minute; None: found.
        tpm: Tokens a minute; None: found.
        most: At most so many in flight where no concurrency is given.

    Raises:
        ValueError: If one of them is not above 0.
    """

    def __init__(
        self, concurrency: int | None = None, rpm: float | None = None, tpm: int | None = None, *, most: int = 64
    ) -> None:
        for name, value in (("concurrency", concurrency), ("rpm", rpm), ("tpm", tpm), ("most", most)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, and must be above 0")
        self._most = concurrency or most
        self._limit = float(concurrency or min(_AT_FIRST, most))
        # In 60 s no more than 1.5 requests are no more than one. Below one a minute, it is one in more than a minute.
        self._rpm = rpm if rpm is None or rpm < 1 else math.floor(rpm)
        self._tpm = tpm
        # Only the first in line looks at the limits, and is woken when one may have changed.
        self._line = asyncio.Lock()
        self._changed: asyncio.Future[None] | None = None
        self._request_bucket: AsyncLimiter | None = None
        self._token_bucket: AsyncLimiter | None = None
        self._spent: deque[tuple[float, int]] = deque()  # tokens by time, of the last minute
        self._spent_sum = 0
        self._owed = 0
        self._in_flight = 0
        self._tokens_in_flight = 0
        self._peak = 0
        self._left: dict[str, tuple[float, float]] = {}  # what a server says is left, and until when
        self._pace: float | None = None  # requests a second
        self._last_sent = -math.inf
        self._silent_until = -math.inf
        self._is_probing = False
        self._probe: _Sent | None = None
        self._episode = 0
        self._refusals = 0  # one after another
        self._is_rate = False
        self._since = math.nan  # the beginning, or when the last refusal had been got over
        self._accepted = 0  # since then
        self._risen = -math.inf
        self._is_searching = False
        self._is_rising = False
        self._before = 0.0

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self._in_flight

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return int(min(self._most, self._limit))

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[None]:
        """Wait until a request may go; it is in flight until the context ends. Every attempt needs a slot of its own.

        Args:
            tokens: How many tokens it will use, as far as can be told.

        Yields:
            Nothing. In the same task, say `succeeded` or `refused` when the answer is there.
        """
        async with self._line:
            await self._admission(tokens)
            sent = self._send(tokens)
        try:
            yield
        finally:
            self._in_flight -= 1
            self._tokens_in_flight -= tokens
            if self._probe is sent:
                self._probe = None
            self._wake()

    def succeeded(self, headers: Mapping[str, str] | None = None, tokens: int = 0) -> None:
        """Say that the request of this task was accepted.

        Args:
            headers: Those of the response; names in lower case, or a mapping to which case is nothing.
            tokens: How many tokens it used. Those above the estimate are charged to the requests that follow.
        """
        now, sent = asyncio.get_running_loop().time(), _SENT.get()
        self._accepted += 1
        if self._tpm is not None and tokens > sent.tokens:
            self._charge(now, tokens - sent.tokens)
            self._owed += tokens - sent.tokens
        if sent.episode == self._episode:
            self._is_probing = False
            if self._refusals:
                self._recover(now)
        self._rise(now)
        if headers:
            self._heed(headers, now, sent)
        self._wake()

    def refused(self, retry_after: float | None = None) -> None:
        """Say that the request of this task was refused with HTTP 429.

        Args:
            retry_after: For how many seconds the server wants silence, as `retry_after` reads it.
        """
        now, sent = asyncio.get_running_loop().time(), _SENT.get()
        silence = retry_after or 0.0
        if sent.episode == self._episode:  # else it went before the last cut, which holds for it too
            self._episode += 1
            again = self._refusals > 0 or (self._episode > 1 and self._accepted < max(_SOON, 2 * self._limit))
            self._rise(now)
            self._is_rate = self._pace is not None or silence >= _WINDOW or again
            self._is_rising = self._accepted >= _SOON and (self._is_searching or now - self._since > _MINUTE)
            if not self._is_rate:
                self._limit = self._before = min(self._limit, self._peak)
            if retry_after is None or self._refusals:
                silence = max(silence, min(2.0**self._refusals, _LONGEST_BACKOFF))
            self._refusals += 1
            self._peak = 0
        if not self._is_rate and self._pace is None:
            self._limit = max(self._limit - 1, 1.0)
        self._silent_until = max(self._silent_until, now + silence)
        self._is_probing = True
        self._wake()

    async def _admission(self, tokens: int) -> None:
        """Return when a request may go at once: nothing is awaited between the last look and the return."""
        self._start()
        while True:
            await self._opening(tokens)
            if self._token_bucket is not None:
                await self._take(tokens)
            if self._request_bucket is not None:
                await self._request_bucket.acquire()  # last, for what it lets through must go now
            # A refusal may have come meanwhile. Then what was taken is lost: seldom, and on the safe side.
            if self._opens_at(tokens) <= asyncio.get_running_loop().time():
                return

    def _start(self) -> None:
        if not math.isnan(self._since):
            return
        self._since = asyncio.get_running_loop().time()
        # A bucket of size B that leaks r a second lets fewer than B + 60 r through in less than 60 s; for that to be
        # the limit and no more, 60 r = limit - B + 1. The millionth keeps rounding on the safe side.
        if self._rpm is not None:
            size = max(1.0, self._rpm * _BURST // 1)
            period = _MINUTE * (1 + 1e-6) * size / (self._rpm - size + 1) if self._rpm >= 1 else _MINUTE / self._rpm
            self._request_bucket = AsyncLimiter(size, period)
        # Tokens come in lumps that may be larger than the bucket: it spreads them, and `_spent` holds the limit.
        if self._tpm is not None:
            self._token_bucket = AsyncLimiter(max(1.0, self._tpm * _BURST), _MINUTE * max(_BURST, 1 / self._tpm))

    async def _opening(self, tokens: int) -> None:
        loop = asyncio.get_running_loop()
        while (at := self._opens_at(tokens)) > loop.time():
            self._changed = loop.create_future()
            timer = None if at == math.inf else loop.call_at(at, self._wake)
            try:
                await self._changed
            finally:
                self._changed = None
                if timer is not None:
                    timer.cancel()

    def _opens_at(self, tokens: int) -> float:
        """Return when a request may go as things stand; infinity: when something has happened."""
        if self._in_flight >= self.limit or self._probe is not None:
            return math.inf
        at = self._silent_until
        if self._pace is not None:
            at = max(at, self._last_sent + 1 / self._pace)
        if self._left:
            at = max(at, self._told(tokens))
        return at

    def _told(self, tokens: int) -> float:
        """Return when a server's own figures let a request go; once their time is over, one has to fetch new ones."""
        now, at = asyncio.get_running_loop().time(), -math.inf
        for kind, (left, until) in list(self._left.items()):
            if now >= until:
                del self._left[kind]
                self._is_probing = self._is_probing or left < 1
            elif left < (1 if kind == "requests" else tokens):
                at = max(at, until)
        return at

    async def _take(self, tokens: int) -> None:
        assert self._tpm is not None
        assert self._token_bucket is not None
        part, (rest, self._owed) = self._token_bucket.max_rate, (tokens + self._owed, 0)
        while rest > 0:
            await self._token_bucket.acquire(min(part, rest))
            rest -= part
        loop = asyncio.get_running_loop()
        while self._used(loop.time()) + tokens > self._tpm and self._spent:
            await asyncio.sleep(self._spent[0][0] + _MINUTE - loop.time())

    def _used(self, now: float) -> int:
        while self._spent and self._spent[0][0] + _MINUTE <= now:
            self._spent_sum -= self._spent.popleft()[1]
        return self._spent_sum

    def _charge(self, now: float, tokens: int) -> None:
        self._spent.append((now, tokens))
        self._spent_sum += tokens

    def _send(self, tokens: int) -> _Sent:
        sent = _Sent(self._episode, tokens)
        _SENT.set(sent)
        self._last_sent = asyncio.get_running_loop().time()
        if self._is_probing:
            self._probe = sent
        if self._tpm is not None:
            self._charge(self._last_sent, tokens)
        for kind, (left, until) in self._left.items():
            self._left[kind] = left - (1 if kind == "requests" else tokens), until
        self._in_flight += 1
        self._tokens_in_flight += tokens
        self._peak = max(self._peak, self._in_flight)
        return sent

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _recover(self, now: float) -> None:
        """Go on after a refusal: at what was accepted since the last one was got over, if it is the rate."""
        if not self._is_rate and self._limit < self._before / 2:
            self._is_rate, self._limit = True, self._before
        if self._is_rate:
            pace = (self._accepted + 0.5) / max(now - self._since, 0.001)
            if self._pace is not None:
                if self._is_rising:  # while it rose, it was less
                    pace = math.sqrt(pace * self._pace)
                self._is_searching = False
                pace = min(max(pace, _SLOWEST * self._pace), _SLOWER * self._pace)
            else:
                self._is_searching = now - self._since < _MINUTE
            self._pace = pace
        self._since, self._accepted, self._refusals, self._is_rate = now, 0, 0, False

    def _rise(self, now: float) -> None:
        if self._is_probing:
            return
        if (self._episode == 0 or self._pace is not None) and 2 * self._in_flight >= self._limit:
            self._limit = min(self._limit + _GROWTH, self._most)
        hold = 0.0 if self._is_searching else _MINUTE
        if self._episode and (seconds := now - max(self._risen, self._since + hold)) > 0:
            rise = (_SEARCH if self._is_searching else _RISE) ** min(seconds, _FREE)
            self._limit = min(self._limit * rise, self._most)
            if self._pace is not None:
                known = self._accepted / (now - self._since)
                self._pace = None if now - self._since > _FREE else max(min(self._pace * rise, 3 * known), self._pace)
        self._risen = now

    def _heed(self, headers: Mapping[str, str], now: float, sent: _Sent) -> None:
        """Note what a server says is left; of the others in flight it may know or not."""
        others = {"requests": self._in_flight - 1, "tokens": self._tokens_in_flight - sent.tokens}
        for kind, unknown in others.items():
            left = headers.get(f"x-ratelimit-remaining-{kind}", "")
            reset = _seconds(headers.get(f"x-ratelimit-reset-{kind}", ""))
            if left.isdecimal() and reset is not None:
                # A longer time is for the refusals to tell: then it is seen.
                self._left[kind] = int(left) - unknown, now + min(reset, _MINUTE)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long a server wants silence.

    Args:
        headers: Those of its response; names in lower case, or a mapping to which case is nothing.

    Returns:
        Seconds, from `retry-after-ms` or `retry-after` (RFC 9110: seconds or a date); None: it does not say.
    """
    value = headers.get("retry-after", "")
    for text, unit in ((headers.get("retry-after-ms", ""), 0.001), (value, 1.0)):
        if (seconds := _number(text)) is not None:
            return seconds * unit
    # By the server's own clock, where it tells it.
    until, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)
    return None if until is None else max((until - now).total_seconds(), 0.0)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", text, re.ASCII) else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _seconds(text: str) -> float | None:
    """Read a duration like 1s, 6m0s, 120ms or 1h2m; a bare number is seconds."""
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return _number(text)
