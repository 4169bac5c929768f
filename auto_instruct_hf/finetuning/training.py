"""One training run of TRL's SFTTrainer: resumable, with checkpoints by time."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback, TrainerControl, TrainerState
from trl import SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from ..core import ProgressLine, without_bars
from .arguments import TrainingArguments

_SECONDS_BETWEEN_CHECKPOINTS = 180.0
# The first step takes longer: memory is allocated, kernels are compiled.
MEASURED_STEPS = 2


def train(
    rows: Dataset,
    arguments: TrainingArguments,
    sft: SFTConfig,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    on_speed: Callable[[float], None],
) -> SFTTrainer:
    """Train on chats or blocks, from the last checkpoint in `sft.output_dir` if there is one.

    Args:
        rows: What one pass over the data reads: columns `prompt` and `completion`, or as `budget.BLOCKS`.
        arguments: The model.
        sft: The arguments of this run.
        tokenizer: The tokenizer, with its chat template.
        name: What the progress line calls it.
        on_speed: Called with the seconds of a step after two of them; what it raises ends the training.

    Returns:
        The trainer with the trained model. The checkpoints are left.
    """
    with without_bars():
        trainer = SFTTrainer(
            str(arguments.model.model_name_or_path),
            args=sft,
            train_dataset=rows,
            processing_class=tokenizer,
            quantization_config=get_quantization_config(arguments.model),
            peft_config=get_peft_config(arguments.model),
        )
    trainer.remove_callback(PrinterCallback)
    last = _find_last_checkpoint(Path(sft.output_dir or ""))
    with ProgressLine(name, sft.max_steps, "step") as line:
        trainer.add_callback(_Watch(line, on_speed))
        trainer.train(resume_from_checkpoint=last)
    return trainer


def _find_last_checkpoint(folder: Path) -> str | None:
    """Return the last whole checkpoint; a kill may have left one without the state, which is written last."""
    whole = [path for path in folder.glob("checkpoint-*") if _is_json(path / "trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _is_json(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


class _Watch(TrainerCallback):
    """Shows progress, measures the speed, and saves a checkpoint every few minutes."""

    def __init__(self, line: ProgressLine, on_speed: Callable[[float], None]) -> None:
        self._line, self._on_speed = line, on_speed
        self._started = self._saved = time.monotonic()
        self._steps = 0

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._line.advance(state.global_step)
        self._started = self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> TrainerControl:
        self._line.advance()
        self._steps += 1
        now = time.monotonic()
        if self._steps == MEASURED_STEPS:
            self._on_speed((now - self._started) / MEASURED_STEPS)
        is_time = now > self._saved + _SECONDS_BETWEEN_CHECKPOINTS and state.global_step < state.max_steps
        if args.world_size > 1:  # all processes save at the same step
            torch.distributed.broadcast_object_list(decision := [is_time])
            (is_time,) = decision
        if is_time:
            control.should_save, self._saved = True, now
        return control

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if "loss" in (logs := kwargs.get("logs") or {}):
            self._line.note(f"loss {float(logs['loss']):.3f}")
