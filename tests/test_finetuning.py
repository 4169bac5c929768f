"""Arms of one budget are trained by TRL, tested on tasks that are in none of them, and a control does not gain."""

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_instances import patch_embedding, run_command
from stub_teacher import StubTeacher

from auto_instruct_hf import Teacher, read_seeds
from auto_instruct_hf.errors import RecipeError, SourceError
from auto_instruct_hf.evaluation import bootstrap_mean

pytest.importorskip("trl", reason="needs the extra finetune")

from tiny_model import TEMPLATE, make_tokenizer, save_model

from auto_instruct_hf.finetuning import ON_CPU, FinetuningSize, finetune, packaged_model, runs, schedule, training
from auto_instruct_hf.finetuning.arguments import parse_arguments
from auto_instruct_hf.finetuning.budget import (
    Tokens,
    pack_examples,
    share_budget,
    to_blocks,
    tokenize_examples,
    tokenize_outputs,
)
from auto_instruct_hf.finetuning.comparison import judge_answers
from auto_instruct_hf.finetuning.held_out import drop_near, read_held_out
from auto_instruct_hf.finetuning.rows import read_examples, shuffle_outputs, to_examples
from auto_instruct_hf.finetuning.runs import Result, TestTasks
from auto_instruct_hf.finetuning.schedule import Plan

