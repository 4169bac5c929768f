"""How fast and at what cost the teacher sends, beside bare loops over the same requests and beside other libraries.

    python benchmarks/teacher.py [--peer litellm=/path/to/its/python ...]
    python benchmarks/teacher.py --memory

All of it runs against a stub of an endpoint with a fixed latency, on loopback. Each measurement is a process of its
own; rounds are interleaved, so that what else the machine does strikes all alike. A peer runs in the virtual
environment that holds it:

    litellm     pip install "litellm[proxy]" diskcache soundfile    (its cache imports its proxy)
    langchain   pip install langchain-openai langchain-community
    curator     pip install bespokelabs-curator
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from clients import CLIENTS, make_body, ours
from latency_server import CONTENT, serve, stats
from peers import PEERS

_NOTES = """
rate     requests a second: the best round (the worst). The ceiling is concurrency / latency.
share    of the rate of `{base}`, best to best.
CPU      milliseconds of the client's process a request, user and system: the best round (the worst).
peak     the client's resident memory at its highest, MB. `ours` imports `datasets` and what comes with it.
again    the same requests once more, a second, answered from what was kept; none is sent anew unless told.
server   milliseconds of CPU a request of the stub's process.

What each does with a reply:
  ours       commits it to SQLite before it is used, so that a kill loses none that was; checks JSON and schema, and
             asks again; a rerun sends what lacks
  bare loops parse it; keep nothing, check nothing
  litellm    checks the schema and raises; keeps it (diskcache) in a task of its own, after it has been handed out: a
             kill loses replies that were used; a rerun sends what lacks
  langchain  parses JSON, does not check the schema; commits it to SQLite before it is used, whatever it holds; a rerun
             sends what lacks
  curator    appends it to a file of JSON lines, checked with a Pydantic model; hands all out at the end; a rerun of the
             same rows sends what lacks. Its probe of the endpoint is skipped
"""


def main() -> None:
    """Read the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="a measurement")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--latency", type=float, help="seconds; 0.2, with --memory 0.005")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(CLIENTS), default=list(CLIENTS))
    parser.add_argument("--base", default="openai", choices=list(CLIENTS), help="what shares are of")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=f"NAME: {', '.join(PEERS)}")
    parser.add_argument("--memory", action="store_true", help="100,000 requests in slices of 1,000: resident memory")
    parser.add_argument("--memory-requests", type=int, default=100_000)
    args = parser.parse_args()
    if args.memory:
        measure_memory(args.memory_requests, max(args.concurrency), args.latency or 0.005)
        return
    interpreters = dict.fromkeys(args.only, sys.executable)
    for peer in args.peer:
        name, _, interpreter = peer.partition("=")
        if name not in PEERS or not interpreter:
            parser.error(f"--peer {peer}: give NAME=PYTHON, NAME one of {', '.join(PEERS)}")
        interpreters[name] = interpreter
    for concurrency in args.concurrency:
        compare(interpreters, args.requests, concurrency, args.latency or 0.2, args.rounds, args.base)
    print(_NOTES.format(base=args.base))


def compare(
    interpreters: dict[str, str], requests: int, concurrency: int, latency: float, rounds: int, base: str
) -> None:
    """Measure clients in turn, so many rounds, and print a table of them.

    Args:
        interpreters: The Python that each is run by.
        requests: How many to send in a measurement.
        concurrency: How many are in flight at most.
        latency: Of the stub, in seconds.
        rounds: How often each is measured.
        base: The client that shares are of.
    """
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    with serve(latency) as url:
        for _ in range(rounds):
            for name, interpreter in interpreters.items():
                figures = _run(interpreter, name, url, requests, concurrency)
                if figures:
                    found[name].append(figures)
    print(
        f"\n{requests:,} requests, {concurrency} in flight, {1000 * latency:g} ms latency, {rounds} rounds "
        f"(ceiling {concurrency / latency:,.0f} a second)\n"
    )
    print("| client | rate | share | CPU ms | peak MB | again | server ms |\n|---|---|---|---|---|---|---|")
    best = {name: max(one["rate"] for one in rows) for name, rows in found.items()}
    for name, rows in found.items():
        rates, cpus = [one["rate"] for one in rows], [one["cpu"] for one in rows]
        share = f"{best[name] / best[base]:.2f}" if base in best else ""
        again = f"{max(one['again'] for one in rows):,.0f}" if "again" in rows[0] else ""
        sent_again = max(one.get("sent_again", 0) for one in rows)
        again += f" ({sent_again:.0f} sent)" if sent_again else ""
        print(
            f"| {name} | {max(rates):.0f} ({min(rates):.0f}) | {share} | {min(cpus):.2f} ({max(cpus):.2f}) "
            f"| {max(one['peak'] for one in rows):.0f} | {again} | {min(one['server'] for one in rows):.2f} |",
            flush=True,
        )


def _run(interpreter: str, name: str, url: str, requests: int, concurrency: int) -> dict[str, float]:
    command = [interpreter, str(Path(__file__).with_name("measure.py")), name, url, str(requests), str(concurrency)]
    before = stats(url)["cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} failed: {done.stderr.strip()[-600:]}", file=sys.stderr)
        return {}
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    figures["server"] = 1000 * (stats(url)["cpu"] - before) / requests
    return figures


def measure_memory(requests: int, concurrency: int, latency: float) -> None:
    """Send requests through one teacher in slices of 1,000, as `Dataset.map` does, and print its resident memory."""
    step, slice_ = max(1000, requests // 10), 1000
    print(f"{requests:,} requests in slices of {slice_:,}, {concurrency} in flight, {1000 * latency:g} ms latency\n")
    print("| requests | RSS MB |\n|---|---|")
    with serve(latency) as url, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ask = ours(url, concurrency, Path(folder), stack)
        ask([make_body(requests)])
        print(f"| 1 | {_resident():.1f} |", flush=True)
        for start in range(0, requests, slice_):
            replies = ask([make_body(number) for number in range(start, start + slice_)])
            if replies != [CONTENT] * slice_:
                raise SystemExit(f"wrong replies after {start:,} requests")
            if (start + slice_) % step == 0:
                print(f"| {start + slice_:,} | {_resident():.1f} |", flush=True)


def _resident() -> float:
    """Return the resident memory of this process in MB, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
