"""Phase 4: train, validation and test, without an instruction or near duplicates of it in two of them."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value

from ..core import CLUSTERED, Batch, Columns, Trace, apply, make_id, normalise, require_columns
from ..embedding import Encode, identify, open_encoder
from ..novelty import CosineIndex, choose_tokenizer, cosine_groups, highest_similarity, knows_script, near_groups
from ..recipe import EmbeddingSettings, SplittingSettings
from .stratified_groups import Stratum, allocate_groups

_LOG = logging.getLogger(__name__)
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
    in_meaning = settings.max_cosine is not None and knows_script(embedding, instances["instruction"])
    resources = {"encode": open_encoder(embedding, cache_dir) if in_meaning else None}
    depends_on = identify(embedding) if in_meaning else None
    assigned = apply(
        needed,
        split_table,
        phase="split",
        features=Features({**needed.features, "split": Value("string"), "group": Value("string")}),
        settings={"settings": settings, "seed": seed},
        resources=resources,
        depends_on=depends_on,
        batch_size=None,
        show_progress=True,
        cache_dir=cache_dir,
    )
    names = assigned["split"][:]
    if trace is not None and names:
        sizes = Counter(dict(zip(assigned["instruction_id"][:], assigned["group"][:], strict=True)).values())
        nearest = apply(
            assigned,
            measure_table,
            phase="leak",
            features=_LEAK,
            settings={"seed": seed, "max_pairs": _MAX_PAIRS},
            batch_size=None,
            cache_dir=cache_dir,
        )
        trace.facts.update(groups=len(sizes), largest_group=max(sizes.values()), nearest=dict(nearest[0]))
        if in_meaning:
            options = {"features": _COSINES, "resources": resources, "depends_on": depends_on, "batch_size": None}
            cosines = apply(assigned, measure_cosines_table, phase="leak-cosine", **options, cache_dir=cache_dir)
            trace.facts["in_meaning"] = dict(cosines[0])
    splits = DatasetDict()
    for name, share in _list_shares(settings).items():
        chosen = [row for row, found in enumerate(names) if found == name]
        if chosen:
            splits[name] = instances.select(chosen)
        elif share > 0:
            _LOG.warning("no instruction is left for the split %s: more instructions are needed to fill it", name)
    return splits


def _list_shares(settings: SplittingSettings) -> dict[str, float]:
    held_out = {"validation": settings.validation, "test": settings.test}
    return {"train": 1 - settings.validation - settings.test, **held_out}


def split_table(batch: Batch, *, settings: SplittingSettings, seed: int, encode: Encode | None = None) -> Columns:
    """Assign each row to a split.

    Reads the columns that `split` reads, of all rows; returns them with `split`, and `group`: the lowest
    `instruction_id` of the row's group. `seed` orders equal groups. `encode` embeds texts; without it `max_cosine` has
    no effect.
    """
    # If an id has several texts or strata, the lowest: the result must not depend on the order of rows.
    tasks: dict[str, tuple[str, Stratum]] = {}
    columns = (batch[name] for name in ("instruction_id", "instruction", "is_classification", "cluster"))
    for key, *values in zip(*columns, strict=True):
        task = (values[0], (values[1], values[2]))
        tasks[key] = min(tasks.get(key, task), task)
    groups = _group(batch, {key: task[0] for key, task in tasks.items()}, settings, encode)
    groups.sort(key=lambda group: make_id(str(seed), group[0]))
    shares = {name: share for name, share in _list_shares(settings).items() if share > 0}
    chosen = allocate_groups(groups, {key: task[1] for key, task in tasks.items()}, shares)
    by_id = {key: (name, group[0]) for group, name in zip(groups, chosen, strict=True) for key in group}
    names, firsts = zip(*(by_id[key] for key in batch["instruction_id"]), strict=True)
    return {**batch, "split": list(names), "group": list(firsts)}


def measure_table(batch: Batch, *, seed: int, max_pairs: int) -> Columns:
    """Find the highest ROUGE-L F1 of two instructions in different splits.

    All pairs are compared if there are at most `max_pairs`. Otherwise, a random sample of the held-out instructions
    (those of all splits but the largest) is compared with all instructions of the other splits. Reads the columns
    `instruction` and `split` of all rows; returns one row: `similarity`; `compared`, the number of compared held-out
    instructions; `held_out`, the number of all.
    """
    texts: dict[str, set[str]] = {}
    for text, name in zip(batch["instruction"], batch["split"], strict=True):
        texts.setdefault(name, set()).add(text)
    largest, *others = sorted(texts, key=lambda name: (-len(texts[name]), name))
    held_out = sorted(
        ((name, text) for name in others for text in texts[name]), key=lambda one: make_id(str(seed), *one)
    )
    compared = held_out[: max(1, max_pairs // max(1, sum(map(len, texts.values()))))]
    tokenizer = choose_tokenizer(sorted(set().union(*texts.values())))
    highest = 0.0
    for number, name in enumerate(others):
        own = [text for other, text in compared if other == name]
        # If all are compared, pairs of two held-out splits are compared from one side only.
        rest = others[:number] if len(compared) == len(held_out) else [other for other in others if other != name]
        references = sorted(set().union(*(texts[one] for one in (largest, *rest))))
        highest = max(highest, highest_similarity(own, references, tokenizer))
    return {"similarity": [highest], "compared": [len(compared)], "held_out": [len(held_out)]}


def measure_cosines_table(batch: Batch, *, encode: Encode) -> Columns:
    """Measure the cosines of instructions in different splits, over all pairs.

    Reads the columns `instruction` and `split` of all rows; `encode` embeds texts. Returns one row: `cosine`, the
    highest; `of_test`, the share of the test split whose nearest instruction of another split is above 0.85, and above
    0.9 (None without a test split or another one).
    """
    texts: dict[str, set[str]] = {}
    for text, name in zip(batch["instruction"], batch["split"], strict=True):
        texts.setdefault(name, set()).add(text)
    pool, highest = CosineIndex(1.0), 0.0
    shares: dict[str, float | None] = dict.fromkeys(_EDGES)
    for name in sorted(texts, key=lambda name: (name == "test", name)):
        vectors = encode(sorted(texts[name]))
        if len(pool):
            nearest = pool.compare(vectors).similarity
            highest = max(highest, float(nearest.max()))
            if name == "test":
                shares = {edge: float((nearest > float(edge)).mean()) for edge in _EDGES}
        pool.add(vectors)
    return {"cosine": [highest], "of_test": [shares]}


def _group(batch: Batch, texts: dict[str, str], settings: SplittingSettings, encode: Encode | None) -> list[list[str]]:
    """Return the sorted ids of each group of instructions that must stay together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids = sorted(texts)
    position = {key: row for row, key in enumerate(ids)}
    instructions = [texts[key] for key in ids]
    near = near_groups(instructions, settings.max_similarity, choose_tokenizer(instructions)).tolist()
    in_meaning = cosine_groups(encode(instructions), settings.max_cosine) if encode and settings.max_cosine else ids
    shared: list[tuple[object, str]] = [
        *zip(near, ids, strict=True),
        *((("meaning", group), key) for group, key in zip(in_meaning, ids, strict=True)),
        *zip(map(normalise, instructions), ids, strict=True),
    ]
    columns = (batch[name] for name in ("instruction_id", "attribute", "input"))
    for key, attribute, given in zip(*columns, strict=True):
        if normalise(given):
            shared.append(((normalise(attribute), normalise(given)), key))
    first: dict[object, str] = {}
    links = np.array([(position[first.setdefault(name, key)], position[key]) for name, key in shared])
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(ids), len(ids)))
    groups: dict[int, list[str]] = {}
    for key, label in zip(ids, connected_components(graph, directed=False)[1].tolist(), strict=True):
        groups.setdefault(label, []).append(key)
    return list(groups.values())
