"""Clusters beside the original's search: time, silhouette, agreement between seeds, and what comes after the fit.

    python benchmarks/clustering.py search INSTRUCTIONS [--rows N] [--most K]
    python benchmarks/clustering.py rules INSTRUCTIONS [--seeds N]
    python benchmarks/clustering.py assign INSTRUCTIONS [--seeds N]
    python benchmarks/clustering.py scale INSTRUCTIONS [--rows N]
    python benchmarks/clustering.py backends INSTRUCTIONS

INSTRUCTIONS is a JSON Lines file with the column `instruction`. With `--rows` above its length, embeddings are made up:
a real one, a quarter of another, noise of 0.02 a dimension. The original searches k = 2 to 50 with five starts and a
full silhouette each, here on UMAP's defaults and on our positions; both start from the same embeddings, not its TF-IDF.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import disable_progress_bars
from memory import highest, resident

from auto_instruct_hf import cluster
from auto_instruct_hf.clustering import phase as clustering
from auto_instruct_hf.clustering.mixture import fit_mixture
from auto_instruct_hf.clustering.reduction import find_neighbors, reduce_vectors
from auto_instruct_hf.core.schema import INSTANCES
from auto_instruct_hf.core.transform import Trace, from_rows
from auto_instruct_hf.embedding import phase as embedding
from auto_instruct_hf.embedding.encoders import make_encoder
from auto_instruct_hf.recipe import ClusteringSettings, EmbeddingSettings

Array = npt.NDArray[Any]


def read(path: str) -> list[str]:
    """Return the instructions of a JSON Lines file, each once."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return list(dict.fromkeys(json.loads(line)["instruction"] for line in lines))


