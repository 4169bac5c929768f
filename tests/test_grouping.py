"""Rows that share a request are neither lost nor mixed up, whatever numbers the teacher returns."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import example, given
from hypothesis import strategies as st
from made_data import instruction_rows
from stub_teacher import StubTeacher, is_classification

from auto_instruct_hf import Teacher, attribute, complete
from auto_instruct_hf.core import ATTRIBUTED, INSTRUCTIONS, Trace, from_rows
from auto_instruct_hf.generation.grouped_requests import ask_items, count_requests
from auto_instruct_hf.prompts import Prompt, load_prompts
from auto_instruct_hf.recipe import AttributionSettings, CompletionSettings
from auto_instruct_hf.teacher import NO_ANSWER, GroupedItem, Reply, Request, ask_groups

ITEM = {"type": "object", "properties": {"number": {"type": "integer"}, "output": {"type": "string"}}}
GROUPED = {"type": "object", "properties": {"answers": {"type": "array", "items": ITEM}}}
ECHO, OTHER = (Prompt(name, "s", "{{ items | tojson }}", GROUPED, 0.0, 100) for name in ("echo", "other"))
ALONE = Prompt("alone", "s", "{{ instruction }}/{{ strategy }}", {"type": "object", "properties": {}}, 0.0, 100)
HAS_OUTPUT = itemgetter("output")
FAULTS = ("none", "failed", "missing", "doubled", "empty", "shuffled", "stray", "from zero", "incomplete")


def asked(request: Request) -> list[dict[str, Any]]:
    return list(json.loads(request.messages[-1]["content"]))


def right(item: Mapping[str, Any]) -> str:
    return f"{item['instruction']}/{item['strategy']}"


class Unsteady:
    """Answers each item with its own words; faults depend on the request alone."""

    def __init__(self, share: float, salt: int = 0, faults: Sequence[str] = FAULTS, alone: bool = True) -> None:
        self.share, self.salt, self.faults, self.alone = share, salt, faults, alone
        self.waves: list[list[Request]] = []

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        self.waves.append(list(requests))
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply:
        draw = random.Random(f"{self.salt} {request.draw} {request.messages}")
        can_fail = self.alone or request.items > 1
        fault = draw.choice(self.faults) if can_fail and draw.random() < self.share else "none"
        if request.prompt is ALONE:
            return Reply({"output": request.messages[-1]["content"]})
        if fault == "failed":
            return Reply(None, "cut off")
        answers = [{"number": item["number"], "output": right(item)} for item in asked(request)]
        place = draw.randrange(len(answers))
        if fault in ("missing", "doubled"):
            answers[place : place + 1] = [answers[place]] * (2 if fault == "doubled" else 0)
        elif fault == "empty":
            answers = []
        elif fault == "shuffled":
            draw.shuffle(answers)
        elif fault == "stray":
            answers.append({"number": len(answers) + 1, "output": "of no item"})
        elif fault == "from zero" and len(answers) > 1:
            answers = [{**answer, "number": answer["number"] - 1} for answer in answers]
        elif fault == "incomplete":
            answers[place]["output"] = ""
        return Reply({"answers": answers})


def make_items(runs: Sequence[tuple[Prompt, int]]) -> list[GroupedItem]:
    return [
        GroupedItem(prompt, {"instruction": f"i{number}", "strategy": f"s{strategy}"})
        for number, (prompt, count) in enumerate(runs)
        for strategy in range(count)
    ]


def make_table(count: int, *words: str) -> Dataset:
    """Make instructions; the stub takes those with "pod" for classification tasks."""
    texts = [f"Explain the {word} of matter {number}" for number in range(count) for word in words or ("pod", "rest")]
    return from_rows(instruction_rows(*texts), INSTRUCTIONS)


RUNS = st.lists(st.tuples(st.sampled_from([ECHO, ECHO, OTHER, ALONE]), st.integers(1, 5)), max_size=20)


@given(RUNS, st.integers(1, 9), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99))
def test_each_item_gets_its_own_answer_or_a_reason(
    runs: list[tuple[Prompt, int]], size: int, share: float, salt: int
) -> None:
    items, teacher = make_items(runs), Unsteady(share, salt)
    replies = ask_items(teacher, items, size, HAS_OUTPUT)
    assert len(replies) == len(items)
    for item, reply in zip(items, replies, strict=True):
        if reply.content is None:
            assert reply.error
        else:
            assert reply.content["output"] in (right(item.variables), "")
    assert len(teacher.waves) <= 2
    assert all(
        request.items == len(asked(request)) <= size
        for wave in teacher.waves[:1]
        for request in wave
        if request.prompt != ALONE
    )
    assert all(request.items == 1 for wave in teacher.waves[1:] for request in wave)
    if share == 0:
        assert len(teacher.waves) == bool(items)
        assert all(reply.content for reply in replies)
    again = Unsteady(share, salt)
    assert ask_items(again, items, size, HAS_OUTPUT) == replies
    assert again.waves == teacher.waves


# What may be taken for a mark, and what stands around it.
PIECES = [
    "### 1",
    "### 2",
    "###",
    "=== 1",
    "===",
    "@@@ 2",
    "@0@ 1",
    "@",
    "#",
    "\n",
    " ",
    "Instruction",
    "no heading",
    "é",
]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1).map("".join).filter(lambda text: text and text == text.strip())
ITALIAN = Path(__file__).parents[1] / "examples" / "italian" / "prompts"
GROUPED_PROMPTS = [
    load_prompts(source)[name] for source in ("default", str(ITALIAN)) for name in ("attributes", "output", "input")
]


def message_about(prompt: Prompt, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the user's message of one request about rows."""
    sent: list[Request] = []

    def ask(requests: Sequence[Request]) -> list[Reply]:
        sent.extend(requests)
        return [Reply(None, "refused")] * len(requests)

    ask_groups(ask, [[GroupedItem(prompt, row) for row in rows]], HAS_OUTPUT)
    return sent[0].messages[-1]["content"]


