"""Ask about several items in one request, match answers by number, and ask the items of a failed group one by one."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..prompts import Prompt
from .exchange import NO_ANSWER, Ask, Reply, Request

_NOT_ANSWERED = "in a group with wrong numbers"
# Another draw number: for a group of one, the journal would return the same reply.
_SECOND_DRAW = 1
_MARKS = ("###", "===", "@@@")


@dataclass(frozen=True)
class GroupedItem:
    """What one row asks: a prompt and the variables of its templates."""

    prompt: Prompt
    variables: Mapping[str, Any]


def ask_groups(
    ask: Ask, groups: Sequence[Sequence[GroupedItem]], is_complete: Callable[[Mapping[str, Any]], bool]
) -> list[Reply]:
    """Ask groups of items, one request per group.

    The items of a group have one prompt; if that is not grouped, a group is one item. A group that the endpoint
    refuses, as one that is too long for the model, is asked in halves. An item whose answer is not complete is asked
    again alone, and so is each item of a group whose request failed or whose answers are not numbered as its items are.
    The requests depend only on the items and the replies: a rerun repeats them. Returns one reply per item, in order,
    with its answer as content; the last reply if it was asked more than once.
    """
    items = list(itertools.chain.from_iterable(groups))
    numbers = iter(range(len(items)))
    pending = [[next(numbers) for _ in group] for group in groups]
    replies: dict[int, Reply] = {}
    again: list[int] = []
    while pending:
        refused: list[list[int]] = []
        for group, reply in zip(pending, ask([_request([items[n] for n in group]) for group in pending]), strict=True):
            is_grouped, half = items[group[0]].prompt.is_grouped, len(group) // 2
            if half and reply.error == NO_ANSWER:
                refused += [group[:half], group[half:]]
                continue
            replies.update(zip(group, _separate(reply, len(group)) if is_grouped else [reply], strict=True))
            if is_grouped and (reply.content is not None or half):
                again += [n for n in group if (content := replies[n].content) is None or not is_complete(content)]
        pending = refused
    if again:
        second = ask([_request([items[n]], _SECOND_DRAW) for n in again])
        replies.update({n: _separate(reply, 1)[0] for n, reply in zip(again, second, strict=True)})
    return [replies[n] for n in range(len(items))]


def _request(items: Sequence[GroupedItem], draw: int = 0) -> Request:
    prompt = items[0].prompt
    if not prompt.is_grouped:
        return Request(prompt, prompt.messages(**items[0].variables), draw)
    numbered = [{"number": number, **item.variables} for number, item in enumerate(items, start=1)]
    return Request(prompt, prompt.messages(items=numbered, mark=_choose_mark(numbered)), draw, len(items))


def _choose_mark(items: Sequence[Mapping[str, Any]]) -> str:
    """Return a mark that is in no text of the items: the same for the same items, and nearly always the first one."""
    texts = json.dumps(items, ensure_ascii=False)
    others = (f"@{number}@" for number in itertools.count())
    return next(mark for mark in itertools.chain(_MARKS, others) if mark not in texts)


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
