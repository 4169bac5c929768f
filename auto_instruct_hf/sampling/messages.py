"""Rows of a dataset as chat messages."""

from pathlib import Path

from datasets import DatasetDict, Features

from ..core import MESSAGES, Batch, Columns, apply


def add_messages(splits: DatasetDict, *, cache_dir: Path | None = None) -> DatasetDict:
    """Add the column `messages`, ready for a chat fine-tune.

    Args:
        splits: Columns `instruction`, `input`, `output`.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        The same rows with `messages`: a user turn (instruction, blank line, input) and an assistant turn (output).
    """
    chat = DatasetDict()
    for name, dataset in splits.items():
        features = Features({**dataset.features, "messages": MESSAGES})
        chat[name] = apply(dataset, chat_batch, phase="messages", features=features, cache_dir=cache_dir)
    return chat


def chat_batch(batch: Batch) -> Columns:
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
