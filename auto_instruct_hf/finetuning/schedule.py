"""All training runs of a comparison, in order, with an estimate of their time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import Dataset

from ..core import fingerprint, hash_file, without_bars, write_changed
from ..errors import RecipeError
from .arguments import TrainingArguments
from .arms import SHUFFLED
from .budget import Tokens, pack_examples, share_budget, to_blocks
from .comparison import choose_rate
from .runs import UNTOUCHED, Result, Run, Runner, TestTasks

# Ours: how long a CPU may be kept busy without being asked.
_MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Plan:
    """What all arms have in common, and how many runs each of them has."""

    steps: int
    answer_tokens: int
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    rates_per_arm: bool
    """Whether each arm has its own learning rate; else all have that of the first arm."""

    def count_runs(self, num_arms: int) -> int:
        """Return the number of training runs; the control has the rate of the dataset's arm."""
        return num_arms * len(self.seeds) + (len(self.rates) - 1) * (num_arms - 1 if self.rates_per_arm else 1)


def make_plan(arguments: TrainingArguments, tokens: Sequence[Tokens], num_seeds: int, *, rates_per_arm: bool) -> Plan:
    """Return the plan: steps as TRL would make on the main arm, whose rows are `tokens`, and their answer tokens."""
    sft = arguments.sft
    rows = [one for one in tokens if one.num_answer]
    number = len(pack_examples(rows, sft.max_length or 0, 1)) if sft.packing else len(rows)
    rows_per_step = arguments.batch_size * arguments.num_devices * sft.gradient_accumulation_steps
    in_epochs = round(sft.num_train_epochs * number / rows_per_step)
    steps = sft.max_steps if sft.max_steps > 0 else max(1, in_epochs)
    budget = round(steps * rows_per_step * sum(one.num_answer for one in rows) / max(1, number))
    seeds = tuple(range(sft.seed, sft.seed + num_seeds))
    return Plan(steps, budget, seeds, arguments.rates, rates_per_arm)


class Schedule:
    """The runs of all arms in a folder, of which `main` is the dataset's; on a CPU they may be limited to an hour."""

    def __init__(
        self,
        folder: Path,
        arguments: TrainingArguments,
        plan: Plan,
        main: str,
        rows: Mapping[str, Dataset],
        tokens: Mapping[str, Sequence[Tokens]],
        tasks: TestTasks,
        say: Callable[[str], None],
        *,
        has_limit: bool,
    ) -> None:
        self._folder, self._arguments, self._plan, self._main = folder, arguments, plan, main
        self._rows, self._tokens = rows, tokens
        self._say, self._limit = say, _MAX_SECONDS if has_limit else None
        key = _identify(arguments)
        self._runner = Runner(folder / "runs", arguments, key, plan.steps, tasks, self._estimate)
        self._scoring_seconds = 0.0
        self._is_estimated = False
        self.finished: list[Result] = []
        """All results so far, those of rates that were not chosen too."""

    def run_all(self) -> dict[str, list[Result]]:
        """Return the results of each arm, one for each training seed, after that of the untouched model."""
        results = {UNTOUCHED: [self._runner.run(Run(UNTOUCHED))]}
        self._scoring_seconds = results[UNTOUCHED][0].scoring_seconds
        rates = self._plan.rates
        for arm in self._rows:
            if arm == SHUFFLED:  # at a rate of its own, it would differ in more than the outputs
                rates = (results[self._main][0].rate,)
            chosen = choose_rate([self._run(arm, rate, self._plan.seeds[0]) for rate in rates])
            results[arm] = [chosen, *(self._run(arm, chosen.rate, seed) for seed in self._plan.seeds[1:])]
            if not self._plan.rates_per_arm:
                rates = (chosen.rate,)
        return results

    def write_rows(self, results: Mapping[str, Sequence[Result]]) -> None:
        """Write the rows that each arm's first run read, and `sft.yaml`, with which `trl sft` trains the main arm."""
        for arm in self._rows:
            path = self._folder / "arms" / arm / "train.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(".new")
            with without_bars():
                self._share(arm, results[arm][0].seed)[1].to_parquet(fresh)
            fresh.replace(path)
        run = results[self._main][0]
        sft = self._arguments.for_run(self._folder / "sft", self._plan.steps, run.rows_per_step, run.rate, run.seed)
        content = self._arguments.to_yaml(sft, self._folder / "arms" / self._main)
        write_changed(self._folder / "sft.yaml", content.encode())

    def _run(self, arm: str, rate: float, seed: int) -> Result:
        run, rows = self._share(arm, seed, rate)
        result = self._runner.run(run, rows)
        self.finished.append(result)
        return result

    def _share(self, arm: str, seed: int, rate: float = 0.0) -> tuple[Run, Dataset]:
        """Return a run and what it reads: chats, or blocks of packed tokens."""
        tokens, steps, sft = self._tokens[arm], self._plan.steps, self._arguments.sft
        num_devices = self._arguments.num_devices
        batch_size = 1 if sft.packing else self._arguments.batch_size
        share = share_budget(
            tokens, steps, self._plan.answer_tokens, seed, batch_size=batch_size, num_devices=num_devices
        )
        if not sft.packing:
            chats = self._rows[arm].select_columns(["prompt", "completion"])
            return Run(arm, rate, seed, share), chats.select(share.positions)
        chosen = [tokens[row] for row in share.positions]
        blocks = pack_examples(chosen, sft.max_length or 0, steps * num_devices)
        return Run(arm, rate, seed, replace(share, rows_per_step=len(blocks) // steps)), to_blocks(chosen, blocks)

    def _estimate(self, seconds_per_step: float) -> None:
        """Say how long the remaining runs take; raise a RecipeError if that is too long."""
        if self._is_estimated:
            return
        self._is_estimated = True
        left = self._plan.count_runs(len(self._rows)) - len(self.finished)
        seconds = left * (self._plan.steps * seconds_per_step + self._scoring_seconds)
        self._say(
            f"{left} training runs of {self._plan.steps:,} steps at {seconds_per_step:.1f} s, each with "
            f"{self._scoring_seconds:.0f} s of scoring: about {seconds / 3600:.1f} hours"
        )
        if self._limit is not None and seconds > self._limit:
            raise RecipeError(
                f"that would keep this CPU busy for {seconds / 3600:.1f} hours: pass --yes, or lower --max_steps or "
                "--training-seeds"
            )


def _identify(arguments: TrainingArguments) -> str:
    """Return what identifies the weights that training starts from."""
    model = arguments.model
    folder = Path(str(model.model_name_or_path))
    if not folder.is_dir():
        return f"{model.model_name_or_path}@{model.model_revision}"
    return fingerprint([(path.name, hash_file(path)) for path in sorted(folder.glob("*.*")) if path.is_file()])
