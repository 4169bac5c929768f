"""The memory and time of the table functions, by the number of rows; what 21 million instances would take.

Each runs in a process of its own on made-up instances, read from memory-mapped files. Memory is anonymous memory above
that of the start: the pages of mapped files can be dropped. Usage:

    python benchmarks/scale.py [--instances 2000000] [--only curate split stratify]
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, concatenate_datasets, disable_progress_bars

from auto_instruct_hf import curate, split, stratify
from auto_instruct_hf.core import INSTANCES
from auto_instruct_hf.recipe import SplittingSettings
from auto_instruct_hf.sampling import add_messages

_TARGET = 21_000_000
_SHARE_CLF = 0.1
WORDS = np.array([a + b + c for a in "bdfghklmnprst" for b in "aeiou" for c in ("", "n", "r", "s", "l", "ck", "m")])
_CLUSTERED = Features({**INSTANCES, "cluster": ClassLabel(names=[f"topic {number}" for number in range(50)])})


def make_rows(num_instances: int) -> Iterator[dict[str, object]]:
    """Yield instances, two of each open instruction and three of each classification task, without near copies."""
    generator = np.random.default_rng(0)
    number = made = 0
    while made < num_instances:
        words = " ".join(WORDS[generator.integers(len(WORDS), size=90)])
        is_clf = bool(generator.random() < _SHARE_CLF)
        for place in range(3 if is_clf else 2):
            yield {
                "instance_id": f"{number:012x}{place:04x}",
                "instruction_id": f"{number:016x}",
                "instruction": words[:90],
                "is_classification": is_clf,
                "attribute": f"label {place}" if is_clf else words[90 + 30 * place : 120 + 30 * place],
                "input": f"{words[150:230]} {place if is_clf else ''}",
                "output": f"label {place}" if is_clf else words[10 * place : 300 + 10 * place],
                "cluster": number % 50,
            }
            made += 1
        number += 1


def run_curate(rows: Dataset, folder: Path) -> None:
    """Curate instances: the batch rules, and the comparison of all rows."""
    curate(rows, cache_dir=folder)


def run_split(rows: Dataset, folder: Path) -> None:
    """Split by whole groups, compared in words; comparing all pairs in meaning is another matter."""
    split(rows, settings=SplittingSettings(max_cosine=None), cache_dir=folder)


def run_stratify(rows: Dataset, folder: Path) -> None:
    """Sample one split: as many rows as there are."""
    stratify(DatasetDict(train=rows), num_samples=len(rows), cache_dir=folder)


def run_messages(rows: Dataset, folder: Path) -> None:
    """Write rows as chats."""
    add_messages(DatasetDict(train=rows), cache_dir=folder)


RUNS: dict[str, Callable[[Dataset, Path], None]] = {
    "curate": run_curate,
    "split": run_split,
    "stratify": run_stratify,
    "messages": run_messages,
}


def measure(name: str, files: list[str], queue: "multiprocessing.Queue[str]") -> None:
    """Run one function; put its CPU seconds, and the highest anonymous memory above that of the start, in MB."""
    disable_progress_bars()
    rows = concatenate_datasets(list(map(Dataset.from_file, files)))
    with tempfile.TemporaryDirectory() as empty:  # what is loaded and compiled once
        RUNS[name](rows.select(range(min(60_000, len(rows)))), Path(empty))
    start, highest, is_over = anonymous(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not is_over.wait(0.02):
            highest = max(highest, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    before, began = cpu(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        RUNS[name](rows, Path(folder))
    used, wall = cpu() - before, time.perf_counter() - began
    is_over.set()
    watcher.join()
    queue.put(json.dumps({"rows": len(rows), "cpu": used, "wall": wall, "mb": highest - start, "start": start}))


def anonymous() -> float:
    """Return the anonymous memory of this process in MB; on Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 2**10


def cpu() -> float:
    """Return the CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Make the instances, and print a line for each function."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=2_000_000)
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    arguments = parser.parse_args()
    disable_progress_bars()
    context = multiprocessing.get_context("spawn")
    print(f"{'':10} {'rows':>10} {'CPU s':>7} {'MB':>7} {'B/row':>7} {'GB at 21 million':>17}")
    with tempfile.TemporaryDirectory() as folder:
        made = Dataset.from_generator(
            make_rows,
            features=_CLUSTERED,
            gen_kwargs={"num_instances": arguments.instances},
            cache_dir=folder,
        )
        files = [one["filename"] for one in made.cache_files]
        for name in arguments.only:
            queue = context.Queue()
            process = context.Process(target=measure, args=(name, files, queue))
            process.start()
            found = json.loads(queue.get())
            process.join()
            a_row = 2**20 * found["mb"] / found["rows"]
            whole = (found["start"] + a_row * _TARGET / 2**20) / 2**10
            figures = f"{found['cpu']:>7.1f} {found['mb']:>7.0f} {a_row:>7.0f} {whole:>17.1f}"
            print(f"{name:10} {found['rows']:>10,} {figures}", flush=True)


if __name__ == "__main__":
    main()
