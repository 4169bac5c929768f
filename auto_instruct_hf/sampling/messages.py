"""Rows of a dataset as chats, ready for fine-tuning."""

from collections.abc import Mapping, Set
from pathlib import Path

from datasets import Dataset, DatasetDict, Features

from ..core import CHAT, Batch, Columns, apply, hide_folder
from ..recipe import ChatSettings


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
    with_strategy = _find_stated(instances, settings.strategy)
    chats = DatasetDict()
    for name, dataset in splits.items():
        chats[name] = apply(
            dataset,
            chat_batch,
            phase="messages",
            features=Features({**dataset.features, **CHAT}),
            settings={"system": settings.system, "teacher": hide_folder(teacher)},
            resources={"with_strategy": with_strategy},
            depends_on=[settings.strategy, *(part._fingerprint for part in instances.values())],
            cache_dir=cache_dir,
        )
    return chats


def chat_batch(batch: Batch, *, with_strategy: Set[str], system: str, teacher: str) -> Columns:
    """Add the columns of `schema.CHAT` to a batch with the columns of `schema.INSTANCES`.

    `with_strategy` has the ids of the instances whose prompt asks for their strategy.
    """
    columns = (batch[name] for name in ("instance_id", "instruction", "attribute", "input"))
    prompts = [
        make_prompt(instruction, given, attribute if key in with_strategy else "", system=system)
        for key, instruction, attribute, given in zip(*columns, strict=True)
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


def _find_stated(instances: Mapping[str, Dataset], when: str) -> frozenset[str]:
    """Return the ids of the instances whose prompt asks for their strategy, by `ChatSettings.strategy`."""
    if when == "never":
        return frozenset()
    by_prompt: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for part in instances.values():
        names = ("instruction_id", "input", "instance_id", "attribute", "is_classification")
        for instruction, given, key, attribute, is_classification in zip(
            *(part[name][:] for name in names), strict=True
        ):
            if not is_classification:  # the label of a classification task is its answer
                by_prompt.setdefault((instruction, given), set()).add((key, attribute))
    fewest = 1 if when == "always" else 2
    return frozenset(key for same in by_prompt.values() if len(same) >= fewest for key, attribute in same if attribute)
