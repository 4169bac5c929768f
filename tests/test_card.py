"""The card is read by people and by machines: what it says is true, and no text of a model does anything in it."""

import json
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from datasets import ClassLabel, DatasetInfo, Features, Value
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from auto_instruct_hf.clustering.topics import _make_unique
from auto_instruct_hf.core.markdown import inline, json_block
from auto_instruct_hf.publishing.build_report import parse_report
from auto_instruct_hf.publishing.card import render_card
from auto_instruct_hf.publishing.collect import warn_of_terms

MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            [
                *("---\n", "```", "`", "|", "<script>alert(1)</script>", "[a](javascript:b)", "![x](y)", "**"),
                *("&lt;", "\\", "`` `", "*a*"),
                *("# ", "\n\n", "$x$", "http://a.b", "www.a.b", "<!--", "{{ 1 }}", "{% raw %}", ": ", "'", '"', "\x85"),
                *("\u202e", "~~", "- a", "1. ", "@user", "\x00", "\t", "null", "😀"),
            ]
        ),
        max_size=6,
    ).map("".join),
)  # fmt: skip


@pytest.fixture
def report(built: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((built / "dataset" / "report.json").read_text())
    return found


def render(report: dict[str, Any]) -> str:
    return render_card(parse_report(report, "out"), "user/name")


def take_apart(text: str) -> tuple[dict[str, Any], str]:
    """Return YAML and page, parted where the Hub's own client parts them."""
    found = REGEX_YAML_BLOCK.search(text)
    assert found
    head: dict[str, Any] = yaml.safe_load(found[2])
    return head, text[found.end() :]


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=400)
@given(HOSTILE)
def test_inline_text_is_shown_as_it_is_and_does_nothing(text: str) -> None:
    page = Tags(MARKDOWN.render(f"before {inline(text)} after"))
    assert page.tags == ["p"]
    shown = "".join(filter(str.isalnum, page.text))
    assert shown == f"before{''.join(filter(str.isalnum, text))}after"


