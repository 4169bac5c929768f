"""When the next request may go to an endpoint: within the limits that were given, or those that its refusals show."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import NamedTuple

from .headers import remaining
from .quota import Quota

_MINUTE = 60.0
_AT_FIRST = 4
# A success makes room for an eighth more: where a limit is met, at most about one request in nine has been too many.
_GROWTH = 1 / 8
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0
# A server that wants so many seconds of silence counts requests by time, not those in flight.
_WINDOW = 5.0
# Refusals are stray while they are less than this share of the last answers, of about as many as are in flight or so
# many: what is in flight together is refused together. The share is begun so high that three in a row are not stray.
_MOST_STRAY, _ANSWERS, _PRIOR = 0.3, 16, 0.2
# Fewer in flight did not help when refusals go on after so many cuts: then there may be more than before the first.
_CUTS, _MORE, _CALM = 3, 1.25, 100
# Neither did it when no more than so many are left, or when all are refused again after so few successes (or twice the
# limit). Then time limits, and part of what was in flight before may be again.
_FEWEST, _SOON, _PART = 2.5, 10, 1 / 4
# Limits are by the minute, so what was found is held for a minute; what was found in less than ten seconds or by fewer
# than ten successes, much shorter. Then it rises, by so much in as long a time. A pace that has risen for as long as
# trebles it, with so many accepted, is not what limits.
_FOUNDED, _LEAST_HOLD, _RISE, _MOST_RISE, _ENOUGH = 10.0, 3.0, 0.6, 3.0, 40
_FREE = 1 + math.log(_MOST_RISE) / _RISE
# A pace that is held is not lowered by a refusal after more successes than this: it is a stray one.
_STREAK = 20
# A refused pace is lowered to what was accepted, within these shares of it.
_SLOWER, _SLOWEST = 0.95, 0.25


class _Sent(NamedTuple):
    episode: int  # how many times the throttle had been cut when it went
    tokens: int


# The request that the current task has sent: `succeeded` and `refused` speak of it.
_SENT: ContextVar[_Sent] = ContextVar("sent")


class Throttle:
    """Decides when a request may go. For one event loop.

    Limits that are given are held exactly: in no 60 s is there one request or one estimated token too many. Others are
    found: by the `x-ratelimit` headers where a server sends them, else by its refusals (HTTP 429). Where few of the
    last answers are refusals and the time they name is short, only the refused request waits, and one fewer may be in
    flight. Else nothing goes until that time is over, then a single request, and the others only when that was
    accepted. A refusal of that one, or of most soon after, or that names a longer time, tells of a rate: then requests
    are paced, by what had been accepted in how much time.

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
                raise ValueError(f"{name} is {value}: it must be above 0, or None for no limit")
        self._rpm, self._tpm = rpm, tpm
        self._quota: Quota | None = None
        # Only the first in line looks at the limits, and is woken when one may have changed.
        self._line = asyncio.Lock()
        self._changed: asyncio.Future[None] | None = None
        self._in_flight = self._tokens_in_flight = 0
        self._most, self._limit = concurrency or most, float(concurrency or min(_AT_FIRST, most))
        self._before = self._limit  # before the first cut
        self._pace: float | None = None  # requests a second
        self._has_risen = False  # the pace
        self._last_sent = self._silent_until = self._risen = self._held_until = -math.inf
        self._hold = _MINUTE  # for so many seconds what was found is kept
        self._is_climbing = True  # success raises the limit, for nothing has been found
        self._share = _PRIOR  # of refusals among the last answers
        self._cuts = 0  # of the limit, for refusals that seemed stray, one soon after another
        self._left: dict[str, tuple[float, float]] = {}  # what the server says is left, until when
        self._is_probing = False
        self._probe: _Sent | None = None
        self._episode = self._refusals = 0  # these one after another
        self._is_rate = False  # what the last refusal told of
        self._since = math.nan  # the beginning, or when the last refusal had been got over
        self._accepted = 0  # since then
        self._streak = 0  # accepted since the last refusal
        self._has_recovered = False  # from any refusal

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self._in_flight

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self, tokens: int = 0) -> AsyncIterator[None]:
        """Wait until a request may go; it is in flight until the context ends. Every attempt needs a slot of its own.

        Args:
            tokens: How many tokens it will use, as far as can be told.

        Yields:
            Nothing. In the same task, say `succeeded` or `refused` when the answer is there.
        """
        async with self._line:
            loop = asyncio.get_running_loop()
            if self._quota is None:
                self._quota, self._since = Quota(self._rpm, self._tpm), loop.time()
            is_open = False
            while not is_open:
                await self._opening(tokens)
                await self._quota.wait(tokens)
                # A refusal may have come meanwhile. Then what was let through is lost: seldom, and on the safe side.
                is_open = self._opens_at(tokens) <= loop.time()
            sent = self._send(tokens, loop.time())
            self._quota.send(tokens)
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
        self._share -= self._share / max(_ANSWERS, self._limit)
        self._streak += 1
        if self._quota is not None and tokens > sent.tokens:
            self._quota.charge(tokens - sent.tokens)
        if sent.episode == self._episode:
            self._is_probing = False
            if self._refusals:
                self._recover(now)
        self._rise(now)
        if headers:
            # Of the others in flight the server may know or not.
            for kind, unknown in ("requests", self._in_flight - 1), ("tokens", self._tokens_in_flight - sent.tokens):
                if told := remaining(headers, kind):
                    # For more than a minute a refusal must be the reason: that is seen.
                    self._left[kind] = told[0] - unknown, now + min(told[1], _MINUTE)
        self._wake()

    def refused(self, retry_after: float | None = None) -> float:
        """Say that the request of this task was refused with HTTP 429.

        Args:
            retry_after: For how many seconds the server wants silence; None: it does not say.

        Returns:
            For how many seconds this request must wait before it asks for a slot again; 0 where all wait.
        """
        now, sent = asyncio.get_running_loop().time(), _SENT.get()
        silence = _FIRST_BACKOFF if retry_after is None else retry_after
        is_new = sent.episode == self._episode  # else it went before the last cut, and is part of what that is for
        self._share += (1 - self._share) / max(_ANSWERS, self._limit)
        if is_new:
            self._rise(now)
            if self._is_climbing or (now > self._held_until and self._streak >= _CALM):
                self._cuts, self._before = 0, self._limit
        self._has_risen = now > self._held_until
        is_held = self._pace is None or (self._streak > _STREAK and not self._has_risen)
        self._streak = 0
        if not self._is_probing and silence < _WINDOW and self._share < _MOST_STRAY and is_held:
            if self._pace is None:
                self._cut(now, is_new)
            return silence
        if is_new or not self._is_probing:
            is_soon = self._has_recovered and self._accepted < max(_SOON, 2 * self._limit)
            self._is_rate = self._pace is not None or silence >= _WINDOW or self._refusals > 0 or is_soon
            if self._refusals:
                silence = max(silence, min(2.0**self._refusals, _LONGEST_BACKOFF))
            self._episode += 1
            self._refusals += 1
        if self._pace is None:
            self._limit = max(self._limit - 1, 1.0)
        self._silent_until = max(self._silent_until, now + silence)
        self._is_probing = True
        return 0.0

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

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _opens_at(self, tokens: int) -> float:
        """Return when a request may go as things stand; infinity: not before something happens."""
        if self._in_flight >= self.limit or self._probe is not None:
            return math.inf
        at = self._silent_until
        if self._pace is not None:
            at = max(at, self._last_sent + 1 / self._pace)
        for kind, (left, until) in list(self._left.items()) if self._left else ():
            if until <= asyncio.get_running_loop().time():
                del self._left[kind]
                self._is_probing = self._is_probing or left < 1  # to learn what is left now
            elif left < (1 if kind == "requests" else tokens):
                at = max(at, until)
        return at

    def _send(self, tokens: int, now: float) -> _Sent:
        self._last_sent, sent = now, _Sent(self._episode, tokens)
        _SENT.set(sent)
        if self._is_probing:
            self._probe = sent
        for kind, (left, until) in self._left.items():
            self._left[kind] = left - (1 if kind == "requests" else tokens), until
        self._in_flight += 1
        self._tokens_in_flight += tokens
        return sent

    def _recover(self, now: float) -> None:
        """Go on after a refusal."""
        seconds = max(now - self._since, 0.001)
        self._is_rate = self._is_rate or self._limit <= _FEWEST
        if self._is_rate:
            self._limit = max(self._limit, self._before * _PART)
            accepted = (self._accepted + 0.5) / seconds
            if self._pace is None:
                self._pace = accepted
            else:
                if self._has_risen and self._hold == _MINUTE:  # most of the time it was lower
                    accepted = math.sqrt(accepted * self._pace)
                self._pace *= min(max(accepted / self._pace, _SLOWEST), _SLOWER)
        self._is_climbing, self._share = False, _PRIOR
        self._has_recovered = True
        founded = min(max(seconds / _MINUTE, min(seconds, self._accepted) / _FOUNDED), 1.0)
        self._hold = max(_MINUTE * founded**2, _LEAST_HOLD)
        self._held_until = now + self._hold
        self._since, self._accepted, self._refusals, self._is_rate = now, 0, 0, False

    def _cut(self, now: float, is_new: bool) -> None:
        """Lower the limit by one; but set it back where that has not helped several times."""
        self._limit = max(self._limit - 1, 1.0)
        if not is_new:
            return
        self._episode += 1
        self._cuts += 1
        self._is_climbing = self._cuts > _CUTS
        if self._is_climbing:
            self._limit = min(max(self._limit, self._before * _MORE), self._most)
        self._hold, self._held_until = _MINUTE, now + _MINUTE

    def _rise(self, now: float) -> None:
        """Let the limit and the pace rise with success and time."""
        if self._is_probing:
            return
        if (self._is_climbing or self._pace is not None) and 2 * self._in_flight >= self._limit:
            self._limit = min(self._limit + _GROWTH, self._most)
        if not self._is_climbing and (seconds := now - max(self._risen, self._held_until)) > 0:
            rise = math.exp(_RISE * min(seconds / self._hold, _FREE))
            self._limit = min(self._limit * rise, self._most)
            if now - self._since > _FREE * self._hold and self._accepted > _ENOUGH:
                self._pace = None
            elif self._pace is not None:  # but not beyond what is used
                used = self._accepted / (now - self._since)
                self._pace = max(self._pace, min(self._pace * rise, _MOST_RISE * used))
        self._risen = now