SIZE = FinetuningSize(2, 40, 2, 4, rates_per_arm=False)
TRAINING = (
    *("--max_steps", "30", "--learning_rate", "0.03", "--lr_scheduler_type", "constant"),
    *("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"),
)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def make_tasks(count: int, seed: int) -> list[dict[str, Any]]:
    """Return tasks whose output is the letter that the words of the instruction consist of, fairly long or short."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        letter = "ab"[number % 2]
        words = [letter * draw.randint(1, 12) for _ in range(5)]
        rows.append({"instruction": " ".join(words), "output": letter, "is_classification": number % 3 == 0})
    return rows


@pytest.fixture(scope="module", autouse=True)
def quick_embedding() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch_embedding(patch)
        patch.setattr("auto_instruct_hf.finetuning.held_out._MAX_COSINE", 1.0)  # its embeddings have no meaning
        yield


@dataclass(frozen=True)
class Trained:
    """One comparison that several tests read."""

    folder: Path
    rows: str
    held_out: str
    model: str
    figures: dict[str, Any]

    def again(self, folder: Path, training: Sequence[str] = TRAINING, **options: Any) -> dict[str, Any]:
        arguments = ["--model_name_or_path", self.model, *training]
        return finetune(self.rows, folder, arguments, held_out=[self.held_out], **{"size": SIZE, **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("finetuning")
    rows = write_rows(folder / "rows.jsonl", make_tasks(60, seed=1))
    held_out = write_rows(folder / "people.jsonl", make_tasks(40, seed=2))
    one = Trained(folder / "out", rows, held_out, str(save_model(folder / "model", 16)), {})
    return Trained(one.folder, rows, held_out, one.model, one.again(one.folder))


def test_the_dataset_gains_and_the_control_falls_behind(trained: Trained) -> None:
    found = trained.figures["losses"]["people.jsonl"]
    assert found["dataset"]["gain"]["low"] > 0
    assert found["shuffled"]["ahead"]["low"] > 0.1
    assert found["dataset"]["loss"] < found["shuffled"]["loss"] < found["untouched"]["loss"]
    assert found["dataset"]["gain"]["runs"] == 2
    assert set(found["dataset"]["by_kind"]) == {"classification", "other"}


def test_arms_have_equal_budgets_and_schedules(trained: Trained) -> None:
    arms = trained.figures["arms"]
    assert [one["answer_tokens"] for one in arms.values()] == [trained.figures["answer_tokens"]] * 2
    files = [json.loads(path.read_text()) for path in (trained.folder / "runs").glob("*.json")]
    assert [len(one["train_losses"]) for one in files if one["arm"] != "untouched"] == [30] * 4


def test_the_control_has_the_rate_of_the_dataset(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auto_instruct_hf.finetuning.arguments.FULL_RATES", (0.03, 0.01))
    two_steps = ("--max_steps", "2", *TRAINING[4:])  # without a learning rate
    figures = trained.again(tmp_path, two_steps, size=replace(SIZE, num_seeds=1, rates_per_arm=True))
    files = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*.json")]
    assert sorted(one["arm"] for one in files) == ["dataset", "dataset", "shuffled", "untouched"]
    assert figures["arms"]["shuffled"]["learning_rate"] == figures["arms"]["dataset"]["learning_rate"]
    assert Plan(2, 1, (1,), (0.03, 0.01), rates_per_arm=True).count_runs(2) == 3


def test_the_figures_say_what_was_trained_on_what(trained: Trained) -> None:
    for name in ("model", "steps", "answer_tokens", "seeds", "hours", "peak_memory_gb", "device", "versions"):
        assert trained.figures[name] is not None, name
    assert trained.figures == json.loads((trained.folder / "figures.json").read_text())
    page = (trained.folder / "figures.md").read_text()
    assert "The paper that the recipe is from reports no fine-tuning" in page
    assert "near the floor of IFEval" in page
    assert (trained.folder / "gains.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_finished_is_not_trained_again(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "train", None)
    monkeypatch.setattr(runs, "load_model", None)
    assert trained.again(trained.folder) == trained.figures


def test_an_interrupted_run_continues_to_the_same_result(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, one_seed = [], replace(SIZE, num_seeds=1)
    begin = training._Watch.on_train_begin

    def record(watch: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        begun.append(state.global_step)
        begin(watch, args, state, control, **more)

    monkeypatch.setattr(training._Watch, "on_train_begin", record)
    monkeypatch.setattr(training, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(schedule, "_MAX_SECONDS", 0.0)
    with pytest.raises(RecipeError, match="pass --yes, or lower --max_steps"):
        trained.again(tmp_path, size=one_seed)
    checkpoint = next((tmp_path / "runs").glob("dataset-*/checkpoint-1"))
    torn = checkpoint.with_name("checkpoint-2")  # of a kill while it was written
    torn.mkdir()
    monkeypatch.setattr(training, "_SECONDS_BETWEEN_CHECKPOINTS", 1e6)
    trained.again(tmp_path, size=one_seed, may_take_long=True)
    assert begun == [0, 1, 0]  # the interrupted run, the same from its checkpoint, the control
    before, after = (
        json.loads(next((folder / "runs").glob("dataset-0.03-1-*.json")).read_text())
        for folder in (trained.folder, tmp_path)
    )
    assert {name: before[name] for name in ("losses", "answers", "train_losses")} == {
        name: after[name] for name in ("losses", "answers", "train_losses")
    }
    assert not list((tmp_path / "runs").glob("*/checkpoint-*"))


def test_trl_alone_trains_the_same_from_the_written_configuration(trained: Trained) -> None:
    from datasets import load_dataset
    from trl import SFTTrainer
    from trl.scripts.sft import make_parser

    path = trained.folder / "sft.yaml"
    script, sft, model, _ = make_parser().parse_args_and_config(["--config", str(path)], fail_with_unknown_args=True)
    rows = load_dataset(script.dataset_name, split=script.dataset_train_split)
    sft.output_dir = str(trained.folder / "sft")
    sft.model_init_kwargs = {"dtype": model.dtype}
    trainer = SFTTrainer(model.model_name_or_path, args=sft, train_dataset=rows)
    trainer.train()
    run = json.loads(next((trained.folder / "runs").glob("dataset-0.03-1-*.json")).read_text())
    assert [entry["loss"] for entry in trainer.state.log_history if "loss" in entry] == run["train_losses"]


def test_tokens_are_those_that_trl_has_a_loss_on(tmp_path: Path) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = read_examples(write_rows(tmp_path / "rows.jsonl", make_tasks(6, seed=3)))
    options = {"output_dir": str(tmp_path), "max_length": 40, "bf16": False, "use_cpu": True, "report_to": "none"}
    trainer = SFTTrainer(str(save_model(tmp_path / "m")), args=SFTConfig(**options), train_dataset=rows)
    ours = [one for one in tokenize_examples(rows, make_tokenizer(), 40) if one.num_answer]
    assert [one.ids for one in ours] == trainer.train_dataset["input_ids"][:]
    theirs = [sum(label != -100 for label in labels) for labels in trainer.train_dataset["labels"]]
    assert [one.num_answer for one in ours] == theirs


@settings(max_examples=50)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=20, max_size=80),
    steps=st.integers(2, 12),
    batch_size=st.integers(1, 8),
    num_devices=st.sampled_from([1, 2]),
    seed=st.integers(0, 9),
)
def test_a_share_fills_every_step_with_usable_rows(
    lengths: list[int], steps: int, batch_size: int, num_devices: int, seed: int
) -> None:
    devices = {"batch_size": batch_size, "num_devices": num_devices}
    tokens = [Tokens([0] * (5 + length), 5) for length in [*lengths, *range(1, 60, 3)]]
    found = share_budget(tokens, steps, 40 * 8 * steps, seed, **devices)
    assert len(found.positions) == steps * found.rows_per_step
    assert found.rows_per_step % num_devices == 0
    assert found.answer_tokens == sum(tokens[row].num_answer for row in found.positions)
    assert all(tokens[row].num_answer for row in found.positions)
    assert abs(found.answer_tokens - 40 * 8 * steps) <= 0.02 * 40 * 8 * steps
    assert found == share_budget(tokens, steps, 40 * 8 * steps, seed, **devices)


@pytest.mark.parametrize(("mean", "num_devices"), [(20, 1), (79, 1), (238, 1), (79, 8)])
def test_a_large_arm_has_the_budget_whatever_the_length_of_its_answers(mean: int, num_devices: int) -> None:
    lengths = np.random.default_rng(0).lognormal(np.log(mean) - 0.5, 1, 10_000).astype(int)
    tokens = [Tokens([0] * (5 + length), 5) for length in lengths]
    steps, budget = 1250 // num_devices, 1250 * 16 * 58
    found = share_budget(tokens, steps, budget, 1, batch_size=8, num_devices=num_devices)
    assert found.answer_tokens == pytest.approx(budget, rel=0.005)
    shown = np.array([tokens[row].num_answer for row in found.positions])
    assert shown.mean() == pytest.approx(lengths[lengths > 0].mean(), rel=0.1)


@settings(max_examples=50)
@given(lengths=st.lists(st.integers(1, 50), min_size=12, max_size=80), multiple=st.sampled_from([1, 4, 12]))
def test_packing_keeps_rows_whole_and_fills_every_step(lengths: list[int], multiple: int) -> None:
    lengths = lengths[: len(lengths) // multiple * multiple]  # as `share_budget` makes it
    blocks = pack_examples([Tokens([0] * length, 0) for length in lengths], 50, multiple)
    assert sorted(row for rows in blocks for row in rows) == list(range(len(lengths)))
    assert all(0 < sum(lengths[row] for row in rows) <= 50 for rows in blocks)
    assert len(blocks) % multiple == 0


def test_what_a_template_writes_around_an_output_is_trained_and_not_scored() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for turn in messages %}<{{ turn.role }}>{% if turn.role == 'assistant' %}<think></think>{% endif %}"
        "{{ turn.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant><think>{% endif %}"
    )
    rows = to_examples([{"instruction": "Add.", "input": "", "output": "Four", "is_classification": False}])
    (trained,), (scored,) = tokenize_examples(rows, tokenizer), tokenize_outputs(rows, tokenizer)
    assert tokenizer.decode(trained.ids[trained.num_prompt :]) == "</think>Four<eos>"
    assert tokenizer.decode(scored.ids[scored.num_prompt :]) == "Four"


def test_a_template_that_writes_a_prompt_in_another_way_is_cut_where_trl_cuts_it() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE.replace("<assistant>{%", "<assistant>thinks{%")
    rows = to_examples([{"instruction": "Add.", "input": "", "output": "Four", "is_classification": False}])
    (found,) = tokenize_examples(rows, tokenizer)
    assert tokenizer.decode(found.ids[found.num_prompt :]) == "Four<eos>"


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (["--hub_token", "hf_secret"], "would push a model for each run"),
        (["--push_to_hub", "true"], "would push a model for each run"),
        (["--chat_template_path", "some/model"], "should be a file with the ending .jinja"),
    ],
)
def test_arguments_that_would_do_something_else_here_are_refused(training: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        parse_arguments(training, has_gpu=False)
    assert "hf_secret" not in str(caught.value)


def test_a_model_without_a_chat_template_is_refused_before_training(trained: Trained, tmp_path: Path) -> None:
    model = save_model(tmp_path / "base")
    (model / "chat_template.jinja").unlink()
    with pytest.raises(RecipeError, match="has no chat template: give one with --chat_template_path"):
        replace(trained, model=str(model)).again(tmp_path / "out")


def test_without_tasks_to_choose_a_rate_on_one_must_be_given(trained: Trained, tmp_path: Path) -> None:
    trained_on = [{**row, "split": "train"} for row in make_tasks(8, seed=4)]
    tested_on = [{**row, "split": "test"} for row in make_tasks(8, seed=5)]
    rows = write_rows(tmp_path / "rows.jsonl", trained_on + tested_on)
    with pytest.raises(SourceError, match="has no validation split to choose a rate on: give --learning_rate"):
        finetune(rows, tmp_path / "out", ["--model_name_or_path", trained.model], size=SIZE)


def test_near_copies_of_seeds_in_other_scripts_never_serve(tmp_path: Path) -> None:
    texts = ["Напишите короткое письмо другу про погоду сегодня.", "Назовите столицу Франции."]
    tasks = [{"instruction": text, "output": "Ответ", "is_classification": False} for text in texts]
    seeds = Dataset.from_dict({"instruction": ["Напишите короткое письмо другу про погоду завтра."]})
    kept, left_out = read_held_out(write_rows(tmp_path / "people.jsonl", tasks), seeds)
    assert (kept["instruction"][:], left_out) == (texts[1:], 1)


def test_held_out_tasks_without_answers_are_refused(tmp_path: Path) -> None:
    empty = write_rows(tmp_path / "empty.jsonl", [{"instruction": "Add.", "output": " ", "is_classification": False}])
    with pytest.raises(SourceError, match=r"empty\.jsonl has no task with an answer"):
        read_held_out(empty, None)


def test_a_step_on_packed_rows_is_the_step_on_the_same_rows_apart(trained: Trained, tmp_path: Path) -> None:
    rows = read_examples(trained.rows).select(range(8))
    tokens = tokenize_examples(rows, make_tokenizer())
    losses, weights = [], []
    for packing, passes in ((), 8), (("--packing", "--max_length", "200"), 4):
        arguments = parse_arguments(["--model_name_or_path", trained.model, *packing], has_gpu=False)
        blocks = to_blocks(tokens, pack_examples(tokens, 200, 4))
        sft = arguments.for_run(tmp_path / str(passes), 1, passes, 0.1, 1)
        chats = rows.select_columns(["prompt", "completion"])
        trainer = training.train(
            blocks if packing else chats, arguments, sft, make_tokenizer(), "one step", lambda _: None
        )
        losses.append(trainer.state.log_history[0]["loss"])
        assert trainer.model is not None
        weights.append(trainer.model.get_input_embeddings().weight.detach().numpy())
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    np.testing.assert_allclose(*weights, atol=1e-3)


def test_adapters_are_trained_and_scored(trained: Trained, tmp_path: Path) -> None:
    arguments = ("--use_peft", "--lora_r", "4", "--max_steps", "3", "--learning_rate", "0.05")
    figures = trained.again(tmp_path / "out", arguments, size=replace(SIZE, num_seeds=1))
    assert figures["method"] == "LoRA"
    losses = figures["losses"]["people.jsonl"]
    assert losses["dataset"]["loss"] != losses["untouched"]["loss"]
    assert yaml.safe_load((tmp_path / "out" / "sft.yaml").read_text())["use_peft"] is True


def test_arms_with_packing_have_equal_budgets_and_steps(trained: Trained, tmp_path: Path) -> None:
    other = write_rows(tmp_path / "short.jsonl", [{**one, "output": "b"} for one in make_tasks(50, seed=5)])
    arguments = ("--packing", "--max_length", "300", "--max_steps", "3", "--learning_rate", "0.01")
    size = replace(SIZE, num_seeds=1, num_answers=0)
    figures = trained.again(tmp_path / "out", arguments, arms={"short": other}, size=size)
    files = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").glob("*.json")]
    assert {len(one["train_losses"]) for one in files if one["arm"] != "untouched"} == {figures["steps"]}
    tokens = [one["answer_tokens"] for one in figures["arms"].values()]
    assert tokens == pytest.approx([figures["answer_tokens"]] * 3, rel=0.01)
    assert figures["arms"]["dataset"]["rows"] > figures["steps"] * figures["arms"]["dataset"]["rows_per_step"]
    written = yaml.safe_load((tmp_path / "out" / "sft.yaml").read_text())
    assert (written["packing"], written["padding_free"]) == (False, True)


def test_rows_near_to_a_held_out_task_leave_the_arms_and_are_counted(tmp_path: Path) -> None:
    def rows(*texts: str) -> Any:
        return to_examples([{"instruction": t, "input": "", "output": "x", "is_classification": False} for t in texts])

    long = "one two three four five six seven eight nine ten eleven twelve thirteen"
    tasks = rows("Name three rivers in France.", f"{long} and more words that differ from all others here by far")
    arms = {
        "a": rows(
            "Name three rivers in France!", "Write a poem.", f"Before it {long} after it come many others, all new"
        ),
        "b": rows("Write a letter."),
    }
    kept, dropped, uncompared = drop_near(arms, [tasks], cache_dir=tmp_path)
    assert kept["a"]["instruction"][:] == ["Write a poem."]
    assert dropped == {
        "a": {
            "ROUGE-L above 0.7 with the held-out tasks": 1,
            "shares 13 words in a row with the held-out tasks": 1,
        },
        "b": {},
    }
    assert (len(kept["b"]), uncompared) == (1, "")


def test_rows_near_in_meaning_leave_the_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = {"Greet me": [1.0, 0.0], "Say hello": [0.99, 0.14], "Count": [0.0, 1.0]}
    monkeypatch.setattr(
        "auto_instruct_hf.finetuning.held_out.open_encoder",
        lambda *_: lambda texts: np.array([vectors[text] for text in texts], dtype=np.float32),
    )
    monkeypatch.setattr("auto_instruct_hf.finetuning.held_out._MAX_COSINE", 0.85)
    row = {"input": "", "output": "x", "is_classification": False}
    arms = {"a": to_examples([{**row, "instruction": text} for text in ("Say hello", "Count")])}
    kept, dropped, _ = drop_near(arms, [to_examples([{**row, "instruction": "Greet me"}])], cache_dir=tmp_path)
    assert kept["a"]["instruction"][:] == ["Count"]
    assert list(dropped["a"].values()) == [1]


def test_seeds_of_the_build_never_test(tmp_path: Path) -> None:
    seeds = read_seeds()
    with pytest.raises(SourceError, match="seeds cannot test what was made from them"):
        read_held_out(write_rows(tmp_path / "seeds.jsonl", seeds.select(range(9)).to_list()), seeds)
    mixed = [*seeds.select(range(2)).to_list(), {"instruction": "Zyx wvu tsr qpo", "output": "x"}]
    tasks, left_out = read_held_out(write_rows(tmp_path / "mixed.jsonl", mixed), seeds)
    assert (tasks["instruction"][:], left_out) == (["Zyx wvu tsr qpo"], 2)


def test_a_dataset_that_is_its_own_test_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="every row of the arm dataset is near to a held-out task"):
        finetune(trained.rows, tmp_path, ["--model_name_or_path", trained.model], held_out=[trained.rows], size=SIZE)


def test_without_tasks_nothing_is_trained(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="name some that people wrote with --held-out"):
        finetune(trained.rows, tmp_path, ["--model_name_or_path", trained.model], size=SIZE)


def test_examples_keep_the_outputs_of_a_prompt_apart_by_their_strategies(tmp_path: Path) -> None:
    row = {"instruction": "Greet.", "input": "Ann", "is_classification": False, "split": "train"}
    given = [
        {**row, "attribute": "Warmly.", "output": "Dear Ann!"},
        {**row, "attribute": "Briefly.", "output": "Hi."},
        {**row, "instruction": "Add 1 and 1.", "input": None, "attribute": "", "output": "2", "split": "test"},
    ]
    path = write_rows(tmp_path / "rows.jsonl", given)
    prompts = [turns[0]["content"] for turns in read_examples(path)["prompt"]]
    assert prompts == ["Greet.\nWarmly.\n\nAnn", "Greet.\nBriefly.\n\nAnn"]
    assert read_examples(path, "test")["output"][:] == ["2"]
    assert len(read_examples(path, None)) == 3


def test_shuffled_rows_have_the_outputs_of_others() -> None:
    texts = [str(number) for number in range(9)]
    rows = to_examples([{"instruction": t, "input": "", "output": t, "is_classification": False} for t in texts])
    found = shuffle_outputs(rows, seed=1)
    assert sorted(found["output"]) == texts
    assert all(row["instruction"] != row["output"] == row["completion"][0]["content"] for row in found)


def test_the_interval_is_that_of_a_textbook() -> None:
    """Darwin's maize, in eighths of an inch (Fisher 1935, "The design of experiments", section 17)."""
    darwin = np.array([[49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]], dtype=float)
    found = bootstrap_mean(darwin)
    assert found.value == pytest.approx(20.93, abs=0.01)
    # The percentile interval of the bootstrap, as `scipy.stats.bootstrap` computes it with 10,000 draws.
    assert (found.low, found.high) == pytest.approx((2.0, 38.4), abs=1.5)
    assert (found.tasks, found.runs) == (15, 1)


