"""tmp"""
import asyncio
from contextlib import asynccontextmanager
MOST_AT_ONCE = 64
def retry_after(h):
    v = h.get("retry-after")
    return float(v) if v else None
class Throttle:
    def __init__(self, concurrency=None, rpm=None, tpm=None):
        self.s = asyncio.Semaphore(concurrency or 32); self.until = 0
    @asynccontextmanager
    async def slot(self, tokens=0):
        async with self.s:
            while (d := self.until - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(d)
            yield
    def succeeded(self, headers=None, tokens=0): pass
    def refused(self, after=None): self.until = asyncio.get_running_loop().time() + (after or 1)
