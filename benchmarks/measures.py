"""Time and memory of the measurements of an instruction dataset.

    python benchmarks/measures.py --rows 50000 [--data instructions.jsonl]

Instructions and outputs are made from real ones as `novelty_data` says (the outputs from those of the bundled seeds);
each row has an instruction of its own, one of 40 clusters, and every tenth is a classification task with one of three
labels. Where embedding all texts would take more than three minutes, random unit vectors stand in their place, and the
table says so. The search of large pools is compiled before the clock starts.
"""

import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from datasets import Dataset
from memory import highest
from novelty_data import make_texts

from auto_instruct_hf.embedding.encoders import make_encoder
from auto_instruct_hf.evaluation.measures import (
    measure_alignment,
    measure_dataset,
    measure_distinct,
    measure_evenness,
    measure_lengths,
    measure_nearest,
    measure_overlap,
    measure_vendi,
    measure_verb_nouns,
)
from auto_instruct_hf.generation.seeds import read_seeds
from auto_instruct_hf.novelty.index import MAX_PAIRWISE
from auto_instruct_hf.recipe import EmbeddingSettings

_PROBE = 512  # texts that are embedded to see how long all would take
_PATIENCE = 180.0
_SIZE = 384  # dimensions of all-MiniLM-L6-v2


def make_rows(source: list[str], rows: int) -> dict[str, list[Any]]:
    """Return the columns of a dataset of so many rows."""
    draw = np.random.default_rng(0)
    kinds = [row % 10 == 0 for row in range(rows)]
    return {
        "instance_id": [str(row) for row in range(rows)],
        "instruction_id": [str(row) for row in range(rows)],
        "instruction": make_texts(source, rows),
        "input": [""] * rows,
        "output": make_texts(read_seeds()["output"][:], rows, seed=1),
        "is_classification": kinds,
        "attribute": [
            "abc"[label] if kind else "" for label, kind in zip(draw.integers(0, 3, rows), kinds, strict=True)
        ],
        "cluster": draw.zipf(1.5, rows).clip(max=40).tolist(),
    }


def embed_or_draw(texts: list[str], folder: Path) -> tuple[np.ndarray, str]:
    """Return vectors of texts, and where they are from."""
    encode = make_encoder(EmbeddingSettings(), folder)
    encode(texts[:1])
    start = time.perf_counter()
    encode(texts[:_PROBE])
    expected = (time.perf_counter() - start) * len(texts) / min(_PROBE, len(texts))
    if expected <= _PATIENCE:
        start = time.perf_counter()
        return encode(texts), f"embedded in {time.perf_counter() - start:.0f} s"
    made = np.random.default_rng(len(texts[0])).normal(size=(len(texts), _SIZE)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made, f"random unit vectors; embedding would take {expected:.0f} s"


def main(
    rows: Annotated[int, typer.Option(help="Rows of the dataset.")] = 50_000,
    data: Annotated[Path | None, typer.Option(help="JSON Lines with `instruction`; else the bundled seeds.")] = None,
) -> None:
    """Print the table."""
    seeds = read_seeds()["instruction"][:]
    lines = data.read_text(encoding="utf-8").splitlines() if data else []
    source = [json.loads(line)["instruction"] for line in lines] or seeds
    columns = make_rows(source, rows)
    instructions, outputs = columns["instruction"], columns["output"]
    words = [np.mean([len(text.split()) for text in texts]) for texts in (instructions, outputs)]
    print(f"{rows:,} rows; words an instruction {words[0]:.1f}, an output {words[1]:.1f}")
    measure_nearest(make_texts(source, MAX_PAIRWISE + 1, seed=2))
    with tempfile.TemporaryDirectory() as folder:
        prompts, how = embed_or_draw(instructions, Path(folder))
        print(f"vectors of the instructions: {how}")
        answers, how = embed_or_draw(outputs, Path(folder))
        print(f"vectors of the outputs: {how}")
    dataset = Dataset.from_dict(columns)
    table: dict[str, Callable[[], Any]] = {
        "lengths of outputs": partial(measure_lengths, outputs),
        "distinct-1 to 4 of instructions": partial(measure_distinct, instructions),
        "distinct-1 to 4 of outputs": partial(measure_distinct, outputs),
        "verbs and nouns": partial(measure_verb_nouns, instructions),
        "evenness of clusters": partial(measure_evenness, columns["cluster"]),
        "nearest of all instructions": partial(measure_nearest, instructions),
        "nearest of 5,000 outputs": partial(measure_nearest, outputs, num_rows=5_000),
        "overlap with the seeds": partial(measure_overlap, instructions, seeds),
        "Vendi score": partial(measure_vendi, prompts),
        "alignment of all rows": partial(measure_alignment, prompts, answers, columns["instruction_id"]),
        "measure_dataset, no embeddings": partial(measure_dataset, dataset, references=seeds, with_embeddings=False),
    }
    print(f"{'':34} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}")
    print(f"{'(the texts, the model, vectors)':34} {'':8} {'':8} {highest():8.0f}")
    for name, measure in table.items():
        wall, cpu = time.perf_counter(), time.process_time()
        measure()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"{name:34} {wall:8.2f} {cpu:8.2f} {highest():8.0f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
