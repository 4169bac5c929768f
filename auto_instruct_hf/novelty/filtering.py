"""Drop near duplicates from a dataset."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, Features, Value, concatenate_datasets

from ..core import Batch, IntArray, Trace, apply, require_columns, to_table
from ..embedding import Encode, identify, open_encoder
from ..recipe import EmbeddingSettings
from .cosine import CosineIndex, knows_script
from .index import NoveltyIndex, Verdicts
from .tokens import choose_tokenizer

_BATCH = 10_000
_EMBEDDED = 4096  # rows at a time, to hold the embeddings of kept rows only
_VERDICT = Features({"similarity": Value("float64"), "nearest_row": Value("int64"), "rejected": Value("string")})


def filter_novel(
    dataset: Dataset,
    *,
    threshold: float = 0.7,
    column: str = "instruction",
    tokenizer: str = "auto",
    max_cosine: float | None = None,
    embedding: EmbeddingSettings | None = None,
    num_shards: int = 1,
    cache_dir: Path | None = None,
    trace: Trace | None = None,
) -> Dataset:
    """Drop near duplicates of earlier kept rows.

    Args:
        dataset: Rows with the column of text.
        threshold: A row whose ROUGE-L F1 with an earlier one is above this is dropped. In (0, 1].
        column: The column of text to compare.
        tokenizer: `rouge`: runs of a-z and 0-9, as `rouge_score` has it; `unicode`: words of any script; `auto`: the
            latter where most letters are not a-z.
        max_cosine: Of the rows that are left, drop those whose cosine with an earlier one that stays is above this. In
            (0, 1]; None, or a script that the embedding model does not know: compare words only.
            `docs/deduplicate.md` says how 0.9 was chosen.
        embedding: The embedding model of `max_cosine`.
        num_shards: Parts of the dataset, of which two at a time are held in memory: the same rows are dropped.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Receives the dropped rows, with `similarity` (ROUGE-L F1, or the cosine if that is the reason),
            `nearest_row` (the first row that is the most similar of those before it that stay, counted from 0 in
            `dataset`; for ROUGE-L, rows that only the cosine drops stay; with several shards, of the first shard with
            such a row), `most_similar` (its text) and `rejected` (the reason). They replace columns of these names.

    Returns:
        The other rows, in their order, with all columns.

    Raises:
        SchemaError: If the column is missing, is not text, or holds a null.
    """
    dataset = require_columns(dataset, Features({column: Value("string")}), "filter_novel", (column,))
    texts = dataset.select_columns([column])
    embedding = embedding or EmbeddingSettings()
    if tokenizer == "auto":
        tokenizer = choose_tokenizer(_read(texts, column))
    if max_cosine and not knows_script(embedding, _read(texts, column)):
        max_cosine = None
    num_shards = max(1, min(num_shards, len(dataset)))
    found: list[Dataset] = []
    for shard in range(num_shards):
        found.append(
            apply(
                texts.shard(num_shards, shard, contiguous=True),
                find_copies_table,
                phase="filter-novel",
                features=_VERDICT,
                settings={"threshold": threshold, "column": column, "tokenizer": tokenizer, "max_cosine": max_cosine},
                resources={
                    "encode": open_encoder(embedding, cache_dir) if max_cosine else None,
                    "earlier": [(texts.shard(num_shards, n, contiguous=True), one) for n, one in enumerate(found)],
                },
                depends_on=[
                    identify(embedding) if max_cosine else None,
                    *(one._fingerprint for one in found),
                ],
                batch_size=None,
                cache_dir=cache_dir,
            )
        )
    verdicts = concatenate_datasets(found)
    is_kept = pc.equal(to_table(verdicts, ["rejected"])["rejected"], "").to_numpy()
    if trace is not None:
        trace.rejected = _with_verdicts(dataset, verdicts, np.flatnonzero(~is_kept), column)
    return dataset.select(np.flatnonzero(is_kept))


def find_copies_table(
    batch: Batch,
    *,
    threshold: float,
    column: str,
    tokenizer: str,
    max_cosine: float | None,
    encode: Encode | None,
    earlier: Sequence[tuple[Dataset, Dataset]] = (),
) -> dict[str, object]:
    """Find near duplicates of earlier rows in a shard.

    Args:
        batch: All rows of the shard; the column that is compared.
        threshold: As for `filter_novel`.
        column: As for `filter_novel`.
        tokenizer: `rouge` or `unicode`.
        max_cosine: As for `filter_novel`.
        encode: Embeds texts; needed for `max_cosine` only.
        earlier: The shards before, each with what this function returned for it. One at a time is held in memory.

    Returns:
        Columns `similarity` and `nearest_row` (0 and -1 where a row stays; counted over all shards) and `rejected`.
    """
    texts = batch[column]
    found = _Found(len(texts))
    in_words = f"ROUGE-L above {threshold} with an earlier row"
    # Rows that only the cosine drops are in the pool of words.
    known = [(shard, np.flatnonzero(np.array(one["rejected"][:], dtype=object) != in_words)) for shard, one in earlier]
    _drop_copies(found, texts, partial(NoveltyIndex, threshold, tokenizer, nearest=False), known, column, in_words)
    if max_cosine and encode:
        in_meaning = f"cosine above {max_cosine} with an earlier row"
        known = [(shard, np.flatnonzero(np.array(one["rejected"][:], dtype=object) == "")) for shard, one in earlier]
        _drop_copies(found, texts, partial(_MeaningIndex, max_cosine, encode), known, column, in_meaning)
    return found.columns()


class _Index(Protocol):
    def add(self, texts: Sequence[str]) -> None: ...
    def compare(self, texts: Sequence[str]) -> Verdicts: ...
    def add_novel(self, texts: Sequence[str]) -> Verdicts: ...


class _MeaningIndex:
    """As `NoveltyIndex`, by the cosine of embeddings; not all embeddings of the texts are held at once."""

    def __init__(self, max_cosine: float, encode: Encode) -> None:
        self._pool, self._encode = CosineIndex(max_cosine), encode

    def add(self, texts: Sequence[str]) -> None:
        for part in _parts(texts):
            self._pool.add(self._encode(part))

    def compare(self, texts: Sequence[str]) -> Verdicts:
        return _join([self._pool.compare(self._encode(part)) for part in _parts(texts)])

    def add_novel(self, texts: Sequence[str]) -> Verdicts:
        return _join([self._pool.add_novel(self._encode(part)) for part in _parts(texts)])


class _Found:
    """What was found of the rows of a shard, all of which stay at first."""

    def __init__(self, size: int) -> None:
        self._similarity = np.zeros(size)
        self._nearest = np.full(size, -1, dtype=np.int64)
        self._rejected = np.full(size, "", dtype=object)

    def list_kept(self) -> IntArray:
        """Return the rows that stay."""
        return np.flatnonzero(self._rejected == "")

    def drop(self, rows: IntArray, judged: Verdicts, pool: IntArray, reason: str) -> None:
        """Drop those of the rows that are not novel; `pool` has the row of each text in the index."""
        dropped = ~judged.is_novel
        self._similarity[rows[dropped]] = judged.similarity[dropped]
        self._nearest[rows[dropped]] = pool[judged.nearest[dropped]]
        self._rejected[rows[dropped]] = reason

    def columns(self) -> dict[str, object]:
        """Return the columns of _VERDICT."""
        return {"similarity": self._similarity, "nearest_row": self._nearest, "rejected": self._rejected}


def _drop_copies(
    found: _Found,
    texts: Sequence[str],
    make_index: Callable[[], _Index],
    known: Sequence[tuple[Dataset, IntArray]],
    column: str,
    reason: str,
) -> None:
    """Drop texts that are near to a known row of an earlier shard, or to an earlier text that stays."""
    start = 0
    for shard, rows in known:
        left = found.list_kept()
        if len(left) and len(rows):
            index = make_index()
            index.add(to_table(shard.select(rows), [column])[column].to_pylist())
            found.drop(left, index.compare([texts[row] for row in left]), start + rows, reason)
        start += len(shard)
    left = found.list_kept()
    if len(left):
        judged = make_index().add_novel([texts[row] for row in left])
        found.drop(left, judged, start + left[judged.is_novel], reason)


def _read(texts: Dataset, column: str) -> Iterator[str]:
    return (text for batch in texts.iter(_BATCH) for text in batch[column])


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    return (list(texts[start : start + _EMBEDDED]) for start in range(0, len(texts), _EMBEDDED))


def _join(parts: Sequence[Verdicts]) -> Verdicts:
    names = ("is_novel", "similarity", "nearest")
    return Verdicts(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _with_verdicts(dataset: Dataset, found: Dataset, rows: IntArray, column: str) -> Dataset:
    dropped = found.select(rows)
    columns = {name: dropped[name][:] for name in _VERDICT}
    columns["most_similar"] = dataset.select(columns["nearest_row"])[column][:]
    traced = dataset.select(rows)
    traced = traced.remove_columns([name for name in columns if name in traced.column_names])
    for name, values in columns.items():
        traced = traced.add_column(name, values)
    return traced
