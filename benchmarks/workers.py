"""Embed made-up instructions with one Ray worker and with two, each on one core: how much quicker are two?

The time counts from when each worker has computed its first unit: the start of Ray and the load of the model are left
out, and printed. Other work on the cores shows in the figures: repeat, and compare the ratios.

    python benchmarks/workers.py --texts 6400
"""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from datasets import Dataset, Features, Value

from auto_instruct_hf.core import Units, Work, from_rows, running_on
from auto_instruct_hf.embedding import embed
from auto_instruct_hf.embedding import phase as embedding
from auto_instruct_hf.engines import RayEngine

TEXT = Features({"instruction_id": Value("string"), "instruction": Value("string")})
WORDS = [
    "write",
    "explain",
    "list",
    "a",
    "the",
    "of",
    "short",
    "poem",
    "river",
    "number",
    "table",
    "city",
    "friend",
    "two",
]


class Timed:
    """Notes when units end."""

    def __init__(self, engine: RayEngine) -> None:
        self.engine, self.ends = engine, list[float]()

    def run(self, work: Work, units: Units, starts: Sequence[int], advance: Callable[[int], object]) -> None:
        """Run the units on Ray; the first end in the list is the start of all."""
        self.ends = [time.perf_counter()]
        self.engine.run(work, units, starts, lambda count: (self.ends.append(time.perf_counter()), advance(count)))


def make_texts(count: int) -> Dataset:
    """Return distinct instructions of 10 to 25 words."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(10, 25))) + f" {number}" for number in range(count)]
    return from_rows([{"instruction_id": f"i{n}", "instruction": text} for n, text in enumerate(texts)], TEXT)


def main(
    texts: Annotated[int, typer.Option(help="Number of instructions.")] = 6400,
    unit: Annotated[int, typer.Option(help="Instructions per unit.")] = 128,
    repeats: Annotated[int, typer.Option(help="Runs of each.")] = 2,
) -> None:
    """Print a row per run."""
    embedding._TEXTS_PER_BATCH = unit
    data, rates, vectors = make_texts(texts), dict[int, list[float]](), []
    print(f"{'workers':>7} {'texts/s':>8} {'first units, s':>14} {'all, s':>7}")
    for number in [1, 2] * repeats:
        with tempfile.TemporaryDirectory() as folder, RayEngine(num_workers=number) as engine:
            timed = Timed(engine)
            with running_on(timed):
                found = embed(data, cache_dir=Path(folder))
            vectors.append(np.array(found["embedding"][:], dtype=np.float32))
            start, first, last = timed.ends[0], timed.ends[number], timed.ends[-1]
            rates.setdefault(number, []).append((texts - number * unit) / (last - first))
        print(f"{number:>7} {rates[number][-1]:>8.0f} {first - start:>14.1f} {last - start:>7.1f}", flush=True)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    print("two workers to one:", ", ".join(f"{ratio:.2f}" for ratio in ratios))
    print("vectors equal to the bit:", all(np.array_equal(vectors[0], other) for other in vectors))


if __name__ == "__main__":
    typer.run(main)
