"""Pack several items in one request, match answers by number, and ask the items of a failed group one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..prompts import Prompt
from ..teacher import NO_ANSWER, Ask, Reply, Request

_NOT_ANSWERED = "in a group with wrong numbers"
# Another draw number: for a group of one, the journal would return the same reply.
_SECOND_DRAW = 1


@dataclass(frozen=True)
class GroupedItem:
    """What one row asks: a prompt and the variables of its templates, `instruction` among them."""

    prompt: Prompt
    variables: Mapping[str, Any]


def ask_items(
    ask: Ask, items: Sequence[GroupedItem], size: int, is_complete: Callable[[Mapping[str, Any]], bool]
) -> list[Reply]:
    """Ask items, at most `size` per request if their prompt is grouped.

    Consecutive items of one instruction share a request if they fit. A group that the endpoint refuses, as one that is
    too long for the model, is asked in halves. An item whose answer is not complete is asked again alone, and so is
    each item of a group whose request failed or whose answers are not numbered as its items are. The requests depend
    only on the items and the replies: a rerun repeats them. Returns one reply per item, in their order, with its answer
    as content; the last reply if it was asked more than once.
    """
    groups = _pack(items, size)
    replies: dict[int, Reply] = {}
    again: list[int] = []
    while groups:
        refused: list[list[int]] = []
        for group, reply in zip(groups, ask([_request([items[n] for n in group]) for group in groups]), strict=True):
            is_grouped, half = items[group[0]].prompt.is_grouped, len(group) // 2
            if half and reply.error == NO_ANSWER:
                refused += [group[:half], group[half:]]
                continue
            replies.update(zip(group, _separate(reply, len(group)) if is_grouped else [reply], strict=True))
            if is_grouped and (reply.content is not None or half):
                again += [n for n in group if (content := replies[n].content) is None or not is_complete(content)]
        groups = refused
    if again:
        second = ask([_request([items[n]], _SECOND_DRAW) for n in again])
        replies.update({n: _separate(reply, 1)[0] for n, reply in zip(again, second, strict=True)})
    return [replies[n] for n in range(len(items))]


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


def _separate(reply: Reply, count: int) -> list[Reply]:
    """Return the reply to each of the items of one request.

    Unless the numbers are exactly 1 to `count`, no answer is trusted: one that was numbered from 0, or that skipped an
    item, would give items the answers of others.
    """
    if reply.content is None:
        return [reply] * count
    answers = {answer["number"]: answer for answer in reply.content["answers"]}
    if count == len(reply.content["answers"]) == 1:
        return [Reply(reply.content["answers"][0])]
    if len(reply.content["answers"]) != count or set(answers) != set(range(1, count + 1)):
        return [Reply(None, _NOT_ANSWERED)] * count
    return [Reply(answers[number]) for number in range(1, count + 1)]
