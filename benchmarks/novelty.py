"""How fast near copies are found, beside other ways to do it.

    python benchmarks/novelty.py --data instructions.jsonl [--sizes 1000 10000 100000 1000000]
    python benchmarks/novelty.py --adversarial
    python benchmarks/novelty.py --data instructions.jsonl --restart 100000

Each measurement is a process of its own, with nothing but the texts when the clock starts; what is compiled is compiled
before (`--cold` measures that). MinHash-LSH is measured where datasketch is installed.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from memory import highest, resident
from novelty_data import HARD, HOW, describe, make_texts

from auto_instruct_hf.generation.seeds import read_seeds
from auto_instruct_hf.novelty import index
from auto_instruct_hf.novelty.index import NoveltyIndex
from auto_instruct_hf.novelty.joins import near_groups
from auto_instruct_hf.novelty.pairwise import Pairwise
from auto_instruct_hf.novelty.tokens import tokenize

THRESHOLD = 0.7
SIZES = (1_000, 10_000, 100_000, 1_000_000)
SAMPLED = 20  # candidates that rouge_score judges
CHECKED = 500  # decisions that rapidfuzz makes again
_OURS = ("decisions", "nearest")
_LARGEST = {"rapidfuzz": 30_000, "minhash": 100_000, "rouge_score": 100_000, "checked": 1_000_000}
_NOTES = """
s         seconds on the clock, tokenising included; of the compiled engine, used above {pairwise:,} texts, without its
          start from numba's cache, which stands beside it
CPU       seconds of CPU, all threads
peak      MB of resident memory at its highest above what the process had with the texts in memory
wrong     decisions that differ from those of `ours`
decisions `NoveltyIndex(nearest=False)`; nearest: with the exact highest similarity of every text
rouge_score  {sampled} candidates against the pool before them (at most 10,000 of it); the time of the whole is
          extrapolated, with the mean pool half as large as the last. `wrong` counts these candidates only
