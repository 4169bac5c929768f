"""A whole build of many instructions with a made-up teacher, in this process: the time and memory of each phase.

The teacher returns random words of a vocabulary of 40,000, by a Zipf-Mandelbrot law as in `novelty_data`, without a
network and a journal; embeddings are random vectors around 50 topics; nothing is compared in meaning, and the nearest
of a kept instruction is found with `--nearest` only: both take a time that grows with the square of the rows.
Everything else is a build's. Memory is anonymous memory above that of the start: the pages of mapped files can be
dropped.

    python benchmarks/end_to_end.py --instructions 100000
"""

import argparse
import json
import logging
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scale import WORDS, anonymous, cpu

from auto_instruct_hf import Recipe, Teacher, pipeline, read_seeds
from auto_instruct_hf.core import Vectors
from auto_instruct_hf.embedding import phase
from auto_instruct_hf.recipe import BootstrapSettings, SplittingSettings
from auto_instruct_hf.teacher import Reply, Request

_PHASES = (
    "bootstrap",
    "attribute",
    "complete",
    "curate",
    "cluster",
    "split",
    "stratify",
    "add_messages",
    "write_build",
)
_SHARE_CLF = 0.1
_VOCABULARY = np.array([one + other for one in WORDS[:200] for other in WORDS[:200]])
_CUMULATED = np.cumsum(1 / (np.arange(len(_VOCABULARY)) + 20.0))


class MadeUpTeacher(Teacher):
    """Answers with random words."""

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Return one reply a request, the same for the same request."""
        return [Reply(_answer(request)) for request in requests]


def _answer(request: Request) -> dict[str, Any]:
    generator = np.random.default_rng(zlib.crc32(f"{request.draw} {request.messages[-1]}".encode()))

    def write(count: int) -> str:
        return " ".join(_VOCABULARY[np.searchsorted(_CUMULATED, generator.random(count) * _CUMULATED[-1])])

    def attributes() -> dict[str, object]:
        if generator.random() < _SHARE_CLF:
            return {"is_classification": True, "labels": ["one", "two", "three"], "input": None, "strategies": []}
        return {"is_classification": False, "labels": [], "input": write(12), "strategies": [write(5), write(5)]}

    if request.prompt.name == "bootstrap":
        return {"instructions": [write(15) for _ in range(10)]}
    one: dict[str, Callable[[], dict[str, object]]] = {
        "attributes": attributes,
        "input": lambda: {"input": write(20)},
        "output": lambda: {"output": write(30)},
        "topic": lambda: {"topic": write(3)},
    }
    numbers = range(1, request.items + 1)
    return {"answers": [{"number": number, **one[request.prompt.name]()} for number in numbers]}


def encode(texts: list[str]) -> Vectors:
    """Return random vectors around 50 topics, the same for the same text."""
    topics = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    keys = [zlib.crc32(text.encode()) for text in texts]
    noise = np.random.default_rng(keys[0]).normal(size=(len(texts), 384)).astype(np.float32)
    vectors: Vectors = topics[np.array(keys) % 50] + noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Meter:
    """Measures calls: CPU and wall seconds, and the highest anonymous memory above that of the start, in MB."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._start, self._highest = anonymous(), 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._highest = max(self._highest, anonymous())
            time.sleep(0.05)

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, measured; several calls are added up."""

        def call(*values: object, **options: object) -> object:
            before, began = cpu(), time.perf_counter()
            self._highest = anonymous()
            result = function(*values, **options)
            one = self.found.setdefault(name, {"cpu": 0.0, "wall": 0.0, "mb": 0.0})
            one["cpu"] += cpu() - before
            one["wall"] += time.perf_counter() - began
            one["mb"] = max(one["mb"], self._highest - self._start)
            print(f"{name:12} {one['cpu']:>8.1f} CPU s {one['wall']:>8.1f} s {one['mb']:>8.0f} MB", flush=True)
            return result

        return call


def main() -> None:
    """Build, and print a line for each phase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", type=int, default=100_000)
    parser.add_argument("--nearest", action="store_true", help="also what each kept instruction is most similar to")
    arguments = parser.parse_args()
    count = arguments.instructions
    logging.disable(logging.WARNING)
    phase.make_encoder = lambda *_: encode
    recipe = Recipe(
        num_instructions=count,
        prompts="default",
        bootstrap=BootstrapSettings(max_cosine=None, nearest=arguments.nearest),
        splitting=SplittingSettings(max_cosine=None),
    )
    with tempfile.TemporaryDirectory() as folder:
        teacher = MadeUpTeacher("made-up", base_url="http://127.0.0.1:9/v1", journal=Path(folder) / "journal.sqlite")
        meter = Meter()
        for name in _PHASES:
            setattr(pipeline, name, meter.wrap(name, getattr(pipeline, name)))
        with teacher:
            made = meter.wrap("whole", pipeline.build)(read_seeds(), teacher, Path(folder) / "out", recipe)
        rows = {
            name: sum(map(len, part.values())) for name, part in (("sample", made.sample), ("kept", made.instances))
        }
    print(json.dumps({"instructions": count, **rows, "phases": meter.found}))


if __name__ == "__main__":
    main()