@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, min_size=18, max_size=18))
@example(["Do it:\n### 2\nnow", "Do that."], ["### 1\n=== 2", "@@@ 1"] * 9)
def test_no_text_can_be_taken_for_the_mark_of_an_item(instructions: list[str], others: list[str]) -> None:
    names = ("input", "strategy", "label")
    rows = [
        {"instruction": instruction, "is_border": False, **dict(zip(names, others[3 * n :], strict=False))}
        for n, instruction in enumerate(instructions)
    ]
    numbers = [str(number) for number in range(1, len(rows) + 1)]
    for prompt in GROUPED_PROMPTS:
        message = message_about(prompt, rows)
        assert message == message_about(prompt, rows), "a rerun sends the same"
        mark = re.escape(message.split(maxsplit=1)[0])
        assert re.findall(rf"^{mark} (\d+)$", message, re.MULTILINE) == numbers
        assert not any(re.search(mark, text) for row in rows for text in row.values() if isinstance(text, str))
        if prompt.name == "attributes":
            assert re.split(rf"\n?^{mark} \d+\n", message, flags=re.MULTILINE) == ["", *instructions]


def test_the_mark_is_another_one_only_where_a_text_has_it() -> None:
    prompt = load_prompts()["attributes"]
    assert message_about(prompt, [{"instruction": "Do #1."}]) == "### 1\nDo #1."
    assert message_about(prompt, [{"instruction": "Do it."}, {"instruction": "Use ### here."}]) == (
        "=== 1\nDo it.\n=== 2\nUse ### here."
    )
    assert message_about(prompt, [{"instruction": "### === @@@ @0@"}]) == "@1@ 1\n### === @@@ @0@"


@pytest.mark.parametrize(
    ("fault", "num_again"),
    [("failed", 3), ("missing", 3), ("doubled", 3), ("from zero", 3), ("empty", 3), ("incomplete", 1)],
)
def test_what_a_group_missed_is_asked_again_alone(fault: str, num_again: int) -> None:
    teacher = Unsteady(1.0, faults=[fault], alone=False)
    replies = ask_items(teacher, make_items([(ECHO, 3)]), 3, HAS_OUTPUT)
    assert [reply.content["output"] for reply in replies if reply.content] == ["i0/s0", "i0/s1", "i0/s2"]
    assert len(teacher.waves[1]) == num_again


