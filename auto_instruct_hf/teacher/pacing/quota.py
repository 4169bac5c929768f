"""Limits by the minute that are known beforehand, held exactly."""

import asyncio
import math
from collections import deque

from aiolimiter import AsyncLimiter

_MINUTE = 60.0
# Share of a minute's limit that may go at once: above what timers are late, below what a server notices.
_BURST = 0.01
# Keeps rounding on the safe side.
_MARGIN = 1 + 1e-6


class Quota:
    """Requests and tokens a minute. In no 60 s (the end not counted) more of either is let through.

    To be made inside the event loop. A single request of more tokens than the whole limit goes alone in its minute.

    Args:
        rpm: Requests a minute; None: no limit.
        tpm: Tokens a minute; None: no limit.
    """

    def __init__(self, rpm: float | None, tpm: int | None) -> None:
        self._tpm = tpm
        self._requests: AsyncLimiter | None = None
        self._tokens: AsyncLimiter | None = None
        if rpm is not None:
            # In 60 s no more than 1.5 requests is no more than one; less than one a minute is one in several minutes.
            rpm = rpm if rpm < 1 else math.floor(rpm)
            # A bucket of size B that leaks r a second lets fewer than B + 60 r through in less than 60 s. For the limit
            # to be the most that is below that, 60 r = limit - B + 1.
            size = max(1.0, math.floor(rpm * _BURST))
            self._requests = AsyncLimiter(size, _MARGIN * _MINUTE * size / (rpm - size + 1))
        if tpm is not None:
            # Tokens come in lumps that may be larger than a bucket: here it only spreads them, at the full rate; what
            # was let through in the last minute is counted.
            size = max(1.0, tpm * _BURST)
            self._tokens = AsyncLimiter(size, _MINUTE * size / tpm)
        self._counted: deque[tuple[float, int]] = deque()
        self._sum = 0
        self._owed = 0

    async def wait(self, tokens: int) -> None:
        """Wait until a request may go; it must go at once then. To be called by one task at a time.

        Args:
            tokens: How many it will use.
        """
        if self._tokens is not None and self._tpm is not None:
            rest, self._owed = float(tokens + self._owed), 0
            while rest > 0:
                part = min(self._tokens.max_rate, rest)
                await self._tokens.acquire(part)
                rest -= part
            loop = asyncio.get_running_loop()
            while self._used(loop.time()) + tokens > self._tpm and self._counted:
                await asyncio.sleep(self._counted[0][0] + _MINUTE - loop.time())
        if self._requests is not None:
            await self._requests.acquire()  # last, for what it lets through must not wait any more

    def send(self, tokens: int) -> None:
        """Count the tokens of a request that goes now."""
        if self._tpm is not None and tokens > 0:
            self._counted.append((asyncio.get_running_loop().time(), tokens))
            self._sum += tokens

    def charge(self, tokens: int) -> None:
        """Count tokens that a request used above its estimate: those that follow wait for them."""
        self.send(tokens)
        self._owed += tokens

    def _used(self, now: float) -> int:
        while self._counted and self._counted[0][0] + _MINUTE <= now:
            self._sum -= self._counted.popleft()[1]
        return self._sum