def make_up(real: Array, rows: int, seed: int = 0) -> Array:
    """Return so many embeddings: the real ones, or made-up ones where there are fewer."""
    if rows <= len(real):
        return real[:rows]
    draw = np.random.default_rng(seed)
    made = np.empty((rows, real.shape[1]), dtype=np.float32)
    for start in range(0, rows, 10_000):
        one, other = draw.integers(0, len(real), (2, len(made[start : start + 10_000])))
        noise = draw.normal(scale=0.02, size=(len(one), real.shape[1])).astype(np.float32)
        block = real[one] + 0.25 * real[other] + noise
        made[start : start + 10_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return made


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the wall and the processor seconds of a block."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(f"{what:52s} {time.perf_counter() - wall:8.1f} s wall {time.process_time() - cpu:8.1f} s CPU", flush=True)


def run_phase(vectors: Array, settings: ClusteringSettings, seed: int = 42) -> tuple[Any, Trace]:
    """Run the whole phase on given vectors: all but the model is what a build runs."""
    texts = [f"made-up instruction {number}" for number in range(len(vectors))]
    place = {text: number for number, text in enumerate(texts)}
    row = {"attribute": "", "input": "", "output": "x"}
    data = from_rows(
        (
            {**row, "instance_id": text, "instruction_id": text, "instruction": text, "is_classification": n % 25 == 0}
            for n, text in enumerate(texts)
        ),
        INSTANCES,
    )
    before = embedding.make_encoder
    embedding.make_encoder = lambda *_: lambda words: vectors[[place[word] for word in words]]  # type: ignore[assignment]
    try:
        with tempfile.TemporaryDirectory() as folder:
            trace, cache = Trace(), Path(folder)
            with timed("  vectors into the store and out of it"):
                embedding.embed(clustering._unique(data), cache_dir=cache)
            before = resident()
            with timed("  phase 4 up to the clusters, the above known"):
                made = cluster(data, settings=settings, seed=seed, cache_dir=cache, trace=trace)
            trace.facts["megabytes"] = highest() - before
            labels = np.array(made["cluster"][:])
    finally:
        embedding.make_encoder = before
    return labels, trace


def search(real: Array, args: argparse.Namespace) -> None:
    """Time the original's search and ours in one run, and compare their silhouettes."""
    import umap
    from sklearn.metrics import silhouette_score
    from sklearn.mixture import GaussianMixture

    vectors = make_up(real, args.rows or len(real))
    reduce_vectors(vectors[:200], (2,), n_neighbors=15, seed=0)  # what numba compiles in each process
    print(f"{len(vectors):,} instructions\nours")
    labels, trace = run_phase(vectors, ClusteringSettings(max_clusters=args.most))
    print(f"  {trace.facts['num_clusters']} clusters. {trace.facts['choice']}")
    order = np.argsort([f"made-up instruction {number}" for number in range(len(vectors))])
    (ours,) = reduce_vectors(vectors[order], (6,), n_neighbors=15, seed=42)
    print("the original's search")
    with timed("  UMAP"):
        theirs = umap.UMAP(n_components=6, metric="cosine", random_state=42, n_jobs=1).fit_transform(vectors)
    spaces = {"ours": (ours, vectors[order], labels[order])}
    theirs = theirs.astype(np.float64)  # in single precision scikit-learn gives up on some components
    for name, positions, own in (("on its own UMAP", theirs, vectors), ("on our positions", ours, vectors[order])):
        best = (-1.0, np.zeros(len(positions)))
        with timed(f"  k = 2..{args.most}, 5 starts, full silhouettes {name}"):
            for number in range(2, args.most + 1):
                made = GaussianMixture(number, n_init=5, random_state=42).fit_predict(positions)
                best = max(best, (float(silhouette_score(positions, made)), made), key=lambda one: one[0])
        spaces[f"the original's highest {name}"] = (positions, own, best[1])
    print("full silhouettes: in 6 dimensions | by the cosine of the embeddings")
    for name, (positions, own, made) in spaces.items():
        silhouettes = silhouette_score(positions, made), silhouette_score(own, made, metric="cosine")
        print(f"  {name:44s} k = {len(set(made)):3d}  {silhouettes[0]:.3f} | {silhouettes[1]:.3f}")


def rules(real: Array, args: argparse.Namespace) -> None:
    """Compare the clusters of several seeds under each rule."""
    from sklearn.metrics import adjusted_rand_score

    for rule in args.rules.split(","):
        found = []
        for seed in range(args.first, args.first + args.seeds):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(quiet(run_phase, real, ClusteringSettings(criterion=rule), seed=seed))
        scores = [adjusted_rand_score(one[0], other[0]) for one, other in combinations(found, 2)]
        numbers = [trace.facts["num_clusters"] for _, trace in found]
        heights = [
            next(row["silhouette"] for row in trace.facts["curve"] if row["num_clusters"] >= number)
            for (_, trace), number in zip(found, numbers, strict=True)
        ]
        print(f"{rule:10s} agreement {np.mean(scores):.2f} (least {min(scores):.2f}), k {numbers}, "
              f"silhouette {np.mean(heights):.2f}", flush=True)  # fmt: skip


def assign(real: Array, args: argparse.Namespace) -> None:
    """Compare ways to assign rows that were not fitted with where a fit of all rows puts them."""
    vectors = make_up(real, args.rows or len(real))
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(args.seeds):
        for name, pair in assign_once(vectors, args.most, seed).items():
            found.setdefault(name, []).append(pair)
    print(f"{len(vectors):,} instructions, {args.most} clusters, {args.seeds} seeds: agreement | microseconds a row")
    for name, values in found.items():
        print(f"  {name:42s} {np.mean([one for one, _ in values]):.3f} | {np.mean([one for _, one in values]):,.0f}")


def assign_once(vectors: Array, number: int, seed: int) -> dict[str, tuple[float, float]]:
    """Fit four fifths of the rows, assign the others; return agreement and microseconds a row by way."""
    import umap
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import adjusted_rand_score

    draw = np.random.default_rng(seed).permutation(len(vectors))
    fitted, rest = np.sort(draw[len(draw) // 5 :]), np.sort(draw[: len(draw) // 5])
    known, new = vectors[fitted], vectors[rest]
    options: dict[str, Any] = {"n_init": 2, "seed": seed, "covariance_type": "full"}
    (whole,) = reduce_vectors(vectors, (6,), n_neighbors=15, seed=seed)
    wanted = fit_mixture(whole, number, **options).predict(whole)
    (positions,) = reduce_vectors(known, (6,), n_neighbors=15, seed=seed + 50)
    mixture = fit_mixture(positions, number, **options)
    labels = mixture.predict(positions)
    model = umap.UMAP(n_components=6, metric="cosine", min_dist=0.0, n_epochs=200, random_state=seed, n_jobs=1)
    theirs = np.asarray(model.fit_transform(known), dtype=float)
    of_theirs = fit_mixture(theirs, number, **options)
    model.transform(new[:20])  # compiles
    ridge = Ridge(1.0).fit(known, np.eye(labels.max() + 1)[labels])
    start = time.perf_counter()
    logistic = LogisticRegression(C=10.0, max_iter=200).fit(known, labels)
    seconds = time.perf_counter() - start

    def vote() -> Array:
        nearest, distances = find_neighbors(new, known, 15)
        votes = np.zeros((len(new), labels.max() + 1))
        np.add.at(votes, (np.arange(len(new))[:, None], labels[nearest]), 1 - distances)
        return votes.argmax(axis=1)

    def nearby(n_neighbors: int) -> Array:
        """Return the components of the mean position of the nearest, the nearer the heavier."""
        nearest, distances = find_neighbors(new, known, n_neighbors)
        width = np.maximum(distances[:, -1:] - distances[:, :1], 1e-6)
        weights = np.exp(-3 * (distances - distances[:, :1]) / width)
        weights /= weights.sum(axis=1, keepdims=True)
        return mixture.predict(np.einsum("rn,rnd->rd", weights, positions[nearest]))

    ways: dict[str, Callable[[], Array]] = {
        "umap.transform, mixture": lambda: of_theirs.predict(model.transform(new).astype(float)),
        "nearest neighbor's position, mixture": lambda: nearby(1),
        "15 neighbors' positions, mixture": lambda: nearby(15),
        "15 neighbors' vote": vote,
        "ridge regression to the cluster": lambda: ridge.predict(new).argmax(axis=1),
        "logistic regression to the cluster": lambda: logistic.predict(new),
    }
    found = {"(the fitted rows themselves)": (float(adjusted_rand_score(wanted[fitted], labels)), 0.0)}
    found["(fit of the logistic regression, in all)"] = (float("nan"), 1e6 * seconds)
    for name, way in ways.items():
        start = time.perf_counter()
        made = way()
        seconds = time.perf_counter() - start
        found[name] = (float(adjusted_rand_score(wanted[rest], made)), 1e6 * seconds / len(rest))
    return found


def scale(real: Array, args: argparse.Namespace) -> None:
    """Run the phase on many made-up rows, and say what it holds in memory at most."""
    vectors = make_up(real, args.rows or 200_000)
    with timed(f"{len(vectors):,} instructions"):
        _, trace = run_phase(vectors, ClusteringSettings(fit_sample=args.fit_sample))
    print(trace.facts["num_clusters"], trace.facts["choice"], f"fitted {trace.facts['fitted']:,}")
    print(f"{trace.facts['megabytes']:,.0f} MB at most above the rows and their vectors")


def backends(texts: list[str]) -> None:
    """Compare the backends with torch in batches of 512 tokens."""
    known: Array | None = None
    for backend in ("torch", "onnx", "onnx-int8"):
        for tokens in (256, 512, 1024, 2048):
            with tempfile.TemporaryDirectory() as folder:
                settings = replace(EmbeddingSettings(), backend=backend, batch_tokens=tokens)
                encode = make_encoder(settings, Path(folder))
                encode(texts[:50])
                start = time.perf_counter()
                made = encode(texts)
                seconds = time.perf_counter() - start
            known = made if known is None else known
            one, other = (find_neighbors(vectors, vectors, 11, is_self=True)[0][:, 1:] for vectors in (known, made))
            kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(one.tolist(), other.tolist(), strict=True)])
            cosine = (known * made).sum(axis=1)
            print(f"{backend:6s} {tokens:5d} tokens {len(texts) / seconds:6.0f} texts/s, least cosine "
                  f"{cosine.min():.6f}, mean {cosine.mean():.6f}, neighbours kept {kept:.4f}", flush=True)  # fmt: skip


def quiet(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function without what it prints."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        return function(*args, **options)


def main() -> None:
    """Run one of the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["search", "rules", "assign", "scale", "backends"])
    parser.add_argument("instructions")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--most", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--rules", default="silhouette,elbow")
    parser.add_argument("--fit-sample", type=int, default=50_000)
    args = parser.parse_args()
    disable_progress_bars()
    warnings.filterwarnings("ignore", module="umap")
    texts = read(args.instructions)
    if args.what == "backends":
        backends(texts)
        return
    with tempfile.TemporaryDirectory() as folder:
        real = make_encoder(EmbeddingSettings(), Path(folder))(texts)
    {"search": search, "rules": rules, "assign": assign, "scale": scale}[args.what](real, args)


if __name__ == "__main__":
    main()
