"""Drop near duplicates from a dataset."""

from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Value

from ..core import Batch, Columns, IntArray, Trace, apply, require_columns
from ..embedding import Encode, identify, open_encoder
from ..recipe import EmbeddingSettings
from .cosine import CosineIndex
from .index import NoveltyIndex
from .tokens import choose_tokenizer

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
            (0, 1]; None: compare words only. `docs/deduplicate.md` says how 0.9 was chosen.
        embedding: The embedding model of `max_cosine`.
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Receives the dropped rows, with `similarity` (ROUGE-L F1, or the cosine if that is the reason),
            `nearest_row` (the first row that is the most similar of those before it that stay, counted from 0 in
            `dataset`; for ROUGE-L, rows that only the cosine drops stay), `most_similar` (its text) and `rejected` (the
            reason). They replace columns of these names.

    Returns:
        The other rows, in their order, with all columns.

    Raises:
        SchemaError: If the column is missing, is not text, or holds a null.
    """
    dataset = require_columns(dataset, Features({column: Value("string")}), "filter_novel", (column,))
    found = apply(
        dataset.select_columns([column]),
        find_copies_table,
        phase="filter-novel",
        features=_VERDICT,
        settings={"threshold": threshold, "column": column, "tokenizer": tokenizer, "max_cosine": max_cosine},
        resources={"encode": open_encoder(embedding, cache_dir) if max_cosine else None},
        depends_on=identify(embedding or EmbeddingSettings()) if max_cosine else None,
        batch_size=None,
        cache_dir=cache_dir,
    )
    is_kept = np.array(found["rejected"][:], dtype=object) == ""
    if trace is not None:
        trace.rejected = _with_verdicts(dataset, found, np.flatnonzero(~is_kept), column)
    return dataset.select(np.flatnonzero(is_kept))


def find_copies_table(
    batch: Batch, *, threshold: float, column: str, tokenizer: str, max_cosine: float | None, encode: Encode | None
) -> Columns:
    """Find near duplicates of earlier rows.

    Args:
        batch: All rows; the column that is compared.
        threshold: As for `filter_novel`.
        column: As for `filter_novel`.
        tokenizer: As for `filter_novel`.
        max_cosine: As for `filter_novel`.
        encode: Embeds texts; needed for `max_cosine` only.

    Returns:
        Columns `similarity` and `nearest_row` (0 and -1 where a row stays) and `rejected`.
    """
    texts = batch[column]
    index = NoveltyIndex(threshold, choose_tokenizer(texts) if tokenizer == "auto" else tokenizer, nearest=False)
    found = index.add_novel(texts)
    kept = np.flatnonzero(found.is_novel)
    similarity = np.where(found.is_novel, 0.0, found.similarity)
    nearest = np.append(kept, -1)[found.nearest]  # the position -1 is for none
    rejected = np.where(found.is_novel, "", f"ROUGE-L above {threshold} with an earlier row").astype(object)
    if max_cosine and encode and len(kept):
        pool = CosineIndex(max_cosine)
        parts = [kept[start : start + _EMBEDDED] for start in range(0, len(kept), _EMBEDDED)]
        verdicts = [pool.add_novel(encode([texts[row] for row in part])) for part in parts]
        is_novel = np.concatenate([one.is_novel for one in verdicts])
        dropped, stays = kept[~is_novel], kept[is_novel]
        similarity[dropped] = np.concatenate([one.similarity for one in verdicts])[~is_novel]
        nearest[dropped] = stays[np.concatenate([one.nearest for one in verdicts])[~is_novel]]
        rejected[dropped] = f"cosine above {max_cosine} with an earlier row"
    return {"similarity": similarity.tolist(), "nearest_row": nearest.tolist(), "rejected": rejected.tolist()}


def _with_verdicts(dataset: Dataset, found: Dataset, rows: IntArray, column: str) -> Dataset:
    dropped = found.select(rows)
    columns = {name: dropped[name][:] for name in _VERDICT}
    columns["most_similar"] = dataset.select(columns["nearest_row"])[column][:]
    traced = dataset.select(rows)
    traced = traced.remove_columns([name for name in columns if name in traced.column_names])
    for name, values in columns.items():
        traced = traced.add_column(name, values)
    return traced
