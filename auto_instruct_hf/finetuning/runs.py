"""Training runs: each is scored and written to a file of its own once it is finished, and not trained again."""

import gc
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset

from ..core import fingerprint, to_json, write_changed
from ..errors import BuildError, RecipeError
from .arguments import TrainingArguments
from .budget import Share, Tokens, tokenize_examples
from .scoring import answer_greedily, measure_losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNTOUCHED = "untouched"
VALIDATION, OWN_TEST = "validation", "own test split"


@dataclass(frozen=True)
class TestTasks:
    """Held-out tasks by name of the set, as rows and as tokens; `num_answers` of each set are answered greedily."""

    __test__ = False  # for pytest, which collects classes with such names

    rows: Mapping[str, Dataset]
    tokens: Mapping[str, Sequence[Tokens]]
    num_answers: int
    max_new_tokens: int

    def answered(self, name: str) -> Dataset:
        """Return the tasks of a set that are answered; none of the validation set."""
        rows = self.rows[name]
        return rows.select(range(0 if name == VALIDATION else min(self.num_answers, len(rows))))


@dataclass(frozen=True)
class Run:
    """One training run, or the untouched model: then without rows, rate 0."""

    arm: str
    rate: float = 0.0
    seed: int = 0
    share: Share = field(default_factory=lambda: Share([], 0, 0))


@dataclass(frozen=True)
class Result:
    """What a run found. Losses are sums over the answer tokens of each task, in nats, by set."""

    arm: str
    rate: float
    seed: int
    rows: int
    rows_per_step: int
    """With packing, blocks."""
    answer_tokens: int
    train_losses: list[float]
    losses: dict[str, list[float]]
    answers: dict[str, list[str]]
    seconds: float
    scoring_seconds: float
    peak_memory_gb: float
    """The highest of the process so far."""


def take_limit(rows: Dataset, tokenizer: "PreTrainedTokenizerBase", max_length: int | None) -> tuple[Dataset, int]:
    """Return the tasks that fit in `max_length` tokens with their answers, and the number of the others."""
    tokens = tokenize_examples(rows, tokenizer)
    kept = [row for row, one in enumerate(tokens) if not max_length or len(one.ids) <= max_length]
    return rows.select(kept), len(rows) - len(kept)


@dataclass(frozen=True)
class Runner:
    """Runs in a folder, with the same model, tasks and number of steps."""

    folder: Path
    arguments: TrainingArguments
    model_key: str
    """Identifies the model's weights."""
    steps: int
    tasks: TestTasks
    on_speed: Callable[[float], None]

    def run(self, run: Run, rows: Dataset | None = None) -> Result:
        """Return the result of a run on its rows; it is trained and scored if there is no file of it."""
        name = f"{run.arm}-{run.rate:g}-{run.seed}-{self._digest(run, rows)}"
        path = self.folder / f"{name}.json"
        if path.is_file():
            return Result(**json.loads(path.read_text(encoding="utf-8")))
        self.folder.mkdir(parents=True, exist_ok=True)
        if rows is None:
            result = self._score(run, *load_model(self.arguments))
        else:
            result = self._train(run, rows, self.folder / name)
        if self.arguments.sft.process_index == 0:
            write_changed(path, to_json(vars(result)))
        return result

    def _digest(self, run: Run, rows: Dataset | None) -> str:
        texts = {name: part["prompt"][:] + part["completion"][:] for name, part in self.tasks.rows.items()}
        trained = rows and rows.to_dict()
        limits = (self.tasks.num_answers, self.tasks.max_new_tokens)
        return fingerprint(
            self.model_key, self.arguments.to_key(), self.steps, run.rate, run.seed, run.share, trained, texts, limits
        )

    def _train(self, run: Run, rows: Dataset, folder: Path) -> Result:
        import torch

        from .training import train

        started = time.monotonic()
        sft = self.arguments.for_run(folder, self.steps, run.share.rows_per_step, run.rate, run.seed)
        tokenizer = load_tokenizer(self.arguments)
        name = f"{run.arm}, rate {run.rate:g}, seed {run.seed}"
        try:
            trainer = train(rows, self.arguments, sft, tokenizer, name, self.on_speed)
        except torch.OutOfMemoryError:
            raise BuildError(
                f"the GPU's memory is too small for {sft.per_device_train_batch_size} rows at a time: lower "
                "--per_device_train_batch_size or --max_length, or train adapters with --use_peft"
            ) from None
        # In the precision that the untouched model is scored in.
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        result = self._score(run, model, tokenizer)
        found = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
        trainer.accelerator.wait_for_everyone()
        shutil.rmtree(folder, ignore_errors=True)
        del trainer, model
        gc.collect()  # a prepared model refers to itself; the next one needs its memory
        return replace(result, train_losses=found, rows=len(run.share.positions), seconds=time.monotonic() - started)

    def _score(self, run: Run, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> Result:
        started = time.monotonic()
        losses = {name: measure_losses(model, tokens) for name, tokens in self.tasks.tokens.items()}
        answers = {
            name: answer_greedily(model, tokenizer, self.tasks.answered(name), self.tasks.max_new_tokens)
            for name in self.tasks.rows
            if name != VALIDATION
        }
        seconds = time.monotonic() - started
        share = run.share
        return Result(
            run.arm,
            run.rate,
            run.seed,
            rows=0,
            rows_per_step=share.rows_per_step,
            answer_tokens=share.answer_tokens,
            train_losses=[],
            losses=losses,
            answers=answers,
            seconds=seconds,
            scoring_seconds=seconds,
            peak_memory_gb=_read_peak_memory(),
        )


def load_model(arguments: TrainingArguments) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Load the model that is trained, as TRL does, on the device that it is trained on, and its tokenizer."""
    from transformers import AutoModelForCausalLM
    from trl import get_quantization_config

    loaded = AutoModelForCausalLM.from_pretrained(
        str(arguments.model.model_name_or_path),
        trust_remote_code=arguments.sft.trust_remote_code,
        quantization_config=get_quantization_config(arguments.model),
        **{"device_map": {"": arguments.sft.device}, **arguments.loading()},
    )
    return loaded, load_tokenizer(arguments)


def load_tokenizer(arguments: TrainingArguments) -> "PreTrainedTokenizerBase":
    """Load the tokenizer, with the chat template and the end token that TRL is given."""
    from transformers import AutoTokenizer

    name = arguments.model.model_name_or_path
    tokenizer = AutoTokenizer.from_pretrained(
        name, revision=arguments.model.model_revision, trust_remote_code=arguments.sft.trust_remote_code
    )
    if template := arguments.sft.chat_template_path:
        tokenizer.chat_template = Path(template).read_text(encoding="utf-8")
    if tokenizer.chat_template is None:
        raise RecipeError(f"{name} has no chat template: give one with --chat_template_path FILE.jinja")
    if arguments.sft.eos_token:
        tokenizer.eos_token = arguments.sft.eos_token
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def _read_peak_memory() -> float:
    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e9, 2)
