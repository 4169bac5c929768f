"""What is written must load again as the same rows, by the call that the card shows."""

from pathlib import Path

import pytest
from datasets import ClassLabel, DatasetDict, List, load_dataset
from huggingface_hub import DatasetCard
from test_splitting import FEATURES, distinct, make_rows

from auto_instruct_hf.card import render_card
from auto_instruct_hf.facts import PHASES
from auto_instruct_hf.publish import add_messages, write_dataset
from auto_instruct_hf.transform import from_rows

FACTS = {
    "title": "Title", "location": "OUT/dataset", "num_samples": 5, "num_seeds": 3, "version": "1", "teacher": "t",
    "is_embedded": True, "phases": PHASES, "table": [{"name": "instances", "cells": [("1", "2")] * 4}],
    "rejected": {"curate": {"no output": 1200}},
}  # fmt: skip


@pytest.fixture
def configs(tmp_path: Path) -> dict[str, DatasetDict]:
    rows = make_rows(distinct(30))
    rows[0]["input"] = 'On this: "quotes", \n---\nand | pipes 😀'
    splits = DatasetDict({"train": from_rows(rows[:-5], FEATURES), "test": from_rows(rows[-5:], FEATURES)})
    whole = add_messages(splits, cache_dir=tmp_path / "cache")
    return {
        "default": DatasetDict({"train": whole["train"].select([0, 0, 1]), "test": whole["test"]}),
        "instances": whole,
    }


def test_what_is_written_loads_again(tmp_path: Path, configs: dict[str, DatasetDict]) -> None:
    folder = tmp_path / "dataset"
    write_dataset(folder, configs, {"README.md": render_card(configs, FACTS), "recipe.yaml": "seed: 1\n"})
    for name, loaded in (("default", load_dataset(str(folder))), ("instances", load_dataset(str(folder), "instances"))):
        assert list(loaded) == ["train", "test"]
        for split, part in loaded.items():
            assert part.features == configs[name][split].features
            assert part.to_list() == configs[name][split].to_list()
    features = load_dataset(str(folder), split="train").features
    assert isinstance(features["cluster"], ClassLabel)
    assert isinstance(features["messages"], List)


def test_writing_again_replaces_all_and_leaves_nothing_behind(tmp_path: Path, configs: dict[str, DatasetDict]) -> None:
    folder = tmp_path / "dataset"
    write_dataset(folder, configs, {"README.md": "old", "extra.txt": "old"})
    (tmp_path / ".dataset.new").mkdir()  # as a killed run leaves it
    fewer = {"default": DatasetDict({"train": configs["default"]["train"]})}
    write_dataset(folder, fewer, {"README.md": render_card(fewer, FACTS)})
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "data/default/train-00000-of-00001.parquet",
    ]
    assert not list(tmp_path.glob(".dataset.*"))


def test_messages_are_a_chat(configs: dict[str, DatasetDict]) -> None:
    for row in configs["instances"]["train"]:
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert assistant["content"] == row["output"]
        assert user["content"] == (f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"])


def test_card_says_what_it_is(configs: dict[str, DatasetDict]) -> None:
    card = DatasetCard(render_card(configs, FACTS))
    assert [config["config_name"] for config in card.data.configs] == ["default", "instances"]
    assert card.data.configs[0]["default"] is True
    assert card.data.size_categories == "n<1K"
    assert "A demonstration, not training data" in card.text
    assert "| curate | no output | 1,200 |" in card.text
    assert "| instances | 1 | 2 | 1 | 2 | 1 | 2 | 1 | 2 |" in card.text
    assert "demonstration" not in DatasetCard(render_card(configs, {**FACTS, "is_embedded": False})).text
