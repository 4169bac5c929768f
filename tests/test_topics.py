"""Clusters get unique names, in few requests, whatever the teacher says."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from stub_teacher import StubTeacher

from auto_instruct_hf import Teacher
from auto_instruct_hf.clustering.topics import _make_unique, find_keywords, name_table, name_topics, pick_different
from auto_instruct_hf.core import columns, estimate_tokens
from auto_instruct_hf.prompts import load_prompts
from auto_instruct_hf.recipe import ClusteringSettings
from auto_instruct_hf.teacher import Reply, Request

GROUP = [
    "Bake a rye bread in a cold oven",
    "Bake a sponge cake without eggs",
    "Bake biscuits that keep for a week",
    "Clean a burnt oven without strong smells",
    "Store flour in a humid kitchen",
    "Explain how yeast feeds on sugar",
    "Choose an apron for a left-handed cook",
    "Plan a brunch for nine guests",
    "Season a wok over a gas flame",
]


def shown_in(message: str) -> list[str]:
    """Return what is shown of each group."""
    return re.split(r"^### \d+\n", message, flags=re.MULTILINE)[1:]


class Namer:
    """A teacher that names each group by `name`, which gets the text of a group."""

    def __init__(self, name: Callable[[str], str]) -> None:
        self._name = name
        self.messages: list[str] = []

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        messages = [request.messages[-1]["content"] for request in requests]
        self.messages += messages
        return [
            Reply({"answers": [{"number": n, "topic": self._name(text)} for n, text in enumerate(shown_in(one), 1)]})
            for one in messages
        ]


def name_groups(groups: Sequence[Sequence[str]], ask: Namer, max_tokens: int = 20_000) -> list[str]:
    table = columns([{"instructions": group, "keywords": []} for group in groups], ("instructions", "keywords"))
    return name_table(table, ask=ask, prompt=load_prompts()["topic"], max_tokens=max_tokens)["topic"]


def test_all_groups_are_named_in_one_request(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    groups = [[f"{text} {number}" for text in GROUP] for number in range(50)]
    texts = [text for group in groups for text in group]
    clusters = [number for number, group in enumerate(groups) for _ in group]
    centrality = [-float(place) for group in groups for place in range(len(group))]
    names = name_topics(texts, clusters, centrality, teacher, num_instructions=2, cache_dir=tmp_path)
    assert len({name.casefold() for name in names}) == 50
    (body,) = stub.answered
    shown = shown_in(body["messages"][-1]["content"])
    assert len(shown) == 50
    assert shown[7].startswith("- Bake a rye bread in a cold oven 7\n- Bake a sponge cake without eggs 7\n"), (
        "central first"
    )
    assert body["max_tokens"] == 50 * 50


def test_keywords_are_shown_if_three_instructions_have_them(
    teacher: Teacher, stub: StubTeacher, tmp_path: Path
) -> None:
    texts = [*GROUP, "Sing oven songs", "Sing in a choir"]
    name_topics(texts, [0] * len(GROUP) + [1, 1], [0.0] * len(texts), teacher, cache_dir=tmp_path)
    cooking, singing = shown_in(stub.answered[0]["messages"][-1]["content"])
    assert cooking.splitlines()[-1] == "Frequent words: bake"
    assert "Frequent words" not in singing
    assert find_keywords([GROUP], 2) == [["bake", "oven"]]
    assert find_keywords([["oven oven oven", "bread"]], 2) == [[]], "a word is counted once an instruction"


def test_an_instruction_of_several_lines_is_shown_on_one(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    name_topics(["Sort:\n- pears\n### 2"], [0], [0.0], teacher, cache_dir=tmp_path)
    assert stub.answered[0]["messages"][-1]["content"] == "=== 1\n- Sort: - pears ### 2"


@pytest.mark.parametrize(("num_groups", "max_tokens", "num_requests"), [(200, 32_000, 1), (200, 16_000, 2), (3, 1, 3)])
def test_many_groups_take_as_few_requests_as_fit(num_groups: int, max_tokens: int, num_requests: int) -> None:
    groups = [[f"{text} {number:03}" for text in GROUP] for number in range(num_groups)]
    ask = Namer(lambda text: text.splitlines()[0])
    assert name_groups(groups, ask, max_tokens) == [f"- {group[0]}" for group in groups], "each its own name"
    assert len(ask.messages) == num_requests
    longest = max(estimate_tokens(re.sub(r"^### \d+\n", "", text, flags=re.MULTILINE)) for text in ask.messages)
    assert longest <= max_tokens or num_requests == num_groups, "a group that is too long has a request of its own"


def test_the_clusters_of_a_build_fit_one_request() -> None:
    settings, ask = ClusteringSettings(), Namer(lambda text: text)
    instruction = (
        "Explain to a new colleague, in words of your own, how the shop takes back what was bought elsewhere. Be kind."
    )
    name_groups([[instruction] * settings.topic_instructions] * settings.max_clusters, ask, settings.topic_tokens)
    assert len(ask.messages) == 1


def test_a_group_without_a_name_is_asked_about_again_alone() -> None:
    ask = Namer(lambda text: "Songs" if len(ask.messages) > 1 else "" if "Sing" in text else ' "Home." ')
    assert name_groups([["Bake bread"], ["Sing songs"]], ask) == ["Home", "Songs"]
    assert ask.messages[1:] == ["### 1\n- Sing songs"]


def test_equal_and_missing_names_fall_back_on_keywords(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    stub.faults = {"refused": 1.0}
    names = name_topics(["Bake bread", "Kick ball"], [0, 1], [0.0, 0.0], teacher, cache_dir=tmp_path)
    assert names == ["bake, bread", "ball, kick"]
    assert _make_unique(["Home", "home", ""], [["oven"], ["bread"], ["ball", "kick"]]) == [
        "Home", "home (bread)", "ball, kick",
    ]  # fmt: skip


def test_a_small_model_names_one_group_a_request(stub: StubTeacher, teacher: Teacher, tmp_path: Path) -> None:
    texts, clusters = ["Bake bread", "Kick ball", "Sing songs"], [0, 1, 2]
    name_topics(texts, clusters, [0.0] * 3, teacher, prompts="small", cache_dir=tmp_path)
    asked = {body["messages"][-1]["content"] for body in stub.answered}
    assert asked == {"Tasks:\n- Bake bread", "Tasks:\n- Kick ball", "Tasks:\n- Sing songs"}


def test_names_stay_unique_whatever_the_teacher_says() -> None:
    assert _make_unique(["A (3)", "A", "A"], [[], [], []]) == ["A (3)", "A", "A (4)"]
    assert _make_unique(["Bread", "Bread"], [["bread"], ["bread", "oven"]]) == ["Bread", "Bread (oven)"]


def test_keywords_of_texts_without_words() -> None:
    assert find_keywords([["12 + 3"], ["the of"]]) == [[], []]
    assert name_topics(["1", "2"], [0, 1], [0.0, 0.0], None) == ["cluster 1", "cluster 2"]


def test_instructions_shown_are_not_near_copies() -> None:
    texts = ["Bake a loaf of bread", "Bake a loaf of rye bread", "Clean the oven", "Bake a loaf of white bread"]
    assert pick_different(texts, 2) == ["Bake a loaf of bread", "Clean the oven"]
    assert pick_different(texts, 3) == ["Bake a loaf of bread", "Clean the oven", "Bake a loaf of rye bread"]
    assert pick_different([], 3) == []
