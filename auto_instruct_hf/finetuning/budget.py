"""The same number of trained answer tokens and of steps for every arm."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset, Features, List, Value

from ..core import IntArray
from ..errors import SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BLOCKS = Features(
    {"input_ids": List(Value("int32")), "labels": List(Value("int32")), "seq_lengths": List(Value("int32"))}
)
_NO_LOSS = -100
# Ours: how far from the budget an arm may be.
_TOLERANCE = 0.005
_MAX_SWAPS, _MAX_CANDIDATES = 1000, 1000


@dataclass(frozen=True)
class Tokens:
    """An example as tokens; the loss is on those from `num_prompt` on."""

    ids: list[int]
    num_prompt: int

    @property
    def num_answer(self) -> int:
        """Number of the tokens with a loss."""
        return len(self.ids) - self.num_prompt


def tokenize_examples(
    examples: Dataset, tokenizer: "PreTrainedTokenizerBase", max_length: int | None = None
) -> list[Tokens]:
    """Tokenize chats as TRL does, truncated to `max_length` tokens; columns as `rows.EXAMPLES`."""
    found = []
    for prompt, completion in zip(examples["prompt"][:], examples["completion"][:], strict=True):
        before = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)
        whole = tokenizer.apply_chat_template(prompt + completion, return_dict=True)
        assert isinstance(before, Mapping)
        assert isinstance(whole, Mapping)
        # Some templates write the end of a prompt in another way where an answer follows.
        pairs = zip(before["input_ids"], whole["input_ids"], strict=False)
        num_prompt = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        ids = list(whole["input_ids"])[:max_length]
        found.append(Tokens(ids, min(num_prompt, len(ids))))
    return found


def tokenize_outputs(examples: Dataset, tokenizer: "PreTrainedTokenizerBase") -> list[Tokens]:
    """Tokenize chats to score the output alone.

    What a template writes around it, such as empty thoughts and the end of the turn, any training teaches.
    """
    found = []
    for prompt, completion in zip(examples["prompt"][:], examples["completion"][:], strict=True):
        text = tokenizer.apply_chat_template(prompt + completion, tokenize=False, continue_final_message=True)
        start = str(text).rindex(completion[-1]["content"].strip())
        tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        found.append(Tokens(tokens["input_ids"], sum(end <= start for _, end in tokens["offset_mapping"])))
    return found


@dataclass(frozen=True)
class Share:
    """The rows that an arm is trained on, some of them perhaps several times."""

    positions: list[int]
    rows_per_step: int
    """Of each step; with packing, blocks."""
    answer_tokens: int


def share_budget(
    tokens: Sequence[Tokens], steps: int, budget: int, seed: int, *, batch_size: int = 1, num_devices: int = 1
) -> Share:
    """Choose rows of an arm at random so that they have `budget` answer tokens and fill `steps` steps.

    Each step has the same number of rows: arms with short answers have more rows in a step, so that the mean number of
    answer tokens in a step, over which the loss is averaged, is the same in all arms. Rows are drawn without
    replacement, again and again if there are too few; then some are exchanged until the number of tokens fits.

    Args:
        tokens: The rows of the arm.
        steps: Number of optimizer steps.
        budget: Number of answer tokens.
        seed: Seed of the draw.
        batch_size: At most this many rows are in a forward pass on one device.
        num_devices: Devices, which have as many passes of as many rows in each step.

    Returns:
        The rows, in a random order.

    Raises:
        SourceError: If no row has an answer within the maximum length.
    """
    lengths = np.array([one.num_answer for one in tokens], dtype=np.int64)
    usable = np.flatnonzero(lengths > 0)
    if not len(usable):
        raise SourceError("no row has an answer within max_length: raise --max_length")
    on_a_device = budget / steps / float(lengths[usable].mean()) / num_devices
    passes = max(1, -(-round(on_a_device) // batch_size))
    rows_per_step = max(1, round(on_a_device / passes)) * passes * num_devices
    draw = np.random.default_rng(seed)
    rounds = -(-steps * rows_per_step // len(usable))
    order = np.concatenate([draw.permutation(usable) for _ in range(rounds)])
    chosen, spare = order[: steps * rows_per_step], order[steps * rows_per_step :]
    # All pairs are compared, so a part of a large arm at a time. Where the rows left over are too few or too much
    # alike, any row may stand in for another.
    for start in range(0, len(chosen), _MAX_CANDIDATES):
        stop = min(start + _MAX_CANDIDATES, len(chosen))
        for others in (spare[start:stop], np.roll(usable, -start)[:_MAX_CANDIDATES]):
            excess = int(lengths[chosen[:stop]].sum()) - budget * stop // len(chosen)
            if len(others):
                _exchange(chosen[start:stop], others, lengths, excess, _TOLERANCE * budget)
    return Share(draw.permutation(chosen).tolist(), rows_per_step, int(lengths[chosen].sum()))


def pack_examples(tokens: Sequence[Tokens], max_length: int, multiple_of: int) -> list[list[int]]:
    """Put examples into as few blocks of at most `max_length` tokens as `multiple_of` allows, all about as long.

    The longest goes first, each into the shortest block (Graham 1969). TRL's packing fills one block after the other:
    their number, and with it the number of steps, would differ between arms.

    Args:
        tokens: The examples, none longer than a block.
        max_length: Tokens of a block.
        multiple_of: The number of blocks is a multiple of this; if that of the examples is one too, no block is empty.

    Returns:
        Positions of the examples of each block.
    """
    order = sorted(range(len(tokens)), key=lambda row: -len(tokens[row].ids))
    count = -(-sum(len(one.ids) for one in tokens) // (max_length * multiple_of)) * multiple_of
    while True:
        blocks = [(0, number, list[int]()) for number in range(count)]
        for row in order:
            length, number, rows = blocks[0]
            rows.append(row)
            heapq.heapreplace(blocks, (length + len(tokens[row].ids), number, rows))
        if max(length for length, _, _ in blocks) <= max_length:
            return [rows for _, _, rows in blocks]
        count += multiple_of


def to_blocks(tokens: Sequence[Tokens], blocks: Sequence[Sequence[int]]) -> Dataset:
    """Return blocks as TRL's trainer reads them without packing them itself; columns as BLOCKS."""
    chosen = [[tokens[row] for row in rows] for rows in blocks]
    columns = {
        "input_ids": [[token for one in block for token in one.ids] for block in chosen],
        "labels": [
            [token for one in block for token in [_NO_LOSS] * one.num_prompt + one.ids[one.num_prompt :]]
            for block in chosen
        ],
        "seq_lengths": [[len(one.ids) for one in block] for block in chosen],
    }
    return Dataset.from_dict(columns, features=BLOCKS)


def _exchange(chosen: IntArray, spare: IntArray, lengths: IntArray, excess: int, tolerance: float) -> None:
    """Exchange rows in place, each time the pair that brings `excess` (tokens above the budget) nearest to 0."""
    for _ in range(_MAX_SWAPS):
        if abs(excess) <= tolerance:
            return
        left = np.abs(excess - (lengths[chosen][:, None] - lengths[spare][None, :]))
        out, into = np.unravel_index(int(left.argmin()), left.shape)
        if left[out, into] >= abs(excess):
            return
        excess -= int(lengths[chosen[out]] - lengths[spare[into]])
        chosen[out], spare[into] = spare[into], chosen[out]
