"""`filter_novel` in one part and in several: the time, the memory, and whether the same rows are kept.

    python benchmarks/novelty_shards.py --data instructions.jsonl --texts 3000000 --shards 1 4

Each is a process of its own that reads the texts from a memory-mapped file. Memory is anonymous memory above that of
the start, at its highest. The search is compiled before.
"""

import argparse
import json
import multiprocessing
import tempfile
import zlib
from pathlib import Path

from datasets import Dataset, disable_progress_bars
from end_to_end import Meter
from novelty_data import HOW, describe, make_texts

from auto_instruct_hf import filter_novel, read_seeds


def measure(texts_folder: str, num_shards: int, queue: "multiprocessing.Queue[int]") -> None:
    """Print a line, and put a checksum of the kept texts."""
    disable_progress_bars()
    texts = Dataset.load_from_disk(texts_folder)
    with tempfile.TemporaryDirectory() as folder:
        filter_novel(texts.select(range(min(30_000, len(texts)))), cache_dir=Path(folder))
        meter = Meter()
        kept = meter.wrap(f"{num_shards} parts", filter_novel)(texts, num_shards=num_shards, cache_dir=Path(folder))
        checksum = 0
        for batch in kept.iter(10_000):
            checksum = zlib.crc32("\n".join(batch["instruction"]).encode(), checksum)
        print(f"{len(kept):,} of {len(texts):,} kept, checksum {checksum:08x}", flush=True)
    queue.put(checksum)


def main() -> None:
    """Make the texts and print lines for each number of parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="JSON Lines with `instruction`; else the bundled seeds")
    parser.add_argument("--texts", type=int, default=3_000_000)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args()
    disable_progress_bars()
    lines = arguments.data.read_text(encoding="utf-8").splitlines() if arguments.data else []
    source = [json.loads(line)["instruction"] for line in lines] or list(read_seeds()["instruction"])
    print(f"source: {len(source)} texts; {describe(source)}\n{HOW}")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        made = Dataset.from_dict({"instruction": make_texts(source, arguments.texts)})
        made.save_to_disk(folder)
        del made
        found = set()
        for number in arguments.shards:
            queue: multiprocessing.Queue[int] = context.Queue()
            process = context.Process(target=measure, args=(folder, number, queue))
            process.start()
            found.add(queue.get())
            process.join()
    print("the same rows are kept" if len(found) == 1 else "OTHER ROWS ARE KEPT")


if __name__ == "__main__":
    main()