def test_runs_that_differ_widen_the_interval() -> None:
    tasks = np.linspace(-1, 1, 50)
    same, other = np.stack([tasks, tasks]), np.stack([tasks - 1, tasks + 1])
    narrow, wide = bootstrap_mean(same), bootstrap_mean(other)
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_trl_arguments_come_from_the_command_line_and_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"learning_rate": 0.003, "max_steps": 7, "use_peft": True}))
    found = parse_arguments(["--config", str(path), "--max_steps", "9"], has_gpu=False)
    assert (found.rates, found.sft.max_steps, found.model.use_peft) == ((0.003,), 9, True)
    assert found.given["use_peft"] is True
    assert parse_arguments([], has_gpu=False).rates == (2e-5, 5e-5)
    for arguments in (["--max_stepps", "3"], ["--max_steps", "many"], ["--config", str(tmp_path / "none.yaml")]):
        with pytest.raises(RecipeError, match="TRL does not take these arguments"):
            parse_arguments(arguments, has_gpu=False)


def test_the_packaged_model_is_converted_once_and_again_if_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = []

    def convert(_: Path, folder: Path) -> None:
        converted.append(folder)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(packaged_model, "find_packaged_weights", lambda: Path("x.gguf"))
    monkeypatch.setattr(packaged_model, "_convert", convert)
    folder = packaged_model.packaged_model_folder(tmp_path)
    assert packaged_model.packaged_model_folder(tmp_path) == folder
    assert len(converted) == 1
    (folder / "model.safetensors").write_bytes(b"torn")
    packaged_model.packaged_model_folder(tmp_path)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert [path for path in os.listdir(tmp_path) if path.startswith(".")] == []


