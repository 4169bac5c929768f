"""Drop near duplicates from a dataset."""

from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Value

from ..core import Batch, Columns, IntArray, Trace, apply, require_columns
from .index import NoveltyIndex
from .tokens import choose_tokenizer

_VERDICT = Features({"similarity": Value("float64"), "nearest_row": Value("int64"), "rejected": Value("string")})


def filter_novel(
    dataset: Dataset,
    *,
    threshold: float = 0.7,
    column: str = "instruction",
    tokenizer: str = "auto",
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
        cache_dir: Folder of the cache; None: as in `core.apply`.
        trace: Receives the dropped rows, with `similarity` (ROUGE-L F1), `nearest_row` (the first row
            that is the most similar of those before it that stay, counted from 0 in `dataset`), `most_similar` (its
            text) and `rejected` (the reason). They replace columns of these names.

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
        settings={"threshold": threshold, "column": column, "tokenizer": tokenizer},
        batch_size=None,
        cache_dir=cache_dir,
    )
    is_kept = np.array(found["rejected"][:], dtype=object) == ""
    if trace is not None:
        trace.rejected = _with_verdicts(dataset, found, np.flatnonzero(~is_kept), column)
    return dataset.select(np.flatnonzero(is_kept))


def find_copies_table(batch: Batch, *, threshold: float, column: str, tokenizer: str) -> Columns:
    """Find near duplicates of earlier rows.

    Args:
        batch: All rows; the column that is compared.
        threshold: As for `filter_novel`.
        column: As for `filter_novel`.
        tokenizer: As for `filter_novel`.

    Returns:
        Columns `similarity` and `nearest_row` (0 and -1 where a row stays) and `rejected`.
    """
    texts = batch[column]
    index = NoveltyIndex(threshold, choose_tokenizer(texts) if tokenizer == "auto" else tokenizer, nearest=False)
    verdicts = index.add_novel(texts)
    rows = np.append(np.flatnonzero(verdicts.is_novel), -1)  # rows of the pool's texts; the last is for none
    return {
        "similarity": np.where(verdicts.is_novel, 0.0, verdicts.similarity).tolist(),
        "nearest_row": rows[verdicts.nearest].tolist(),
        "rejected": [
            "" if is_novel else f"ROUGE-L above {threshold} with an earlier row" for is_novel in verdicts.is_novel
        ],
    }


def _with_verdicts(dataset: Dataset, found: Dataset, rows: IntArray, column: str) -> Dataset:
    dropped = found.select(rows)
    columns = {name: dropped[name][:] for name in _VERDICT}
    columns["most_similar"] = dataset.select(columns["nearest_row"])[column][:]
    traced = dataset.select(rows)
    traced = traced.remove_columns([name for name in columns if name in traced.column_names])
    for name, values in columns.items():
        traced = traced.add_column(name, values)
    return traced
