"""Every published config trains with TRL as it is loaded: two steps of a model of a few thousand parameters."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, load_dataset
from stub_instances import patch_embedding, patch_plots, run_command
from stub_teacher import KEY, serve_stub
from tiny_model import make_model, make_tokenizer

pytest.importorskip("trl", reason="needs the extra finetune")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The dataset folder of a build with all configs."""
    out = tmp_path_factory.mktemp("finetune")
    small = {"bootstrap": {"requests_per_round": 4}, "clustering": {"num_clusters": 2, "n_neighbors": 100}}
    (out / "recipe.yaml").write_text(json.dumps(small))
    with pytest.MonkeyPatch.context() as patch, serve_stub() as stub:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch_embedding(patch)
        patch_plots(patch)
        options = ("--num-instructions", 20, "--preferences", "--recipe", out / "recipe.yaml")
        done = run_command("build", "--teacher", "stub", "--base-url", stub.url, "--out", out, *options)
    assert done.exit_code == 0, done.output
    return str(out / "dataset")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


def load(folder: str, config: str, cache: Path) -> Dataset:
    found = load_dataset(folder, config, split="train", cache_dir=str(cache))
    assert isinstance(found, Dataset)
    return found


def options(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "run"),
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "max_length": None,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }


def losses(trainer: Any) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("config", ["default", "instances"])
def test_supervised_training_has_its_loss_on_the_answer_alone(
    config: str, folder: str, tokenizer: Any, tmp_path: Path
) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = load(folder, config, tmp_path)
    trainer = SFTTrainer(
        make_model(tokenizer), args=SFTConfig(**options(tmp_path)), train_dataset=rows, processing_class=tokenizer
    )
    for row, ready in zip(rows, trainer.train_dataset, strict=True):
        learnt = [token for token in ready["labels"] if token != -100]
        assert tokenizer.decode(learnt) == f"{row['output']}<eos>"
        assert tokenizer.decode(ready["input_ids"]).startswith(f"<user>{row['instruction']}")
    assert len(found := losses(trainer)) == 2
    assert all(map(math.isfinite, found))


def test_preference_training_takes_the_pairs(folder: str, tokenizer: Any, tmp_path: Path) -> None:
    from trl import DPOConfig, DPOTrainer

    rows = load(folder, "preferences", tmp_path)
    model = make_model(tokenizer)
    settings = {"args": DPOConfig(**options(tmp_path)), "train_dataset": rows, "processing_class": tokenizer}
    trainer = DPOTrainer(model, ref_model=copy.deepcopy(model), **settings)
    ready = trainer.train_dataset[0]
    for side in ("chosen", "rejected"):
        assert tokenizer.decode(ready[f"{side}_ids"]) == f"{rows[0][side][0]['content']}<eos>"
    first, second = losses(trainer)
    assert first == pytest.approx(math.log(2), abs=1e-3)  # of a model that is its own reference
    assert math.isfinite(second)
