"""The folder that is published: Parquet by config and split, the card, the recipe."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features

from .schema import MESSAGES
from .transform import Batch, apply, without_bars

_SHARD_BYTES = 500_000_000


def add_messages(splits: DatasetDict, *, cache_dir: Path | None = None) -> DatasetDict:
    """Add the column `messages`, ready for a chat fine-tune.

    Args:
        splits: Columns `instruction`, `input`, `output`.
        cache_dir: Folder of the cache; None: as in `transform.apply`.

    Returns:
        The same rows with `messages`: a user's turn (instruction, an empty line, input) and an assistant's (output).
    """
    return DatasetDict(
        {
            name: apply(
                dataset,
                chat_batch,
                phase="messages",
                features=Features({**dataset.features, "messages": MESSAGES}),
                cache_dir=cache_dir,
            )
            for name, dataset in splits.items()
        }
    )


def chat_batch(batch: Batch) -> dict[str, list[Any]]:
    """Add `messages` to a batch of rows with `instruction`, `input` and `output`."""
    texts = zip(batch["instruction"], batch["input"], batch["output"], strict=True)
    messages = [
        [
            {"role": "user", "content": f"{instruction}\n\n{given}" if given else instruction},
            {"role": "assistant", "content": output},
        ]
        for instruction, given, output in texts
    ]
    return {**batch, "messages": messages}


def write_dataset(folder: Path, configs: Mapping[str, DatasetDict], files: Mapping[str, str]) -> None:
    """Write the published folder beside an earlier one, then put it in its place: it is never half of each.

    Args:
        folder: Where. A kill between two renames leaves none; the next run writes it.
        configs: Splits by config.
        files: Texts by file name: the card, the recipe.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for config, splits in configs.items():
        for split, dataset in splits.items():
            _write_parquet(dataset, fresh / "data" / config, split)
    for name, text in files.items():
        (fresh / name).write_text(text, encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_parquet(dataset: Dataset, folder: Path, split: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shards = max(1, -(-dataset.data.nbytes // _SHARD_BYTES))
    for number in range(shards):
        path = folder / f"{split}-{number:05d}-of-{shards:05d}.parquet"
        with without_bars():
            dataset.shard(shards, number, contiguous=True).to_parquet(path)
