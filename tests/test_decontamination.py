"""Instances close to an evaluation set are dropped, and nothing else."""

import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import distinct

from auto_instruct_hf import decontaminate
from auto_instruct_hf.core import INSTANCES, Trace, from_rows
from auto_instruct_hf.curation.decontamination import EvaluationSet, decontaminate_batch, read_evaluation_set
from auto_instruct_hf.curation.shared_ngrams import find_shared_runs
from auto_instruct_hf.errors import SourceError
from auto_instruct_hf.novelty import tokenize_unicode
from auto_instruct_hf.settings import DecontaminationSettings

QUESTION = (
    "A farmer has seventeen sheep and sells nine of them at the market on Monday, then buys four more on Tuesday. "
    "How many sheep does the farmer have at the end of the week?"
)
COPY = QUESTION.upper().replace(",", " -")
NEAR = (
    QUESTION.replace("seventeen", "ten").replace("Monday", "Friday").replace("Tuesday", "Sunday").replace("week", "day")
)
QUOTED = (
    "Here is a puzzle that my daughter brought home from her new school yesterday afternoon. Solve it step by step and "
    f"explain each of your steps in plain words that a child of eight can follow without any help. {QUESTION}"
)
UNRELATED = "Write a short poem about a lighthouse in winter."


def make_instances(*tasks: tuple[str, str]) -> Dataset:
    texts = {"attribute": "", "output": "x", "is_classification": False}
    rows = [
        {"instance_id": f"x{number}", "instruction_id": f"i{number}", "instruction": text, "input": given, **texts}
        for number, (text, given) in enumerate(tasks)
    ]
    return from_rows(rows, INSTANCES)


def write_items(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"id": n, "question": text}) + "\n" for n, text in enumerate(texts)))
    return path


@pytest.mark.parametrize(
    ("method", "dropped"),
    [("rouge", [COPY, NEAR]), ("ngram", [COPY, QUOTED])],
    ids=["rouge finds what is reworded", "ngram finds what is quoted"],
)
def test_planted_copies_are_dropped_and_nothing_else(tmp_path: Path, method: Any, dropped: list[str]) -> None:
    source = write_items(tmp_path / "exam.jsonl", "What is the capital of France?", QUESTION)
    tasks = [COPY, NEAR, QUOTED, UNRELATED, *distinct(20)]
    trace = Trace()
    chosen = DecontaminationSettings((f"{source}:question",), method)
    data = make_instances(*((text, "") for text in tasks))
    clean = decontaminate(data, settings=chosen, cache_dir=tmp_path / "cache", trace=trace)
    assert clean["instruction"][:] == [text for text in tasks if text not in dropped]
    assert trace.rejected is not None
    assert trace.rejected["instruction"][:] == dropped
    reason = "shares 13 words in a row with exam.jsonl" if method == "ngram" else "ROUGE-L above 0.7 with exam.jsonl"
    assert trace.rejected["rejected"][:] == [reason] * 2
    assert set(trace.rejected.column_names) == {*INSTANCES, "rejected"}  # no text of the evaluation set
    assert trace.facts["sources"] == [{"name": "exam.jsonl", "column": "question", "items": 2, "dropped": 2}]


def test_two_columns_of_one_set_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "exam.jsonl"
    path.write_text(json.dumps({"question": QUESTION, "answer": UNRELATED}), encoding="utf-8")
    trace, chosen = Trace(), DecontaminationSettings((f"{path}:question", f"{path}:answer"))
    decontaminate(make_instances((COPY, ""), (QUESTION, "")), settings=chosen, cache_dir=tmp_path / "c", trace=trace)
    found = [(one["name"], one["dropped"]) for one in trace.facts["sources"]]
    assert found == [("exam.jsonl (question, 1)", 2), ("exam.jsonl (answer, 2)", 0)]


@pytest.mark.parametrize("method", ["rouge", "ngram"])
def test_the_input_counts_alone_and_with_its_instruction(tmp_path: Path, method: Any) -> None:
    start, end = QUESTION.split(", then")
    source = write_items(tmp_path / "exam.jsonl", QUESTION)
    tasks = [("Solve this.", QUESTION), (start, f"then{end}"), ("Solve this.", UNRELATED), (UNRELATED, " ")]
    chosen = DecontaminationSettings((f"{source}:question",), method)
    clean = decontaminate(make_instances(*tasks), settings=chosen, cache_dir=tmp_path / "cache")
    assert list(zip(clean["instruction"], clean["input"], strict=True)) == tasks[2:]


def test_each_source_has_its_own_count_and_a_changed_one_is_read_again(tmp_path: Path) -> None:
    one, two = (write_items(tmp_path / f"{name}.jsonl", text) for name, text in (("a", QUESTION), ("b", UNRELATED)))
    data = make_instances((COPY, ""), (UNRELATED, ""), ("Something else entirely.", ""))
    chosen = DecontaminationSettings((f"{one}:question", f"{two}:question"))
    trace = Trace()
    assert len(decontaminate(data, settings=chosen, cache_dir=tmp_path / "cache", trace=trace)) == 1
    assert [(found["name"], found["dropped"]) for found in trace.facts["sources"]] == [("a.jsonl", 1), ("b.jsonl", 1)]
    write_items(two, "Quite another question.")
    assert len(decontaminate(data, settings=chosen, cache_dir=tmp_path / "cache")) == 2


WORDS = st.lists(st.lists(st.sampled_from("ab"), max_size=30), max_size=8)


