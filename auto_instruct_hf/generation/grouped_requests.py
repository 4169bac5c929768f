"""Pack rows into requests: the items of one instruction together."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..prompts import Prompt
from ..teacher import Ask, GroupedItem, Reply, ask_groups


def ask_items(
    ask: Ask, items: Sequence[GroupedItem], size: int, is_complete: Callable[[Mapping[str, Any]], bool]
) -> list[Reply]:
    """Ask items with the variable `instruction`, at most `size` per request if their prompt is grouped.

    Consecutive items of one instruction share a request if they fit. Returns one reply per item, in their order;
    `teacher.ask_groups` has what is asked again.
    """
    groups = _pack(items, size)
    replies = ask_groups(ask, [[items[n] for n in group] for group in groups], is_complete)
    of_item = dict(zip(itertools.chain.from_iterable(groups), replies, strict=True))
    return [of_item[n] for n in range(len(items))]


def count_requests(prompt: Prompt, count: int, size: int) -> int:
    """Return the minimum number of requests for `count` items, for a progress bar."""
    return -(-count // (_max_items(prompt, size)))


def _max_items(prompt: Prompt, size: int) -> int:
    return min(size, prompt.max_items("answers")) if prompt.is_grouped else 1


def _pack(items: Sequence[GroupedItem], size: int) -> list[list[int]]:
    """Return groups of positions: one prompt each, consecutive items of one instruction together."""
    groups: list[list[int]] = []
    for name in dict.fromkeys(item.prompt.name for item in items):
        of_prompt = [n for n, item in enumerate(items) if item.prompt.name == name]
        limit = _max_items(items[of_prompt[0]].prompt, size)
        current: list[int] = []
        for _, run in itertools.groupby(of_prompt, key=lambda n: items[n].variables["instruction"]):
            members = list(run)
            if current and len(current) + len(members) > limit:
                groups.append(current)
                current = []
            current += members
            while len(current) > limit:
                groups.append(current[:limit])
                current = current[limit:]
        groups.append(current)
    return groups
