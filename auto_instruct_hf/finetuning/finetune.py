"""Fine-tune a small model on a dataset and on others, at an equal budget, and measure held-out human tasks."""

import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset, disable_progress_bars

from ..core import hide_folder, to_json, write_changed
from ..errors import RecipeError, SourceError
from ..evaluation.measures import Figures
from ..evaluation.report import read_build
from ..publishing import plot_gains
from ..recipe import EmbeddingSettings
from ..teacher import Teacher
from .arguments import TrainingArguments, parse_arguments
from .arms import DESCRIPTIONS, SHUFFLED, collect_arms, read_seed_tasks
from .budget import tokenize_examples, tokenize_outputs
from .comparison import compare_answers, compare_losses, judge_answers
from .held_out import drop_near, pick_tasks, read_held_out
from .packaged_model import PACKAGED, packaged_model_folder
from .rows import is_build, read_examples, shuffle_outputs
from .runs import OWN_TEST, VALIDATION, Result, TestTasks, load_tokenizer, take_limit
from .schedule import Schedule, make_plan
from .tables import describe_training, finetuning_markdown, list_notes, list_tables

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuningSize:
    """How much is trained and measured."""

    num_seeds: int
    """Training seeds."""
    max_tasks: int | None
    """Tasks of each test set; None: all."""
    num_answers: int
    """Tasks of each test set that are answered greedily."""
    max_new_tokens: int
    """Length of an answer."""
    rates_per_arm: bool
    """Whether each arm has its own learning rate, the control that of the dataset's; else all have the first one's."""


# Ours. On a CPU: what takes a minute for each arm.
ON_CPU = FinetuningSize(1, 40, 12, 48, rates_per_arm=False)
ON_GPU = FinetuningSize(3, None, 252, 256, rates_per_arm=True)
# Ours: a fifth of the human tasks chooses the learning rate, and at most half as many as test.
_VALIDATION_SHARE, _MAX_VALIDATION = 0.2, 100


