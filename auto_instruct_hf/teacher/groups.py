"""Ask about several items in one request, match answers by number, and ask the items of a failed group one by one."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..prompts import Prompt
from .exchange import Ask, Reply, Request

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
    """Ask groups of items, one request per group, in at most two rounds.

    The items of a group have one prompt; if that is not grouped, a group is one item. An item whose answer is not
    complete is asked again alone, and so is each item of a group whose request failed or whose answers are not numbered
    as its items are. The requests depend only on the items and the replies: a rerun repeats them. Returns one reply per
    item, in the order of the groups, with its answer as content; the second reply if it was asked twice.
    """
    items = list(itertools.chain.from_iterable(groups))
    replies: list[Reply] = []
    again: list[int] = []
    for group, reply in zip(groups, ask([_request(group) for group in groups]), strict=True):
        is_grouped = group[0].prompt.is_grouped
        answers = _separate(reply, len(group)) if is_grouped else [reply]
        if is_grouped and (reply.content is not None or len(group) > 1):
            contents = enumerate((answer.content for answer in answers), start=len(replies))
            again += [n for n, content in contents if content is None or not is_complete(content)]
        replies += answers
    if again:
        second = ask([_request([items[n]], _SECOND_DRAW) for n in again])
        for n, reply in zip(again, second, strict=True):
            replies[n] = _separate(reply, 1)[0]
    return replies


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
