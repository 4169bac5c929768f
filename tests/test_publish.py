"""What is written must load again as the same rows, by the call that the card shows."""

import re
from pathlib import Path

import pytest
from datasets import ClassLabel, DatasetDict, load_dataset
from made_data import FEATURES, distinct, make_rows

from auto_instruct_hf.core import CHAT, from_rows
from auto_instruct_hf.publishing import build_folder as publish
from auto_instruct_hf.publishing.build_folder import write_dataset
from auto_instruct_hf.sampling.messages import add_messages

CARD = """---
configs:
- config_name: default
  default: true
  data_files:
  - {split: train, path: data/default/train-*.parquet}
  - {split: test, path: data/default/test-*.parquet}
- config_name: instances
  data_files:
  - {split: train, path: data/instances/train-*.parquet}
  - {split: test, path: data/instances/test-*.parquet}
---
"""


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
    write_dataset(folder, configs, {"README.md": CARD.encode()})
    # A cache of its own: the name of an entry depends on the card alone, not on the rows.
    for name in ("default", "instances"):
        loaded = load_dataset(str(folder), name, cache_dir=str(tmp_path / "loaded"))
        assert list(loaded) == ["train", "test"]
        for split, part in loaded.items():
            assert part.features == configs[name][split].features
            assert part.to_list() == configs[name][split].to_list()
    assert isinstance(loaded["train"].features["cluster"], ClassLabel)
    assert {name: loaded["train"].features[name] for name in CHAT} == dict(CHAT)


def test_writing_again_replaces_all_and_leaves_nothing_behind(tmp_path: Path, configs: dict[str, DatasetDict]) -> None:
    folder = tmp_path / "dataset"
    write_dataset(folder, configs, {"README.md": b"old", "extra.txt": b"old"})
    (tmp_path / ".dataset.new").mkdir()  # as a killed run leaves it
    fewer = {"default": DatasetDict({"train": configs["default"]["train"]})}
    write_dataset(folder, fewer, {"README.md": b"new", "assets/a.png": b"png"})
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "README.md",
        "assets/a.png",
        "data/default/train-00000-of-00001.parquet",
    ]
    assert not list(tmp_path.glob(".dataset.*"))


def test_large_splits_are_cut_into_files(
    tmp_path: Path, configs: dict[str, DatasetDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_SHARD_BYTES", 2_000)
    write_dataset(tmp_path / "dataset", configs, {"README.md": CARD.encode()})
    files = sorted(path.name for path in (tmp_path / "dataset" / "data" / "instances").glob("train-*"))
    assert len(files) > 2
    assert files[0] == f"train-00000-of-{len(files):05d}.parquet"
    loaded = load_dataset(str(tmp_path / "dataset"), "instances", split="train", cache_dir=str(tmp_path / "loaded"))
    assert loaded.to_list() == configs["instances"]["train"].to_list()


@pytest.mark.parametrize("name", ["map", "curve", "acceptance", "cost"])
def test_a_push_may_delete_figures_of_earlier_versions_and_no_other_image(name: str) -> None:
    assert re.fullmatch(publish._OURS, f"assets/{name}.png")
    assert not re.fullmatch(publish._OURS, "assets/logo.png")
