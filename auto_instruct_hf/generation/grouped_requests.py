"""Several items in one request: packed, told apart by their numbers, asked again alone where a group failed them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..prompts import Prompt
from ..teacher import Ask, Reply, Request

_NOT_ANSWERED = "not answered by its number"
# The journal would give a group of one the reply that it got before.
_SECOND_DRAW = 1


@dataclass(frozen=True)
class GroupedItem:
    """What one row asks: a prompt and the variables of its templates, `instruction` among them."""

    prompt: Prompt
    variables: Mapping[str, Any]


def ask_items(
    ask: Ask, items: Sequence[GroupedItem], size: int, is_complete: Callable[[Mapping[str, Any]], bool]
) -> list[Reply]:
    """Ask items, several in a request where their prompt is grouped, in two waves at most.

    An item whose answer is missing, doubled or not complete is asked again alone, and so is each item of a group whose
    request failed. What is asked depends on the items and the replies alone: a rerun repeats it.

    Args:
        ask: Answers requests.
        items: What to ask. Those of one instruction that follow each other share a request where they fit.
        size: The most items in a request; fewer where the prompt's schema admits fewer.
        is_complete: Whether an answer, valid under the schema, is of use.

    Returns:
        One reply an item, in their order; its content is the item's answer alone. One that was asked twice has its
        second reply.
    """
    groups = _pack(items, size)
    replies: dict[int, Reply] = {}
    again: list[int] = []
    for group, reply in zip(groups, ask([_request([items[n] for n in group]) for group in groups]), strict=True):
        is_grouped = items[group[0]].prompt.is_grouped
        replies.update(zip(group, _tell_apart(reply, len(group)) if is_grouped else [reply], strict=True))
        is_settled = not is_grouped or (reply.content is None and len(group) == 1)
        again += [] if is_settled else [n for n in group if not _is_good(replies[n], is_complete)]
    if again:
        second = ask([_request([items[n]], _SECOND_DRAW) for n in again])
        replies.update({n: _tell_apart(reply, 1)[0] for n, reply in zip(again, second, strict=True)})
    return [replies[n] for n in range(len(items))]


def count_requests(prompt: Prompt, count: int, size: int) -> int:
    """Return how many requests so many items take at least, for a progress bar."""
    return -(-count // (_limit(prompt, size)))


def _limit(prompt: Prompt, size: int) -> int:
    return min(size, prompt.max_items("answers")) if prompt.is_grouped else 1


def _pack(items: Sequence[GroupedItem], size: int) -> list[list[int]]:
    """Return groups of positions: one prompt each, of one instruction those that follow each other together."""
    groups: list[list[int]] = []
    for name in dict.fromkeys(item.prompt.name for item in items):
        of_prompt = [n for n, item in enumerate(items) if item.prompt.name == name]
        limit = _limit(items[of_prompt[0]].prompt, size)
        current: list[int] = []
        for _, run in groupby(of_prompt, key=lambda n: items[n].variables["instruction"]):
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


def _request(items: Sequence[GroupedItem], draw: int = 0) -> Request:
    prompt = items[0].prompt
    if not prompt.is_grouped:
        return Request(prompt, prompt.messages(**items[0].variables), draw)
    numbered = [{"number": number, **item.variables} for number, item in enumerate(items, start=1)]
    return Request(prompt, prompt.messages(items=numbered), draw, len(items))


def _tell_apart(reply: Reply, count: int) -> list[Reply]:
    """Return the reply to each of the items of one request."""
    if reply.content is None:
        return [reply] * count
    answers = reply.content["answers"]
    if count == len(answers) == 1:
        return [Reply(answers[0])]
    numbers = [answer["number"] for answer in answers]
    return [
        Reply(answers[numbers.index(number)]) if numbers.count(number) == 1 else Reply(None, _NOT_ANSWERED)
        for number in range(1, count + 1)
    ]


def _is_good(reply: Reply, is_complete: Callable[[Mapping[str, Any]], bool]) -> bool:
    return reply.content is not None and is_complete(reply.content)