def test_a_judge_counts_wins_losses_and_ties(teacher: Teacher, stub: StubTeacher, tmp_path: Path) -> None:
    """The stub prefers what comes later in the alphabet."""
    texts = ["t0", "t1", "t2"]
    rows = to_examples([{"instruction": t, "input": "", "output": t, "is_classification": False} for t in texts])
    tasks = TestTasks({"people": rows}, {}, 3, 4)
    answers = {"untouched": ["a", "m", "same"], "dataset": ["z", "b", "same"]}
    results = {arm: [Result(arm, 0, 1, 0, 0, 0, [], {}, {"people": own}, 0, 0, 0)] for arm, own in answers.items()}
    found = judge_answers(results, tasks, teacher, tmp_path / "c")["people"]["dataset"]
    assert found == {"tasks": 3, "wins": 1, "losses": 1, "ties": 1, "unjudged": 0, "win_rate": 0.5}
    assert len(stub.bodies()) == 4  # both orders of the two pairs that differ


def test_a_build_shows_on_its_card_and_page_how_it_trains(built: Path, trained: Trained) -> None:
    options = ("--held-out", trained.held_out, "--max-tasks", 8, "--answers", 0)
    arguments = ("--model_name_or_path", trained.model, "--max_steps", 2, "--learning_rate", 0.01)
    done = run_command("finetune", built, *options, *arguments)
    assert done.exit_code == 0, done.output
    assert json.loads((built / "evaluation.json").read_text())["training"]["steps"] == 2
    for page in (built / "dataset" / "README.md", built / "evaluation.html"):
        text = page.read_text()
        assert "How it trains" in text
        assert "own test split" in text
    assert "assets/gains.png" in json.loads((built / "manifest.json").read_text())["files"]
    assert list(json.loads((built / "finetune" / "figures.json").read_text())["arms"]) == [
        "seeds",
        "dataset",
        "shuffled",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max_steps", "3"), "name the dataset before the options"),
        (("x.jsonl", "--arm", "alpaca"), "it should be like alpaca="),
        (("x.jsonl", "--max_stepps", "3"), "TRL does not take these arguments"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = run_command("finetune", *arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_the_defaults_of_a_cpu_are_small() -> None:
    assert ON_CPU.num_seeds == 1
    assert parse_arguments([], has_gpu=False).sft.use_cpu
