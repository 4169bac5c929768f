"""Measure one client, by whichever interpreter has it, and print its figures as JSON.

Usage: python measure.py CLIENT URL REQUESTS CONCURRENCY
"""

import json
import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from clients import CLIENTS, make_body
from latency_server import CONTENT, stats
from peers import PEERS

_MAXRSS_A_MB = 2**20 if sys.platform == "darwin" else 2**10


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(name: str, url: str, requests: int, concurrency: int) -> dict[str, float]:
    """Send requests through one client and return its figures; `again` is the same requests once more, where kept."""
    bodies = [make_body(number) for number in range(requests + 1)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        ask = {**CLIENTS, **PEERS}[name](url, concurrency, Path(folder), stack)
        ask(bodies[-1:])  # what is imported and set up with the first request
        sent, cpu, start = stats(url)["requests"], _cpu(), time.perf_counter()
        replies = ask(bodies[:-1])
        seconds, cpu = time.perf_counter() - start, _cpu() - cpu
        if replies != [CONTENT] * requests or stats(url)["requests"] - sent != requests:
            raise SystemExit(f"{name}: {len(replies)} replies, {stats(url)['requests'] - sent} requests, {replies[:2]}")
        found = {"rate": requests / seconds, "cpu": 1000 * cpu / requests}
        if name in ("ours", *PEERS):
            start = time.perf_counter()
            ask(bodies[:-1])
            found["again"] = requests / (time.perf_counter() - start)
            found["sent_again"] = stats(url)["requests"] - sent - requests
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_A_MB
    return found


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