def finetune(
    source: str | Path,
    folder: Path,
    training: Sequence[str] = (),
    *,
    held_out: Sequence[str] = (),
    seeds: str | None = None,
    arms: Mapping[str, str] | None = None,
    size: FinetuningSize | None = None,
    judge: Teacher | None = None,
    may_take_long: bool = False,
    embedding: EmbeddingSettings | None = None,
    say: Callable[[str], None] = _LOG.info,
) -> Figures:
    """Train each arm at an equal budget, measure all on held-out tasks, and write the figures.

    What is finished is not trained again; a run that was interrupted continues from its last checkpoint.

    Args:
        source: A build, the folder of an ablation, or any instruction dataset (see `rows.read_examples`).
        folder: Folder of the results: `figures.json`, `figures.md`, `gains.png`, `sft.yaml`, `arms` and `runs`.
        training: TRL's arguments, as on its command line; the model is the packaged one unless they name another.
        held_out: Sources of tasks that people wrote (see `held_out.read_held_out`).
        seeds: The seed tasks of the build; None: the bundled ones if it was made from them.
        arms: Name -> source of further arms.
        size: How much is measured; None: by the device.
        judge: The model that compares answers; None: none does.
        may_take_long: Whether it may take more than an hour on a CPU.
        embedding: The model that finds rows near to a held-out task in meaning.
        say: Receives lines for the user.

    Returns:
        The content of `figures.json`.

    Raises:
        RecipeError: If an argument is wrong, or it would take more than an hour on a CPU.
        SourceError: If a source cannot be read, or nothing is left to train or test on.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # of each loading of weights
    has_gpu, folder = torch.cuda.is_available(), Path(folder)
    size = size or (ON_GPU if has_gpu else ON_CPU)
    arguments = parse_arguments(training, has_gpu=has_gpu)
    is_main = arguments.sft.process_index == 0  # of several that `accelerate launch` started
    if not is_main:
        disable_progress_bars()
        say = _LOG.debug
    seed_tasks = read_seed_tasks(source, seeds)
    rows, main = collect_arms(source, seed_tasks, arms or {})
    found = _read_tasks(source, held_out, seed_tasks)
    whole = [tasks for tasks, _ in found.values()]
    with arguments.sft.main_process_first(local=False):  # it writes the caches that the others read
        if not arguments.model.model_name_or_path:
            arguments.model.model_name_or_path = str(packaged_model_folder())
        rows, dropped, uncompared = drop_near(rows, whole, embedding=embedding, cache_dir=folder / "cache")
    tokenizer = load_tokenizer(arguments)
    model = _describe_model(arguments, has_gpu)
    if empty := [name for name, part in rows.items() if not len(part)]:
        raise SourceError(f"every row of the arm {empty[0]} is near to a held-out task: name other tasks")
    sets, facts = _pick_tasks(found, len(held_out), size, tokenizer, arguments.sft.max_length)
    if len(arguments.rates) > 1 and VALIDATION not in sets:
        raise SourceError(f"{source} has no validation split to choose a rate on: give --learning_rate, or --held-out")
    rows[SHUFFLED], dropped[SHUFFLED] = shuffle_outputs(rows[main], arguments.sft.seed), dropped[main]
    tokens = {name: tokenize_examples(part, tokenizer, arguments.sft.max_length) for name, part in rows.items()}
    scored = {name: tokenize_outputs(part, tokenizer) for name, part in sets.items()}
    tasks = TestTasks(sets, scored, size.num_answers, size.max_new_tokens)
    plan = make_plan(arguments, tokens[main], size.num_seeds, rates_per_arm=size.rates_per_arm)
    has_limit = not (has_gpu or may_take_long)
    schedule = Schedule(folder, arguments, plan, main, rows, tokens, tasks, say, has_limit=has_limit)
    results = schedule.run_all()
    if is_main:
        schedule.write_rows(results)
    figures: Figures = {
        "source": hide_folder(str(source)),
        "main": main,
        **model,
        "steps": plan.steps,
        "answer_tokens": plan.answer_tokens,
        "seeds": list(plan.seeds),
        "rates": list(plan.rates),
        "hours": sum(run.seconds for run in schedule.finished) / 3600,
        "peak_memory_gb": max(run.peak_memory_gb for run in schedule.finished),
        "arms": {name: _describe_arm(name, results[name][0], len(rows[name]), dropped[name]) for name in rows},
        "tasks": {
            name: {"tasks": len(own), "answer_tokens": sum(one.num_answer for one in own), **facts[name]}
            for name, own in scored.items()
        },
        "losses": compare_losses(results, tasks, main),
        "answers": compare_answers(results, tasks),
        "judge": judge_answers(results, tasks, judge, folder / "cache") if judge and is_main else None,
        "uncompared": uncompared,
    }
    figures |= {
        "shown": [name for name in sets if name != VALIDATION],
        "summary": describe_training(figures),
        "tables": [asdict(table) for table in list_tables(figures)],
        "notes": list_notes(figures),
        "digest": read_build(Path(source)).digest() if is_build(source) else None,
    }
    figures = json.loads(to_json(figures))  # as it is read back
    if is_main:
        write_changed(folder / "figures.json", to_json(figures))
        write_changed(folder / "gains.png", plot_gains(figures))
        write_changed(folder / "figures.md", finetuning_markdown(figures).encode())
    return figures


def _read_tasks(source: str | Path, held_out: Sequence[str], seeds: Dataset | None) -> dict[str, tuple[Dataset, int]]:
    """Return the held-out sets, those of people first, each with the number of tasks left out as near to a seed.

    Without one of people, the build's own validation split chooses the learning rate.
    """
    found = {}
    for one in held_out:
        if (name := hide_folder(one)) in found:
            raise RecipeError(f"two files of held-out tasks have the name {name}: rename one")
        found[name] = read_held_out(one, seeds)
    found[OWN_TEST] = read_examples(source, "test"), 0
    if not held_out:
        found[VALIDATION] = read_examples(source, "validation"), 0
    return {name: (tasks, left_out) for name, (tasks, left_out) in found.items() if len(tasks)}


def _pick_tasks(
    found: Mapping[str, tuple[Dataset, int]],
    num_human: int,
    size: FinetuningSize,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int | None,
) -> tuple[dict[str, Dataset], dict[str, Figures]]:
    """Return the tasks of each set that are scored, and how many were left out, by reason.

    A part of the first human set is the validation set.
    """
    sets, facts = {}, {}
    for name, (tasks, near_a_seed) in found.items():
        fitting, too_long = take_limit(tasks, tokenizer, max_length)
        sets[name], facts[name] = pick_tasks(fitting, None), {"near_a_seed": near_a_seed, "too_long": too_long}
    if num_human:
        name = next(iter(sets))
        at_most = size.max_tasks // 2 if size.max_tasks else _MAX_VALIDATION
        number = min(round(_VALIDATION_SHARE * len(sets[name])), at_most)
        sets[VALIDATION] = sets[name].select(range(number))
        sets[name] = sets[name].select(range(number, len(sets[name])))
    sets = {name: part.select(range(min(len(part), size.max_tasks or len(part)))) for name, part in sets.items()}
    if empty := [name for name, part in sets.items() if not len(part)]:
        raise SourceError(
            f"no task of {empty[0]} is left, since all are longer than {max_length} tokens or too few: raise "
            "--max_length, or name other tasks"
        )
    if not set(sets) - {VALIDATION}:
        raise SourceError("there are no tasks to test on: name some that people wrote with --held-out")
    return sets, {name: facts.get(name, {}) for name in sets}


def _describe_model(arguments: TrainingArguments, has_gpu: bool) -> Figures:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    name = str(arguments.model.model_name_or_path)
    trusted = arguments.sft.trust_remote_code
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(name, revision=arguments.model.model_revision, trust_remote_code=trusted)
        empty = AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)
        parameters = sum(one.numel() for one in empty.parameters())
    is_packaged = PACKAGED in Path(name).name
    return {
        "model": PACKAGED if is_packaged else hide_folder(name),
        "parameters": parameters,
        "method": "LoRA" if arguments.model.use_peft else "full",
        "device": torch.cuda.get_device_name() if has_gpu else "a CPU",
        "versions": {name: importlib.metadata.version(name) for name in ("trl", "transformers", "torch")},
    }


def _describe_arm(name: str, run: Result, kept: int, dropped: Mapping[str, int]) -> Figures:
    return {
        "what": DESCRIPTIONS.get(name, "another dataset"),
        "available": kept + sum(dropped.values()),
        "dropped": dict(dropped),
        "rows": run.rows,
        "rows_per_step": run.rows_per_step,
        "answer_tokens": run.answer_tokens,
        "learning_rate": run.rate,
    }