@settings(max_examples=200)
@given(HOSTILE)
def test_a_table_keeps_its_shape(text: str) -> None:
    page = Tags(MARKDOWN.render(f"| a | b |\n|---|---|\n| {inline(text)} | end |\n"))
    assert page.tags.count("td") == 2
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["instruction", "input"]), HOSTILE))
def test_a_block_ends_where_it_should(row: dict[str, str]) -> None:
    page = Tags(MARKDOWN.render(f"before\n\n{json_block(row)}\n\nafter"))
    assert page.tags == ["p", "pre", "code", "p"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(topics=st.lists(HOSTILE, min_size=2, max_size=4, unique=True), hostile=HOSTILE)
def test_hostile_text_breaks_neither_yaml_nor_page(report: dict[str, Any], topics: list[str], hostile: str) -> None:
    feature = ClassLabel(names=_make_unique(topics, [[] for _ in topics]))
    info = DatasetInfo(features=Features({"instruction": Value("string"), "cluster": feature}))._to_yaml_dict()
    poisoned = {
        **report,
        "title": f"By {hostile}",
        "teacher": hostile,
        "seeds": {**report["seeds"], "name": hostile},
        "stopped": hostile,
        "embedding": hostile,
        "command": f"python {hostile}",
        "dataset_info": [{"config_name": "default", **info}],
        "examples": {"a task": {"instruction": hostile, "output": hostile}},
    }
    text = render(poisoned)
    head, body = take_apart(text)
    names = head["dataset_info"][0]["features"][-1]["dtype"]["class_label"]["names"]
    assert [names[str(number)] for number in range(len(topics))] == feature.names
    page = Tags(MARKDOWN.render(body))
    assert not set(page.tags) & {"script", "iframe", "style", "del", "s"}
    assert page.tags.count("h2") == body.count("\n## ")


def test_yaml_holds_facts(report: dict[str, Any]) -> None:
    head, _ = take_apart(render(report))
    assert head["license"] == "mit"
    assert head["language"] == "en"
    assert head["source_datasets"] == ["original"]
    assert head["size_categories"] == "n<1K"
    assert [config["config_name"] for config in head["configs"]] == ["default", "instances"]
    splits = {one["name"]: one["num_examples"] for one in head["dataset_info"][1]["splits"]}
    assert splits == report["configs"]["instances"]


def test_what_nobody_stated_is_not_said(report: dict[str, Any]) -> None:
    text = render({**report, "license": None, "language": None})
    head, _ = take_apart(text)
    assert "license" not in head
    assert "language" not in head
    assert "The publisher stated no license" in text
    assert "License: not stated by the publisher." in text


def test_page_says_what_a_reader_needs(report: dict[str, Any]) -> None:
    text = render(report)
    for words in (
        'load_dataset("user/name", "instances")',
        "| `cluster` | ClassLabel of 5 | the topic |",
        "**8 rows drawn from 76 instances of 40 instructions**",
        "License: mit.",
        "| instructions | 40 | 40 | 40 | 40 |",
        "hf download user/name --repo-type dataset --local-dir . --include recipe.yaml",
        "auto-instruct build --recipe recipe.yaml",
        "the seeds of auto-instruct-hf, 175 rows, apache-2.0",
        "from trl import SFTConfig, SFTTrainer",
        "a model by OpenAI, whose terms restrict",
        "(assets/verbs.png)",
        "## How it was checked",
        "## Bias, personal data and known limits",
        "every setting (seed 42)",
        "@inproceedings{wang2023selfinstruct",
    ):
        assert words in text
    assert "demonstration" not in text
    assert "A demonstration, not training data" in render({**report, "is_embedded": True})


SPLIT = {"rejected": {}, "nearest": {"similarity": 0.25, "compared": 9, "held_out": 9}}
OFTEN = {"rejected": {}, "most_draws": {"train": 31, "test": 7}, "repeated": {"train": 3, "test": 0}}
SOURCE = {"name": "user/exam", "column": "question", "items": 1319, "dropped": 7}
CLEAN = {"decontaminate": {"rejected": {}, "sources": [SOURCE]}}
FITTED = {"choice": "The curve still rises at 50.", "fitted": 50_000, "assigned": 0, "rejected": {}}


@pytest.mark.parametrize(
    ("phases", "changes", "expected", "absent"),
    [
        ({}, {}, "in different splits is 0.250, measured over all such pairs.", "more than 20 times"),
        ({}, {}, "the most frequent is there 2 times", "Clusters:"),
        ({}, {}, "not compared with any evaluation set", "user/exam"),
        (
            {"split": {"rejected": {}, "nearest": {"similarity": 0.5, "compared": 1000, "held_out": 40_000}}},
            {},
            "measured on a random 1,000 of the 40,000 held-out instructions",
            "over all such pairs",
        ),
        ({}, {}, "and the cosine of their embeddings at most 0.9. For a", "Novelty is measured on words"),
        ({}, {"max_cosine": None}, "in other words are both kept.", "cosine of their embeddings at most"),
        (
            {"split": SPLIT},
            {"max_cosine": None, "max_cosine_across_splits": None},
            "in other words are both kept, perhaps in two splits. - The sample has",
            "cosine",
        ),
        (
            {},
            {},
            "with its near copies (ROUGE-L above 0.7, or a cosine of embeddings above 0.85) and all",
            "over all pairs",
        ),
        (
            {},
            {},
            "the highest cosine of two instructions in different splits is 0.899. Of the instructions in `test`, 12.3% "
            "have one in another split with a cosine above 0.85, and 0.0% have one in another split with a cosine "
            "above 0.9. The highest ROUGE-L",
            "None",
        ),
        (
            {"split": {**SPLIT, "in_meaning": {"cosine": 0.8994, "of_test": {"0.85": None, "0.9": None}}}},
            {},
            "in different splits is 0.899. The highest ROUGE-L",
            "of the instructions in `test`",
        ),
        ({"sample": OFTEN}, {}, "the most frequent is there 31 times", "is there 2 times"),
        ({"sample": OFTEN}, {}, "3 rows are in the sample more than 20 times", "is there 2 times"),
        ({}, {"balance": "equal"}, "and the same weight for all clusters", "square root"),
        (
            CLEAN,
            {},
            "a ROUGE-L above 0.7 with an item of an evaluation set: | evaluation set",
            "not compared with any",
        ),
        (CLEAN, {}, "| user/exam | question | 1,319 | 7 |", "consecutive words"),
        (
            CLEAN,
            {"decontamination": {"method": "ngram", "max_similarity": 0.7, "ngram": 13}},
            "13 consecutive words, or a whole shorter item",
            "a ROUGE-L above 0.7 with",
        ),
        ({"cluster": FITTED}, {}, "Clusters: 5. The curve still rises at 50.", "assigned by their embeddings"),
        (
            {"cluster": {**FITTED, "assigned": 1_234}},
            {},
            "They were fitted on 50,000 instructions; the other 1,234 were assigned by their embeddings.",
            "the other 0",
        ),
    ],
)
def test_the_card_says_what_the_phases_found(
    report: dict[str, Any], phases: dict[str, Any], changes: dict[str, Any], expected: str, absent: str
) -> None:
    text = " ".join(render({**report, **changes, "phases": {**report["phases"], **phases}}).split())
    assert expected in text
    assert absent not in text


def test_own_words_seeds_and_columns_are_on_the_card(report: dict[str, Any]) -> None:
    seeds = {**report["seeds"], "name": "mine.csv", "is_bundled": False}
    text = render({**report, "title": "Tasks of a bank", "description": "Ask **Ada**.", "seeds": seeds})
    assert "# Tasks of a bank\n" in text
    assert "\nAsk **Ada**.\n" in text
    assert "The seed tasks, mine.csv, are not part of this repository." in text


def test_custom_prompts_are_downloaded_with_the_recipe(report: dict[str, Any]) -> None:
    assert "`prompts/` the prompts" in render({**report, "prompts": "custom"})
    assert "`prompts/` the prompts" not in render(report)


@pytest.mark.parametrize("dollars", [0.0, None])
def test_no_text_becomes_a_row_of_a_table(report: dict[str, Any], dollars: float | None) -> None:
    page = MARKDOWN.render(take_apart(render({**report, "dollars": dollars}))[1])
    assert "<td>List prices" not in page
    assert page.count("<table>") == page.count("</table>")


def test_card_shows_only_figures_that_are_there(built: Any, report: dict[str, Any]) -> None:
    assert [plot["file"] for plot in report["plots"]] == [
        f"assets/{name}.png" for name in ("topics", "lengths", "similarity", "verbs")
    ]
    for plot in report["plots"]:
        assert (built / "dataset" / plot["file"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o", "OpenAI"),
        ("openai/o3-mini", "OpenAI"),
        ("gemini-2.5-flash", "Google"),
        ("gpt-oss-20b", ""),
        ("Qwen3", ""),
    ],
)
def test_the_card_warns_of_terms_that_restrict_training(model: str, provider: str) -> None:
    warning = warn_of_terms(model)
    assert f"a model by {provider}, whose terms restrict" in warning if provider else not warning
