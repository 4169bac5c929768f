"""Columns of millions of rows as Arrow and numpy: no Python objects that stay, but for a few bytes a row."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Features, concatenate_datasets

from .arrays import IntArray
from .texts import make_id, normalise
from .transform import fingerprint

Keys = npt.NDArray[np.uint64]
_CHUNK = 10_000


def to_table(dataset: Dataset, names: Sequence[str]) -> pa.Table:
    """Return some columns of a dataset; those of a file are mapped into memory, not read."""
    columns = dataset.select_columns(list(names)).with_format("arrow")
    if columns._indices is None or not len(columns):
        return columns[:]
    # Of selected rows `datasets` makes a table with a part for each row, of some kilobytes.
    return pa.concat_tables([part.combine_chunks() for part in columns.iter(_CHUNK)])


def hash_rows(
    table: pa.Table, names: Sequence[str], *, normalised: Collection[str] = (), needed: str | None = None
) -> Keys:
    """Hash the texts of some columns of each row.

    Args:
        table: The rows; the columns hold strings.
        names: The columns.
        normalised: Those of them that are normalised first.
        needed: One of them: rows in which it is "" get the key 0.

    Returns:
        A key of 64 bits for each row. Of 21 million different rows two have the same with a probability of 1 in 80,000.
    """
    keys = np.empty(table.num_rows, dtype=np.uint64)
    start = 0
    for part in table.select(list(names)).to_batches(max_chunksize=_CHUNK):
        texts = {name: part[name].to_pylist() for name in names}
        texts |= {name: list(map(normalise, texts[name])) for name in normalised}
        rows = zip(*texts.values(), strict=True)
        found = np.fromiter((int(make_id(*row), 16) for row in rows), np.uint64, part.num_rows)
        if needed:
            found[[not text for text in texts[needed]]] = 0
        keys[start : start + part.num_rows] = found
        start += part.num_rows
    return keys


def rank(column: pa.ChunkedArray) -> IntArray:
    """Return the place of each value among the different values in sorting order, from 0."""
    places: IntArray = pc.rank(column, "ascending", tiebreaker="dense").to_numpy().astype(np.int64)
    return places - 1


def are_in(keys: Keys, known: Keys) -> npt.NDArray[np.bool_]:
    """Return for each key whether it is one of `known`, which are sorted."""
    places = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
    found: npt.NDArray[np.bool_] = known[places] == keys if len(known) else np.zeros(len(keys), dtype=bool)
    return found


def is_first(keys: Keys, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return for each row whether it is one of the rows `among`, and the first of them with its key."""
    found = np.zeros(len(keys), dtype=bool)
    rows = np.flatnonzero(among)
    found[rows[np.unique(keys[rows], return_index=True)[1]]] = True
    return found


def list_unique(table: pa.Table, names: Sequence[str]) -> tuple[pa.Table, IntArray]:
    """Return columns of the rows with a different first one of `names`, sorted by it, and where each row is there.

    If rows with the same first column differ, the lowest by the others, in their order, is taken.
    """
    place = rank(table[names[0]])
    order = pc.sort_indices(table, [(name, "ascending") for name in names]).to_numpy()
    chosen = order[np.unique(place[order], return_index=True)[1]]
    # `take` concatenates the parts of a column, of which one holds 2 GB of text at most: of the chosen rows alone.
    is_chosen = np.zeros(table.num_rows, dtype=bool)
    is_chosen[chosen] = True
    found = table.select(list(names)).filter(pa.array(is_chosen))
    return found.take(pa.array(np.searchsorted(np.flatnonzero(is_chosen), chosen))), place


def from_table(table: pa.Table, features: Features) -> Dataset:
    """Return a table in memory as a dataset; its fingerprint depends on its content only."""
    digest, table = sha256(), table.cast(features.arrow_schema).combine_chunks()
    for part in table.to_batches(max_chunksize=_CHUNK):
        digest.update(part.serialize())
    return Dataset(table, fingerprint=fingerprint(digest.hexdigest(), repr(features)))


def with_columns(dataset: Dataset, made: Dataset) -> Dataset:
    """Return a dataset with the columns of another one of as many rows, beside or in place of its own."""
    rest = dataset.remove_columns([name for name in made.column_names if name in dataset.column_names])
    found = concatenate_datasets([rest, made], axis=1)
    found._fingerprint = fingerprint(dataset._fingerprint, made._fingerprint)
    return found


class RowTable:
    """A growing list of rows, kept as Arrow: a fraction of the memory of dictionaries."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self._parts: list[pa.Table] = []
        self._starts: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not 0 <= row < self._size:
            raise IndexError(row)
        part = bisect_right(self._starts, row) - 1
        found: dict[str, Any] = self._parts[part].slice(row - self._starts[part], 1).to_pylist()[0]
        return found

    def extend(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append rows; columns that are not among the features are left out."""
        if rows:
            self._parts.append(pa.Table.from_pylist(list(rows), schema=self.features.arrow_schema))
            self._starts.append(self._size)
            self._size += len(rows)

    def to_dataset(self) -> Dataset:
        """Return all rows as a dataset."""
        return from_table(pa.concat_tables([self.features.arrow_schema.empty_table(), *self._parts]), self.features)