def test_a_group_that_is_refused_is_asked_in_halves() -> None:
    sizes = []

    def ask(requests: Sequence[Request]) -> list[Reply]:
        """Refuse groups of more than two, as a model with a small context does."""
        sizes.append([request.items for request in requests])
        teacher = Unsteady(0.0)
        return [Reply(None, NO_ANSWER) if one.items > 2 else teacher([one])[0] for one in requests]

    replies = ask_items(ask, make_items([(ECHO, 7)]), 7, HAS_OUTPUT)
    assert [reply.content["output"] for reply in replies if reply.content] == [f"i0/s{number}" for number in range(7)]
    assert sizes == [[7], [3, 4], [1, 2, 2, 2]]


@pytest.mark.parametrize(
    ("fault", "error", "draws"), [("empty", "in a group with wrong numbers", [0, 1]), ("failed", "cut off", [0])]
)
def test_a_single_item_is_asked_again_unless_it_failed(fault: str, error: str, draws: list[int]) -> None:
    teacher = Unsteady(1.0, faults=[fault])
    assert ask_items(teacher, make_items([(ECHO, 1)]), 8, HAS_OUTPUT)[0].error == error
    assert [wave[0].draw for wave in teacher.waves] == draws


def test_instances_of_an_instruction_share_a_request_if_they_fit() -> None:
    teacher = Unsteady(0, 0)
    ask_items(teacher, make_items([(ECHO, 2), (ECHO, 3), (ALONE, 1), (ECHO, 2), (ECHO, 9)]), 4, HAS_OUTPUT)
    sizes = [[item["instruction"] for item in asked(one)] for one in teacher.waves[0] if one.prompt is ECHO]
    assert sizes == [["i0"] * 2, ["i1"] * 3, ["i3"] * 2, ["i4"] * 4, ["i4"] * 4, ["i4"]]
    assert count_requests(ECHO, 17, 4) == 5
    assert count_requests(ALONE, 17, 4) == 17


def test_the_limit_of_a_reply_grows_with_the_group(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    attribute(
        make_table(7, "rest"),
        teacher,
        settings=AttributionSettings(instructions_per_request=5),
        cache_dir=tmp_path / "c",
    )
    assert sorted(body["max_tokens"] for body in stub.answered) == [700 * 2, 700 * 5]


@pytest.mark.parametrize("faults", [{"missing": 0.1, "doubled": 0.1}, {"cut": 0.4}, {"refused": 0.1, "missing": 0.1}])
def test_no_row_is_lost_over_http(teacher: Teacher, stub: StubTeacher, tmp_path: Path, faults: Any) -> None:
    stub.faults = faults
    trace, last = Trace(), Trace()
    found = attribute(make_table(30), teacher, cache_dir=tmp_path / "c", trace=trace)
    assert found.features == ATTRIBUTED
    assert trace.rejected is not None
    assert sorted([*found["instruction"], *trace.rejected["instruction"]]) == sorted(make_table(30)["instruction"])
    assert all(row["is_classification"] == is_classification(row["instruction"]) for row in found)
    assert len(found) >= 50
    made = complete(found, teacher, cache_dir=tmp_path / "c", trace=last)
    assert last.rejected is not None
    pairs = [(row["instruction"], text) for row in found for text in row["attributes"] or [""]]
    assert sorted((row["instruction"], row["attribute"]) for part in (made, last.rejected) for row in part) == sorted(
        pairs
    )
    assert all(row["output"] and (row["input"] or not row["is_classification"]) for row in made)
    first = len(stub.answered)
    again = complete(attribute(make_table(30), teacher, cache_dir=tmp_path / "d"), teacher, cache_dir=tmp_path / "d")
    assert again.to_list() == made.to_list()
    assert len(stub.answered) == first, "a rerun from the journal alone sends no request"


def test_groups_and_single_requests_give_the_same_rows(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    rows, counts = make_table(6), {}
    for size in (1, 4):
        first, folder = len(stub.answered), tmp_path / str(size)
        settings = AttributionSettings(instructions_per_request=size)
        attributed = attribute(rows, teacher, settings=settings, cache_dir=folder)
        assert attributed["instruction"][:] == rows["instruction"][:]
        settled = from_rows(
            [{**row, "attributes": ["yes", "no", "perhaps"]} for row in attributed.to_list()], ATTRIBUTED
        )
        made = complete(settled, teacher, settings=CompletionSettings(instances_per_request=size), cache_dir=folder)
        assert made["instruction"][:] == [text for text in rows["instruction"] for _ in range(3)]
        counts[size] = len(stub.answered) - first
    assert counts == {1: 12 + 36, 4: 3 + 12}
