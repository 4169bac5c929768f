"""Cached `Dataset.map`: every phase goes through here.

`datasets` fingerprints an importable function by reference, so an edited function would read a stale cache, and a
function that holds a client would never be cached. Here the fingerprint covers what determines the result: the input
rows, the code of the phase, its settings by value, and the output columns.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features

from .code_version import code_version
from .files import hash_file, is_intact, seal
from .progress import ProgressLine
from .units import Form, MakeResources, Units, Work, find_engine, map_batches, run_on

Batch = Mapping[str, list[Any]]
Columns = dict[str, list[Any]]
# Rows per batch where rows wait for replies: a batch ends by waiting for its last reply, so large batches wait less
# often. Replies are in the journal before the batch ends.
ASKING_BATCH = 10_000


@dataclass
class Trace:
    """What a phase reports besides its rows. Phases fill in the one passed to them."""

    rejected: Dataset | None = None
    """The dropped rows, with the reason in the column `rejected`."""
    tables: dict[str, Dataset] = field(default_factory=dict)
    """Other tables, by name."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Figures by name, ready for JSON."""


def apply(
    dataset: Dataset,
    function: Callable[..., Mapping[str, Any]],
    *,
    phase: str,
    features: Features,
    settings: Mapping[str, object] | None = None,
    resources: Mapping[str, object] | None = None,
    make_resources: MakeResources | None = None,
    depends_on: object = None,
    batch_size: int | None = 1000,
    form: Form = "python",
    show_progress: bool = False,
    cache_dir: Path | None = None,
    is_final: Callable[[], bool] = lambda: True,
    on_unit: Callable[[Batch, pa.Table], None] | None = None,
) -> Dataset:
    """Map a batch function over a dataset, cached on disk.

    Args:
        dataset: The input rows.
        function: Takes a batch of columns and keyword arguments, returns a batch of columns; N rows may become M.
        phase: Name of the cache file and the progress line.
        features: All output columns.
        settings: Keyword arguments that affect the result; part of the fingerprint, by value.
        resources: Keyword arguments that do not affect the result (a connection, a loaded model).
        make_resources: Makes them where an engine computes units (see `units.running_on`), and here if `resources` is
            None; None: the phase does not leave this process.
        depends_on: What else affects the result, by value, such as the name of a model behind a resource.
        batch_size: Rows per batch; None: all rows at once, for a table function.
        form: What the function receives: columns as lists or as numpy arrays, or a table of Arrow, which takes no
            memory for rows of a file.
        show_progress: Whether to show a progress line while rows are computed.
        cache_dir: Folder of the cache; None: the subfolder `auto_instruct_hf` of the cache of `datasets`.
        is_final: Called at the end: whether the result stands. If not, the next call computes it again.
        on_unit: Called with each batch whose rows another process computed, and these rows.

    Returns:
        The mapped dataset. Its fingerprint is the same in every process for the same inputs, code and settings; if the
        result is not final, it covers the rows as well.
    """
    settings = settings or {}
    digest = fingerprint(dataset._fingerprint, phase, code_version(function), settings, depends_on, repr(features))
    if len(dataset) == 0:
        return from_rows([], features, digest)
    folder = cache_dir or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    cache_file = folder / f"{phase}-{digest}.arrow"
    is_cached = is_intact(cache_file)
    if not is_cached:
        cache_file.unlink(missing_ok=True)  # datasets would read what is left of it
    units = Units(Path(f"{cache_file}.units"), len(dataset), batch_size or len(dataset))
    engine = None if is_cached or make_resources is None else find_engine()
    is_shown = None if (show_progress or engine) and not is_cached else False

    @cache
    def own_resources() -> Mapping[str, object]:
        return make_resources(folder) if make_resources and resources is None else resources or {}

    with ProgressLine(phase, len(dataset), is_shown=is_shown) as line, without_bars():
        if engine and make_resources:
            code = code_version(function)
            work = Work(phase, function, settings, make_resources, features, units.batch_size, form, code)
            run_on(engine, work, units, dataset, line.advance)

        def call(batch: Batch, numbers: list[int]) -> object:
            found = units.read(numbers[0])
            if found is None or not engine:
                line.advance(units.count_rows(numbers[0]))
            if found is None:
                return function(batch, **settings, **own_resources())
            if on_unit is not None:
                on_unit(batch, found)
            return found

        mapped = map_batches(
            dataset,
            call,
            features=features,
            batch_size=batch_size,
            form=form,
            cache_file=cache_file,
            digest=digest,
        )
    mapped.reset_format()
    mapped._fingerprint = digest
    if not is_cached and not is_final():
        mapped._fingerprint = fingerprint(digest, hash_file(cache_file))
        return mapped
    if not is_cached:
        seal(cache_file)
    shutil.rmtree(units.folder, ignore_errors=True)
    return mapped


def default_folder() -> Path:
    """Return the default cache folder: a subfolder of the cache of `datasets`."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "auto_instruct_hf"


@contextmanager
def without_bars() -> Iterator[None]:
    """Disable the progress bars of `datasets` inside a block."""
    enabled = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if enabled:
            datasets.enable_progress_bars()


def keep(judged: Dataset, *, phase: str, cache_dir: Path | None = None, trace: Trace | None = None) -> Dataset:
    """Drop the rows with a reason in the column `rejected`, then drop that column.

    The rows are cached as by `apply`, in the file of `phase`; the trace, if given, receives the dropped rows.
    """
    if trace is not None:
        reasons = judged.select_columns("rejected").with_format("arrow")[:]["rejected"]
        trace.rejected = judged.select(np.flatnonzero(pc.not_equal(reasons, "").to_numpy()))
    features = Features({name: feature for name, feature in judged.features.items() if name != "rejected"})
    return apply(judged, kept_batch, phase=f"{phase}-kept", features=features, form="arrow", cache_dir=cache_dir)


def kept_batch(batch: pa.Table) -> pa.Table:
    """Return the rows of a batch whose `rejected` is "", without that column."""
    return batch.filter(pc.equal(batch["rejected"], "")).drop_columns("rejected")


def from_rows(rows: Iterable[Mapping[str, object]], features: Features, digest: str | None = None) -> Dataset:
    """Make a dataset with the columns of `features` from rows in memory.

    Its fingerprint is `digest`, or computed from the rows.
    """
    content = columns(list(rows), features)
    dataset = Dataset.from_dict(content, features=features)
    dataset._fingerprint = digest or fingerprint(content, repr(features))
    return dataset


def fingerprint(*parts: object) -> str:
    """Return a hash of the parts by value (JSON types and dataclasses, nested): 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_by_value).encode()).hexdigest()[:16]


def _by_value(part: object) -> object:
    if is_dataclass(part) and not isinstance(part, type):
        return asdict(part)
    raise TypeError(f"a setting of type {type(part).__name__} has no value to fingerprint: {part!r}")


def columns(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> Columns:
    """Turn rows into columns, as a batch function returns them."""
    return {name: [row[name] for row in rows] for name in names}


def rows(batch: Batch) -> list[dict[str, Any]]:
    """Turn columns into rows."""
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
