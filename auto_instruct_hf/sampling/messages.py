"""Rows of a dataset as chats, ready for fine-tuning."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features

from ..core import CHAT, Batch, Columns, Keys, apply, are_in, hash_rows, hide_folder, to_table
from ..settings import ChatSettings

_NEEDED = ("instruction_id", "input", "instance_id", "attribute", "is_classification")


def add_messages(
    splits: DatasetDict,
    *,
    teacher: str = "",
    settings: ChatSettings | None = None,
    instances: DatasetDict | None = None,
    cache_dir: Path | None = None,
) -> DatasetDict:
    """Add the columns of `schema.CHAT`.

    Args:
        splits: Columns as `schema.INSTANCES`.
        teacher: The model that wrote the outputs; "": unknown.
        settings: Which prompts ask for the strategy of the output, and the system message.
        instances: If `splits` are a sample: what it was drawn from, which shows what prompts have several outputs.
            None: `splits`.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        The same rows with `teacher`; `prompt`: a user turn (instruction, strategy in the next line, blank line, input),
        after the system message if there is one; `completion`: an assistant turn (output); `messages`: both.
    """
    settings, instances = settings or ChatSettings(), instances or splits
    stated = _find_stated(instances, settings.strategy)
    chats = DatasetDict()
    for name, dataset in splits.items():
        chats[name] = apply(
            dataset,
            chat_batch,
            phase="messages",
            features=Features({**dataset.features, **CHAT}),
            settings={"system": settings.system, "teacher": hide_folder(teacher)},
            resources={"stated": stated},
            depends_on=[settings.strategy, *(part._fingerprint for part in instances.values())],
            cache_dir=cache_dir,
        )
    return chats


def chat_batch(batch: Batch, *, stated: Keys, system: str, teacher: str) -> Columns:
    """Add the columns of `schema.CHAT` to a batch with the columns of `schema.INSTANCES`.

    `stated` has the sorted keys (`core.hash_rows` of `instance_id`) of the instances whose prompt asks for their
    strategy.
    """
    keys = hash_rows(pa.table({"instance_id": batch["instance_id"]}), ["instance_id"])
    columns = (batch[name] for name in ("instruction", "attribute", "input"))
    prompts = [
        make_prompt(instruction, given, attribute if is_stated else "", system=system)
        for instruction, attribute, given, is_stated in zip(*columns, are_in(keys, stated), strict=True)
    ]
    completions = [make_completion(output) for output in batch["output"]]
    messages = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
    names = [teacher] * len(prompts)
    return {**batch, "teacher": names, "messages": messages, "prompt": prompts, "completion": completions}


def make_prompt(instruction: str, given: str, strategy: str = "", *, system: str = "") -> list[dict[str, str]]:
    """Return the turns before the answer; `given` is the input. Each text may be ""."""
    task = f"{instruction}\n{strategy}" if strategy else instruction
    turns = [{"role": "system", "content": system}] if system else []
    return [*turns, {"role": "user", "content": f"{task}\n\n{given}" if given else task}]


def make_completion(output: str) -> list[dict[str, str]]:
    """Return the turn of the answer."""
    return [{"role": "assistant", "content": output}]


def _find_stated(instances: Mapping[str, Dataset], when: str) -> Keys:
    """Return the sorted keys of the instances whose prompt asks for their strategy, by `ChatSettings.strategy`."""
    if when == "never":
        return np.array([], dtype=np.uint64)
    tables = [to_table(part, _NEEDED) for part in instances.values()]
    # The label of a classification task is its answer.
    tables = [table.filter(pc.invert(table["is_classification"])) for table in tables]
    rows, prompts, stated = (
        np.concatenate([hash_rows(table, names, needed=needed) for table in tables])
        for names, needed in (
            (("instance_id",), None),
            (("instruction_id", "input"), None),
            (("attribute", "instance_id"), "attribute"),
        )
    )
    _, once = np.unique(rows, return_index=True)
    _, prompt_of, counts = np.unique(prompts[once], return_inverse=True, return_counts=True)
    fewest = 1 if when == "always" else 2
    return np.unique(rows[once][(counts[prompt_of] >= fewest) & (stated[once] > 0)])