checked   {checked:,} random decisions made again by rapidfuzz against the whole pool before them; the time is its
rapidfuzz all against all by `cdist`, not above {rapidfuzz:,} texts
minhash   MinHash-LSH (datasketch, 128 permutations of single tokens), candidates verified by rapidfuzz
"""


def main() -> None:
    """Read the arguments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="JSON Lines with `instruction`; else the bundled seeds")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--adversarial", action="store_true", help="hard sets of the first size given, or 100,000")
    parser.add_argument("--cold", action="store_true", help="the time that the compiler takes, once for all")
    parser.add_argument("--restart", type=int, help="the time to build the index anew from so many accepted texts")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        _measure(*arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.cold:
            _print_cold(Path(folder))
        elif arguments.adversarial:
            _print_hard(Path(folder), 100_000 if arguments.sizes == SIZES else arguments.sizes[0])
        else:
            source = _read(arguments.data)
            print(f"source: {len(source)} texts; {describe(source)}")
            print(HOW)
            if arguments.restart:
                texts = make_texts(source, arguments.restart)
                _row(f"{arguments.restart:,} accepted", "restart", _run("restart", _write(texts, Path(folder))))
                return
            _print_table(source, arguments.sizes, arguments.methods, Path(folder))


def _print_table(source: list[str], sizes: list[int], methods: list[str], folder: Path) -> None:
    largest = make_texts(source, max(sizes))
    print(f"made: {describe(largest)}\n")
    times: dict[str, dict[int, float]] = {}
    for size in sizes:
        file = _write(largest[:size], folder)
        truth = None
        for method in methods:
            if size > _LARGEST.get(method, size) or (method == "minhash" and not find_spec("datasketch")):
                continue
            found = _run(method, file)
            truth = truth or found["novel"]
            times.setdefault(method, {})[size] = found["seconds"]
            _row(f"{size:,}", method, found, sum(a != b for a, b in zip(truth, found["novel"], strict=False)))
    for method, seconds in times.items():
        steps = [f"{a:,} to {b:,}: {_exponent(a, b, seconds):.2f}" for a, b in pairwise(sizes) if b in seconds]
        print(f"growth exponent of {method}: {'; '.join(steps)}")
    print(_NOTES.format(sampled=SAMPLED, checked=CHECKED, pairwise=index.MAX_PAIRWISE, rapidfuzz=_LARGEST["rapidfuzz"]))


def _exponent(a: int, b: int, seconds: dict[int, float]) -> float:
    return float(np.log(seconds[b] / seconds[a]) / np.log(b / a))


def _print_hard(folder: Path, size: int) -> None:
    for name, make in HARD.items():
        file = _write(make(size, random.Random(0)), folder)
        truth = _run("decisions", file)
        _row(name, "decisions", truth)
        _row(name, "nearest", _run("nearest", file))
        _row(
            name,
            f"groups, the first {size // 10:,}",
            _run("groups", _write(make(size // 10, random.Random(0)), folder)),
        )
        head = _write(make(3000, random.Random(0)), folder)
        ours, other = _run("decisions, compiled", head), _run("rapidfuzz", head)
        wrong = sum(a != b for a, b in zip(ours["novel"], other["novel"], strict=True))
        _row(name, f"the first {len(ours['novel']):,} against rapidfuzz", ours, wrong)


def _print_cold(folder: Path) -> None:
    file = _write([f"text {n} of {n % 7}" for n in range(100)], folder)
    for when in ("compiler", "cache"):
        os.environ["NUMBA_CACHE_DIR"] = str(folder / "numba")
        print(f"{when}: {_run('start', file)['seconds']:.1f} s")


def _row(name: str, method: str, found: dict[str, Any], wrong: int | None = None) -> None:
    disagreed = "" if wrong is None else f"  wrong {wrong}"
    admitted = f"{sum(found['novel']):>9,} novel" if found["novel"] else ""
    print(
        f"{name:>34}  {method:<20} {found['seconds']:>10,.2f} s  CPU {found['cpu']:>9,.2f} s  "
        f"peak {found['peak']:>6,.0f} MB  {admitted}{disagreed}  {found.get('note', '')}",
        flush=True,
    )


def _read(path: Path | None) -> list[str]:
    if path is None:
        return list(read_seeds()["instruction"])
    return [json.loads(line)["instruction"] for line in path.read_text(encoding="utf-8").splitlines()]


def _write(texts: list[str], folder: Path) -> Path:
    file = folder / "texts.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    return file


def _run(method: str, file: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", method, str(file)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _measure(method: str, file: str) -> None:
    texts = json.loads(Path(file).read_text(encoding="utf-8"))
    before = resident()
    note = {}
    if method in _OURS and len(texts) > index.MAX_PAIRWISE:
        start = time.perf_counter()
        _compiled(["a text to start with"])
        note = {"note": f"start {time.perf_counter() - start:.1f} s"}
    start, cpu = time.perf_counter(), time.process_time()
    found = {**METHODS, **OTHERS}[method](texts)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = highest() - before
    print(json.dumps({"novel": [], "seconds": seconds, "cpu": cpu, "peak": peak, **note, **found}))


def _decisions(texts: list[str]) -> dict[str, Any]:
    return {"novel": NoveltyIndex(THRESHOLD, nearest=False).add_novel(texts).is_novel.tolist()}


def _nearest(texts: list[str]) -> dict[str, Any]:
    return {"novel": NoveltyIndex(THRESHOLD, nearest=True).add_novel(texts).is_novel.tolist()}


def _compiled(texts: list[str]) -> dict[str, Any]:
    limit, index.MAX_PAIRWISE = index.MAX_PAIRWISE, -1
    try:
        return _decisions(texts)
    finally:
        index.MAX_PAIRWISE = limit


def _checked(texts: list[str]) -> dict[str, Any]:
    ours = NoveltyIndex(THRESHOLD, nearest=False).add_novel(texts).is_novel.tolist()
    start, pool, wrong, end = time.perf_counter(), Pairwise(), 0, 0
    rows = sorted(random.Random(0).sample(range(len(texts)), min(CHECKED, len(texts))))
    for row in rows:
        pool.add([tokenize(texts[other]) for other in range(end, row) if ours[other]])
        end = row
        best, _ = pool.search([tokenize(texts[row])])
        wrong += bool(best[0] > THRESHOLD) == ours[row]
    seconds = time.perf_counter() - start
    note = f"{wrong} of {len(rows):,} wrong; novel of them {sum(ours[row] for row in rows):,}"
    return {"novel": ours, "seconds": seconds, "cpu": seconds, "note": note}


def _groups(texts: list[str]) -> dict[str, Any]:
    return {"note": f"{near_groups(texts, THRESHOLD).max() + 1:,} groups"}


def _restart(texts: list[str]) -> dict[str, Any]:
    pool = NoveltyIndex(THRESHOLD, nearest=False)
    pool.add(texts)
    return {"note": f"{len(pool):,} texts in the pool"}


def _rapidfuzz(texts: list[str]) -> dict[str, Any]:
    pool, novel = Pairwise(), []
    for start in range(0, len(texts), 512):
        best, _ = pool.add_novel(list(map(tokenize, texts[start : start + 512])), THRESHOLD)
        novel += (~(best > THRESHOLD)).tolist()
    return {"novel": novel}


def _rouge_score(texts: list[str]) -> dict[str, Any]:
    from rouge_score.rouge_scorer import RougeScorer

    ours = NoveltyIndex(THRESHOLD, nearest=False).add_novel(texts).is_novel
    rows = [row for row, is_novel in enumerate(ours) if is_novel]
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    draw = random.Random(0)
    sampled = draw.sample(range(len(texts) // 2, len(texts)), SAMPLED)
    looked_at = min(len(rows), 10_000)
    start, pairs, wrong = time.perf_counter(), 0, 0
    for row in sampled:
        pool = [other for other in rows if other < row]
        pool = pool if len(pool) <= looked_at else draw.sample(pool, looked_at)
        above = max(scorer.score(texts[other], texts[row])["rougeL"].fmeasure for other in pool) > THRESHOLD
        pairs += len(pool)
        # Where the pool was too large to be compared whole, only a near copy that ours missed would tell.
        wrong += above and bool(ours[row]) if looked_at < len(rows) else above == bool(ours[row])
    a_pair = (time.perf_counter() - start) / pairs
    whole = a_pair * len(rows) / 2 * len(texts)
    note = (
        f"{1000 * a_pair:.3f} ms a pair, {pairs:,} pairs; {wrong} of {SAMPLED} wrong; the whole {whole / 3600:,.1f} h"
    )
    return {"seconds": whole, "cpu": whole, "note": note}


def _minhash(texts: list[str]) -> dict[str, Any]:
    from datasketch import MinHash, MinHashLSH

    # Of two texts of one length, F1 above t means a Jaccard index above t / (2 - t).
    lsh = MinHashLSH(threshold=THRESHOLD / (2 - THRESHOLD), num_perm=128)
    tokens = [tokenize(text) for text in texts]
    novel = []
    for row, text in enumerate(tokens):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([token.encode() for token in text])
        near = Pairwise()
        near.add([tokens[other] for other in lsh.query(sketch)])
        is_novel = not near.search([text])[0][0] > THRESHOLD
        novel.append(bool(is_novel))
        if is_novel:
            lsh.insert(row, sketch)
    return {"novel": novel}


METHODS = {
    "decisions": _decisions,
    "nearest": _nearest,
    "checked": _checked,
    "rapidfuzz": _rapidfuzz,
    "rouge_score": _rouge_score,
    "minhash": _minhash,
}
OTHERS = {"decisions, compiled": _compiled, "groups": _groups, "restart": _restart, "start": _compiled}

if __name__ == "__main__":
    main()
