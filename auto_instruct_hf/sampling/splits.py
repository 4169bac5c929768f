"""Phase 4: train, validation and test, without an instruction or near duplicates of it in two of them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, Value

from ..core import (
    CLUSTERED,
    Columns,
    IntArray,
    Keys,
    Trace,
    apply,
    hash_rows,
    list_unique,
    make_id,
    rank,
    require_columns,
    to_table,
    with_columns,
)
from ..embedding import Encode, identify, open_encoder
from ..novelty import (
    CosineIndex,
    choose_tokenizer,
    connect,
    cosine_groups,
    highest_similarity,
    knows_script,
    near_groups,
)
from ..recipe import EmbeddingSettings, SplittingSettings
from .stratified_groups import allocate_groups

_LOG = logging.getLogger(__name__)
_ASSIGNED = "_assigned"
_NEEDED = ("instruction_id", "instruction", "is_classification", "attribute", "input", "cluster")
_LEAK = Features({"similarity": Value("float64"), "compared": Value("int64"), "held_out": Value("int64")})
_EDGES = ("0.85", "0.9")
_COSINES = Features({"cosine": Value("float64"), "of_test": {edge: Value("float64") for edge in _EDGES}})
# Seconds; enough for all pairs below about 50,000 instructions in the default shares.
_MAX_PAIRS = 500_000_000


def split(
    instances: Dataset,
    *,
    settings: SplittingSettings | None = None,
    embedding: EmbeddingSettings | None = None,
    seed: int = 42,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> DatasetDict:
    """Split by whole groups of instructions.

    Two instructions are in one group if they are equal or near duplicates (ROUGE-L above `max_similarity`, or a cosine
    above `max_cosine`), or if they have instances with the same attribute and the same input, not empty; groups that
    share an instruction are one.
    Every split has its share of each stratum (classification or not, cluster) as far as whole groups allow.

    Args:
        instances: Columns `instruction_id`, `instruction`, `is_classification`, `attribute`, `input` and `cluster`.
        settings: Shares of the splits, and thresholds.
        embedding: The embedding model of `max_cosine`.
        seed: Seed of the order of equal groups. The order of the rows does not change the result.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: If given, it receives the number of groups, the size of the largest, and how similar instructions in
            different splits are: in words (`measure_table`) and, with `max_cosine`, in meaning
            (`measure_cosines_table`).

    Returns:
        `train`, and `validation` and `test` if their share is above 0 and there is a group for them. None is empty.
    """
    instances = require_columns(instances, CLUSTERED, "split", _NEEDED)
    settings, embedding = settings or SplittingSettings(), embedding or EmbeddingSettings()
    needed = instances.select_columns(list(_NEEDED))
    in_meaning = settings.max_cosine is not None and knows_script(
        embedding, pc.unique(to_table(instances, ["instruction"])["instruction"]).to_pylist()
    )
    resources = {"encode": open_encoder(embedding, cache_dir) if in_meaning else None}
    depends_on = identify(embedding) if in_meaning else None
    assigned = apply(
        needed,
        split_table,
        phase="split",
        features=Features({"split": Value("string"), "group": Value("string")}),
        settings={"settings": settings, "seed": seed},
        resources=resources,
        depends_on=depends_on,
        batch_size=None,
        form="arrow",
        show_progress=True,
        cache_dir=cache_dir,
    )
    names = to_table(assigned, ["split"])["split"]
    if trace is not None and len(names):
        texts = with_columns(needed.select_columns("instruction"), assigned.select_columns("split"))
        options: dict[str, Any] = {"batch_size": None, "form": "arrow", "cache_dir": cache_dir}
        values = {"seed": seed, "max_pairs": _MAX_PAIRS}
        nearest = apply(texts, measure_table, phase="leak", features=_LEAK, settings=values, **options)
        sizes = _count_members(to_table(with_columns(needed, assigned), ["instruction_id", "group"]))
        trace.facts.update(groups=len(sizes), largest_group=int(sizes.max()), nearest=dict(nearest[0]))
        if in_meaning:
            options |= {"resources": resources, "depends_on": depends_on}
            cosines = apply(texts, measure_cosines_table, phase="leak-cosine", features=_COSINES, **options)
            trace.facts["in_meaning"] = dict(cosines[0])
    # Files, not selections of rows: what reads a selection as a whole keeps an object for each row.
    whole = with_columns(instances, assigned.select_columns("split").rename_column("split", _ASSIGNED))
    splits = DatasetDict()
    for name, share in _list_shares(settings).items():
        if pc.any(pc.equal(names, name)).as_py():
            splits[name] = apply(
                whole,
                take_split_batch,
                phase=f"split-{name}",
                features=instances.features,
                settings={"name": name},
                form="arrow",
                cache_dir=cache_dir,
            )
        elif share > 0:
            _LOG.warning("no instruction is left for the split %s: more instructions are needed to fill it", name)
    return splits


def take_split_batch(batch: pa.Table, *, name: str) -> pa.Table:
    """Return the rows of a batch that are assigned to a split, without the column that says so."""
    return batch.filter(pc.equal(batch[_ASSIGNED], name)).drop_columns(_ASSIGNED)


def _list_shares(settings: SplittingSettings) -> dict[str, float]:
    held_out = {"validation": settings.validation, "test": settings.test}
    return {"train": 1 - settings.validation - settings.test, **held_out}


def split_table(table: pa.Table, *, settings: SplittingSettings, seed: int, encode: Encode | None = None) -> pa.Table:
    """Assign each row to a split.

    `table` has the columns that `split` reads, of all rows. Returns `split`, and `group`: the lowest `instruction_id`
    of the row's group. `seed` orders equal groups. `encode` embeds texts; without it `max_cosine` has no effect.
    """
    # If an id has several texts or strata, the lowest: the result must not depend on the order of rows.
    tasks, task_of = list_unique(table, ["instruction_id", "instruction", "is_classification", "cluster"])
    ids = tasks["instruction_id"]
    groups = _group(table, tasks, task_of, settings, encode)
    _, first = np.unique(groups, return_index=True)
    order = np.argsort(np.argsort(_draw(ids.take(pa.array(first)), seed)))
    kinds = tasks["cluster"].to_numpy() + (tasks["is_classification"].to_numpy() << 32)
    strata = np.unique(kinds, return_inverse=True)[1]
    shares = {name: share for name, share in _list_shares(settings).items() if share > 0}
    chosen = allocate_groups(order[groups], strata, list(shares.values()))
    names = pa.array(shares).take(pa.array(chosen[order[groups]][task_of]))
    return pa.table({"split": names, "group": ids.take(pa.array(first[groups][task_of]))})


def measure_table(table: pa.Table, *, seed: int, max_pairs: int) -> Columns:
    """Find the highest ROUGE-L F1 of two instructions in different splits.

    All pairs are compared if there are at most `max_pairs`. Otherwise, a random sample of the held-out instructions
    (those of all splits but the largest) is compared with all instructions of the other splits. `table` has the columns
    `instruction` and `split` of all rows; returns one row: `similarity`; `compared`, the number of compared held-out
    instructions; `held_out`, the number of all.
    """
    texts = _list_texts(table)
    largest, *others = sorted(texts, key=lambda name: (-len(texts[name]), name))
    held_out = sum(len(texts[name]) for name in others)
    num_compared = min(held_out, max(1, max_pairs // (held_out + len(texts[largest]))))
    keys = [_draw(texts[name], seed, name) for name in others]
    last = np.sort(np.concatenate(keys))[num_compared - 1] if held_out else 0
    tokenizer = choose_tokenizer(text.as_py() for found in texts.values() for text in found)
    highest = 0.0
    for number, (name, own_keys) in enumerate(zip(others, keys, strict=True)):
        own = texts[name].filter(pa.array(own_keys <= last)).to_pylist()
        # If all are compared, pairs of two held-out splits are compared from one side only.
        rest = others[:number] if num_compared == held_out else [other for other in others if other != name]
        references = pa.concat_arrays([texts[one] for one in (largest, *rest)]).to_pylist()
        highest = max(highest, highest_similarity(own, references, tokenizer))
    return {"similarity": [highest], "compared": [num_compared], "held_out": [held_out]}


def measure_cosines_table(table: pa.Table, *, encode: Encode) -> Columns:
    """Measure the cosines of instructions in different splits, over all pairs.

    `table` has the columns `instruction` and `split` of all rows; `encode` embeds texts. Returns one row: `cosine`, the
    highest; `of_test`, the share of the test split whose nearest instruction of another split is above 0.85, and above
    0.9 (None without a test split or another one).
    """
    texts = _list_texts(table)
    pool, highest = CosineIndex(1.0), 0.0
    shares: dict[str, float | None] = dict.fromkeys(_EDGES)
    for name in sorted(texts, key=lambda name: (name == "test", name)):
        vectors = encode(texts[name].to_pylist())
        if len(pool):
            nearest = pool.compare(vectors).similarity
            highest = max(highest, float(nearest.max()))
            if name == "test":
                shares = {edge: float((nearest > float(edge)).mean()) for edge in _EDGES}
        pool.add(vectors)
    return {"cosine": [highest], "of_test": [shares]}


def _draw(texts: pa.Array, seed: int, *parts: str) -> Keys:
    """Return a random number for each text, always the same."""
    drawn = (int(make_id(str(seed), *parts, text.as_py()), 16) for text in texts)
    return np.fromiter(drawn, np.uint64, len(texts))


def _list_texts(table: pa.Table) -> dict[str, pa.Array]:
    """Return the different instructions of each split, sorted."""
    texts = {}
    for name in pc.unique(table["split"]).to_pylist():
        found = pc.unique(table["instruction"].filter(pc.equal(table["split"], name)))
        texts[name] = found.take(pc.sort_indices(found))
    return texts


def _group(
    table: pa.Table, tasks: pa.Table, task_of: IntArray, settings: SplittingSettings, encode: Encode | None
) -> IntArray:
    """Return the group of each instruction that must stay together, numbered from 0 by first occurrence."""
    instructions = tasks["instruction"].to_pylist()
    every = np.arange(len(instructions))
    links = [
        _link(near_groups(instructions, settings.max_similarity, choose_tokenizer(instructions)), every),
        _link(hash_rows(tasks, ["instruction"], normalised=["instruction"]), every),
    ]
    if encode and settings.max_cosine:
        links.append(_link(cosine_groups(encode(instructions), settings.max_cosine), every))
    shared = ("attribute", "input")
    keys = hash_rows(table, shared, normalised=shared, needed="input")
    links.append(_link(keys[keys > 0], task_of[keys > 0]))
    return connect(len(instructions), links)


def _link(keys: Keys | IntArray, tasks: IntArray) -> IntArray:
    """Return pairs of instructions, shape (n, 2), that connect those with the same key."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.stack([tasks[first][inverse], tasks], axis=1)


def _count_members(table: pa.Table) -> IntArray:
    """Return the number of different instructions of each group."""
    groups, tasks = rank(table["group"]), rank(table["instruction_id"])
    return np.bincount(groups[np.unique(tasks, return_index=True)[1]])
