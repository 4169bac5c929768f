"""Units of work: a phase in parts, which any process on any machine can compute.

A unit is exactly one batch of `Dataset.map`, and its rows are written by the same call, so a phase that was computed in
units has the rows of a run in one process. A folder beside the cache file of the phase holds the work list
(`work.pickle` and `rows.arrow`) and one sealed file per unit; whoever finds a unit skips it.
"""

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
from datasets import Dataset, Features
from datasets.arrow_writer import ArrowWriter

from ..errors import BuildError
from .code_version import code_version
from .files import is_intact, new_file, seal, write_changed

Form = Literal["python", "numpy", "arrow"]
MakeResources = Callable[[Path], Mapping[str, object]]
"""Makes the resources of a phase in another process, from the cache folder as that process sees it. Picklable."""
_LIST, _ROWS = "work.pickle", "rows.arrow"
_ROWS_PER_COPY = 10_000


@dataclass(frozen=True)
class Work:
    """A phase as a worker needs it; the fields are those of `transform.apply`."""

    phase: str
    function: Callable[..., Mapping[str, Any]]
    settings: Mapping[str, object]
    make_resources: MakeResources
    features: Features
    batch_size: int
    form: Form
    code: str = field(default="")
    """The version of the function's code where the work was listed."""


@dataclass(frozen=True)
class Units:
    """The unit files of a phase. A unit is named by the number of its first row."""

    folder: Path
    num_rows: int
    batch_size: int

    @property
    def starts(self) -> range:
        """The first row of each unit."""
        return range(0, self.num_rows, self.batch_size)

    def count_rows(self, start: int) -> int:
        """Return the number of input rows of a unit."""
        return min(self.batch_size, self.num_rows - start)

    def path(self, start: int) -> Path:
        """Return the file of a unit: its name has the first row and the one after the last."""
        return self.folder / f"{start:012}-{start + self.count_rows(start):012}.arrow"

    def list_missing(self, starts: Iterable[int]) -> list[int]:
        """Return those of the units that have no intact file."""
        return [start for start in starts if not is_intact(self.path(start))]

    def read(self, start: int) -> pa.Table | None:
        """Return the rows of a unit; None if it has no intact file."""
        if not is_intact(self.path(start)):
            return None
        return pa.ipc.open_stream(pa.memory_map(str(self.path(start)))).read_all()


class Engine(Protocol):
    """Computes units outside this process."""

    def run(self, work: Work, units: Units, starts: Sequence[int], advance: Callable[[int], object]) -> None:
        """Write the files of units.

        Args:
            work: The phase; `save_work` has written it to the folder of the units.
            units: Where the files belong.
            starts: The units to compute. This process computes those that are left out.
            advance: Called with the number of input rows after each unit.
        """


_engine: ContextVar[Engine | None] = ContextVar("engine", default=None)


@contextmanager
def running_on(engine: Engine | None) -> Iterator[None]:
    """Let an engine compute the units of all phases inside that can leave this process; None: compute them here."""
    token = _engine.set(engine)
    try:
        yield
    finally:
        _engine.reset(token)


def find_engine() -> Engine | None:
    """Return the engine of the innermost `running_on`."""
    return _engine.get()


def use_values(_: Path, **values: object) -> Mapping[str, object]:
    """Return picklable values as resources: with `partial`, a MakeResources."""
    return values


def run_on(engine: Engine, work: Work, units: Units, dataset: Dataset, advance: Callable[[int], object]) -> None:
    """Write the work list, and let the engine compute the units that have no file; `advance` counts all others too."""
    save_work(work, units, dataset)
    missing = units.list_missing(units.starts)
    advance(units.num_rows - sum(map(units.count_rows, missing)))
    if missing:
        engine.run(work, units, missing, advance)


def save_work(work: Work, units: Units, dataset: Dataset) -> None:
    """Write the work list: the phase and a copy of its input rows."""
    units.folder.mkdir(parents=True, exist_ok=True)
    rows = units.folder / _ROWS
    if not is_intact(rows):
        with new_file(rows) as fresh, ArrowWriter(features=dataset.features, path=str(fresh)) as writer:
            for table in dataset.with_format("arrow").iter(_ROWS_PER_COPY):
                writer.write_table(table)
            writer.finalize()
        seal(rows)
    write_changed(units.folder / _LIST, pickle.dumps(work))
    os.utime(units.folder / _LIST)  # the newest, for `list_work`, even if it was there


def list_work(cache_dir: Path, phase: str) -> list[Path]:
    """Return the folders with work lists of a phase, the newest last."""
    found = cache_dir.glob(f"{phase}-*.arrow.units/{_LIST}")
    return [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]


class UnitWorker:
    """Computes units of the work list in a folder, with resources that it makes once.

    Args:
        folder: A folder that `save_work` has written to.
        make_resources: In place of that of the list; None: that of the list.

    Raises:
        BuildError: If the list cannot be read, or another version of the code wrote it.
    """

    def __init__(self, folder: Path, make_resources: MakeResources | None = None) -> None:
        try:
            # The work list is as private as the rest of the cache folder: whoever can write there is trusted.
            work = pickle.loads((folder / _LIST).read_bytes())  # noqa: S301
            if not is_intact(folder / _ROWS):
                raise ValueError(f"{_ROWS} is damaged")
        except (OSError, ValueError, EOFError, pickle.PickleError, AttributeError, ImportError) as error:
            raise BuildError(f"the work list in {folder} cannot be read ({error}): run the build again") from None
        assert isinstance(work, Work)
        if work.code != code_version(work.function):
            raise BuildError(
                f"the work list in {folder} was written by another version of the package: install that version here, "
                "or run the build again with this one"
            )
        self.work = work
        self._rows = Dataset.from_file(str(folder / _ROWS))
        self.units = Units(folder, len(self._rows), work.batch_size)
        self._resources = (make_resources or work.make_resources)(folder.parent)

    def compute(self, start: int, is_final: Callable[[], bool] = lambda: True) -> bool:
        """Compute a unit that has no intact file; return whether its file is written: not unless `is_final()` then."""
        path, work = self.units.path(start), self.work
        if is_intact(path):
            return True
        with new_file(path) as fresh:
            map_batches(
                self._rows.select(range(start, start + self.units.count_rows(start))),
                lambda batch, _: work.function(batch, **work.settings, **self._resources),
                features=work.features,
                batch_size=work.batch_size,
                form=work.form,
                cache_file=fresh,
                digest="unit",
            )
            if not is_final():
                fresh.unlink()
                return False
        seal(path)
        return True


def map_batches(
    dataset: Dataset,
    function: Callable[[Mapping[str, Any], list[int]], object],
    *,
    features: Features,
    batch_size: int | None,
    form: Form,
    cache_file: Path,
    digest: str,
) -> Dataset:
    """Map a function of a batch and its row numbers, as `transform.apply` does: units and phases are written alike.

    All rows at once (`batch_size` None) come with the number of the first: a list of millions takes memory.
    """
    is_whole = batch_size is None
    return dataset.with_format(None if form == "python" else form).map(
        (lambda batch: function(batch, [0])) if is_whole else function,
        batched=True,
        with_indices=not is_whole,
        batch_size=batch_size,
        remove_columns=dataset.column_names,
        features=features,
        new_fingerprint=digest,
        cache_file_name=str(cache_file),
    )