@settings(max_examples=100)
@given(WORDS, WORDS, st.integers(1, 13))
def test_shared_words_equal_a_brute_force_search(texts: list[list[str]], items: list[list[str]], size: int) -> None:
    def shares(text: list[str]) -> bool:
        padded = f" {' '.join(text)} "
        for item in items:
            length = min(len(item), size)
            runs = [item[start : start + length] for start in range(len(item) - length + 1)]
            if length >= min(8, size) and any(f" {' '.join(run)} " in padded for run in runs):
                return True
        return bool(text) and text in items

    found = find_shared_runs(list(map(" ".join, texts)), list(map(" ".join, items)), size)
    assert found.tolist() == list(map(shares, texts))


def test_a_short_question_in_a_longer_text_is_kept() -> None:
    texts = ["What is love?", "Write an essay: what is love? Use three quotes.", "what is LOVE"]
    assert find_shared_runs(texts, ["What is love?"], 13).tolist() == [True, False, True]
    eight = "which of these eight words stands here alone"
    assert len(tokenize_unicode(eight)) == 8
    assert find_shared_runs([f"Tell me {eight}, please."], [eight], 13).tolist() == [True]


def test_other_scripts_are_compared_by_their_own_words() -> None:
    item = "Какой город является столицей Франции и почему?"
    batch = {"instruction": [item.upper(), "Назови три реки Сибири."], "input": ["", ""]}
    for method in ("rouge", "ngram"):
        chosen = DecontaminationSettings(method=method)
        found = decontaminate_batch(batch, evaluation=[EvaluationSet("exam", "x", (item,))], settings=chosen)
        assert [bool(reason) for reason in found["rejected"]] == [True, False]


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"id": [1, 2, 3], "question": ["one two", "one two", "three"], "note": [None, "", "x"]})
    (tmp_path / "a.json").write_text(json.dumps(rows.to_list()))
    rows.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("id,question\n1,one two\n2,\n3,three\n")
    write_items(tmp_path / "a.jsonl", "one two", " one two ", "three")
    for name in ("a.json", "a.jsonl", "a.csv", "a.parquet"):
        found = read_evaluation_set(f"{tmp_path / name}:question")
        assert (found.name, found.column, found.texts) == (name, "question", ("one two", "three"))
    assert read_evaluation_set(str(tmp_path / "a.jsonl")).column == "question"  # the only one with text
    (tmp_path / "a.txt").write_text("one two\n\n three \n", encoding="utf-8")
    assert read_evaluation_set(str(tmp_path / "a.txt")).texts == ("one two", "three")
    with pytest.raises(SourceError, match="is a text file and has no column 'question'"):
        read_evaluation_set(f"{tmp_path / 'a.txt'}:question")


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ('{"a": "x", "b": "y"}', "", r"name the column to compare with, as .*a.jsonl:COLUMN; its .* are a, b"),
        ('{"a": 1, "b": ["y"]}', "", "none of a, b is text"),
        ('{"a": "x"}\n', ":b", "there is no column 'b'; it has a"),
        ('{"a": ["x"]}\n', ":a", "the column 'a' holds something that is not text"),
        ('{"a": " "}\n{"a": null}\n', ":a", "there is no text in the column 'a'"),
        ("", ":a", "is empty"),
        ("{", ":a", "row 1 cannot be read as JSON"),
    ],
)
def test_faults_of_a_source_are_named(tmp_path: Path, content: str, column: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(SourceError, match=message):
        read_evaluation_set(f"{tmp_path / 'a.jsonl'}{column}")


def test_a_colon_may_be_part_of_a_path(tmp_path: Path) -> None:
    write_items(tmp_path / "a:b.jsonl", "one")
    assert read_evaluation_set(str(tmp_path / "a:b.jsonl")).name == "a:b.jsonl"
    assert read_evaluation_set(f"{tmp_path / 'a:b.jsonl'}:question").name == "a:b.jsonl"
    for source in (r"C:\data\absent.jsonl", r"C:\data\absent.jsonl:question", "C:/data/absent.jsonl"):
        place = source.removesuffix(":question")
        with pytest.raises(SourceError) as caught:
            read_evaluation_set(source)
        assert f"no such file of evaluation sets: {place}. " in str(caught.value)
    with pytest.raises(SourceError, match=r"no such file of evaluation sets: absent.csv\."):
        read_evaluation_set("absent.csv:question")


def test_a_dataset_on_the_hub_is_read_by_its_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    splits = {"user/exam": ["train", "test"], "user/dev": ["validation", "train"], "user/odd": ["easy", "hard"]}

    def load(name: str, config: str | None, **_: Any) -> DatasetDict:
        asked.append((name, config))
        return DatasetDict({split: Dataset.from_dict({"question": [f"asked in {split}"]}) for split in splits[name]})

    monkeypatch.setattr("auto_instruct_hf.core.row_readers.load_dataset", load)
    assert read_evaluation_set("user/exam:question").texts == ("asked in test",)
    found = read_evaluation_set("user/dev:main:question")
    assert (found.name, found.texts) == ("user/dev:main", ("asked in validation",))
    assert read_evaluation_set("user/odd").texts == ("asked in easy", "asked in hard")
    assert asked == [("user/exam", None), ("user/dev", "main"), ("user/odd", None)]


def test_an_unreachable_hub_is_reported_in_one_line() -> None:
    datasets.logging.set_verbosity(logging.ERROR)
    with pytest.raises(SourceError, match="cannot load the evaluation sets user/exam from the Hub") as caught:
        read_evaluation_set("user/exam:question")
    assert "\n" not in str(caught.value)
