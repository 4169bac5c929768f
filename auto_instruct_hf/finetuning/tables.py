"""The figures of fine-tuning as tables and as a chart."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..core import inline
from ..evaluation.measures import Figures
from .arms import SHUFFLED
from .runs import OWN_TEST, UNTOUCHED, VALIDATION

_NOTE = (
    "Gain: how much lower the loss per token of the reference answers is than that of the untouched model, in nats, "
    "with the 95 % interval of the bootstrap over tasks and training seeds; positive is better. The tokens that end a "
    "turn are not counted. All arms have the same number of steps, the same schedule, and the same number of trained "
    "answer tokens, to {deviation:.1%}."
)
_LIMITS = (
    "The paper that the recipe is from reports no fine-tuning, so there is no published figure to set beside these. "
    "The gains say which data brings this model nearer to answers that people wrote, not how good its answers are."
)
_SMALL = (
    "A model of this size stays near the floor of IFEval and of questions of knowledge whatever it is trained on: its "
    "loss can tell data apart, its answers hardly can."
)

_SMALL_PARAMETERS = 1e9


@dataclass(frozen=True)
class FinetuningTable:
    """A table with column names and cells as text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _tabulate_arms(figures: Figures) -> FinetuningTable:
    """Return what each arm was trained on."""
    rows = tuple(
        (
            arm,
            f"{one['available']:,}",
            f"{sum(one['dropped'].values()):,}",
            f"{one['rows']:,}",
            f"{one['answer_tokens']:,}",
            f"{one['learning_rate']:g}",
        )
        for arm, one in figures["arms"].items()
    )
    header = ("arm", "rows", "dropped, near to a task", "rows trained on", "answer tokens", "learning rate")
    return FinetuningTable("What was trained on", header, rows)


def _tabulate_losses(figures: Figures) -> list[FinetuningTable]:
    """Return a table of losses and gains for each test set."""
    tables = []
    for name, found in figures["losses"].items():
        if name == VALIDATION:
            continue
        size = figures["tasks"][name]
        rows = [
            (
                arm,
                f"{one['loss']:.3f}",
                _interval(one["gain"]) if arm != UNTOUCHED else "",
                f"{one['lower']['yes']} of {one['lower']['asked']}" if arm != UNTOUCHED else "",
                _interval(one["ahead"]) if "ahead" in one else "",
            )
            for arm, one in found.items()
        ]
        title = f"{name}: {size['tasks']:,} tasks, {size['answer_tokens']:,} answer tokens"
        header = (
            "arm",
            "loss a token",
            "gain (95 % interval)",
            "tasks with a lower loss",
            f"{figures['main']} is ahead by",
        )
        tables.append(FinetuningTable(title, header, tuple(rows)))
    return tables


def _tabulate_answers(figures: Figures) -> list[FinetuningTable]:
    """Return a table of the greedy answers for each test set, with the judge's verdicts if there is a judge."""
    tables = []
    for name, found in figures["answers"].items():
        judged = (figures["judge"] or {}).get(name, {})
        rows = []
        for arm, one in found.items():
            win = judged.get(arm)
            rows.append(
                (
                    arm,
                    f"{one['rouge_l']:.3f}" if "rouge_l" in one else "",
                    _interval(one["gain"]) if "gain" in one else "",
                    f"{one['words']:.1f}",
                    f"{win['win_rate']:.0%} ({win['wins']}, {win['ties']}, {win['losses']})"
                    if win and win["tasks"]
                    else "",
                )
            )
        header = ("arm", "ROUGE-L", "gain (95 % interval)", "words", "judge: win rate (wins, ties, losses)")
        width = len(header) if judged else len(header) - 1
        tables.append(FinetuningTable(f"{name}: greedy answers", header[:width], tuple(row[:width] for row in rows)))
    return tables


def _tabulate_kinds(figures: Figures) -> FinetuningTable | None:
    """Return the gains by kind of task on all test sets; None if no set has enough tasks of two kinds."""
    rows = [
        (arm, name, kind, f"{gain['tasks']}", _interval(gain))
        for name, found in figures["losses"].items()
        if name != VALIDATION
        for arm, one in found.items()
        for kind, gain in one.get("by_kind", {}).items()
        if len(one["by_kind"]) > 1
    ]
    header = ("arm", "tasks of", "kind", "number", "gain (95 % interval)")
    return FinetuningTable("By kind of task", header, tuple(rows)) if rows else None


def list_tables(figures: Figures) -> list[FinetuningTable]:
    """Return all tables: losses and what was trained on first."""
    kinds = _tabulate_kinds(figures)
    return [
        *_tabulate_losses(figures),
        _tabulate_arms(figures),
        *([kinds] if kinds else []),
        *_tabulate_answers(figures),
    ]


def describe_training(figures: Figures) -> str:
    """Return the model, the size of the training, and its cost, in two sentences."""
    seeds = figures["seeds"]
    return (
        f"{figures['model']}, {figures['method']} fine-tuning by TRL {figures['versions']['trl']} on "
        f"{figures['device']}: {figures['steps']:,} steps, {figures['answer_tokens']:,} answer tokens, "
        f"{len(seeds)} training seed{'s' if len(seeds) != 1 else ''}. All arms took {figures['hours']:.2f} hours and "
        f"{figures['peak_memory_gb']:.1f} GB."
    )


def list_notes(figures: Figures) -> list[str]:
    """Return what a reader must know besides the figures."""
    sets = [name for name in figures["losses"] if name != VALIDATION]
    control = [figures["losses"][name][SHUFFLED]["gain"] for name in sets]
    deviation = max(abs(arm["answer_tokens"] / figures["answer_tokens"] - 1) for arm in figures["arms"].values())
    return [
        _NOTE.format(deviation=deviation),
        _LIMITS,
        *([_SMALL] if figures["parameters"] < _SMALL_PARAMETERS else []),
        *(["One training seed: the intervals are over tasks alone."] if len(figures["seeds"]) == 1 else []),
        *(["No set of tasks was written by people: name one with --held-out."] if sets == [OWN_TEST] else []),
        *(
            ["The control gains too: part of the gains is not due to what the answers say."]
            if any(gain["low"] > 0 for gain in control)
            else []
        ),
        *(
            [f"Meanings were not compared with the held-out tasks: {figures['uncompared']}."]
            if figures["uncompared"]
            else []
        ),
    ]


def finetuning_markdown(figures: Figures) -> str:
    """Return the summary, all tables and the notes as Markdown."""
    parts = [f"# Fine-tuning: {figures['source']}", figures["summary"]]
    for table in figures["tables"]:
        lines = ["| " + " | ".join(map(inline, row)) + " |" for row in (table["header"], *table["rows"])]
        lines.insert(1, "|" + " --- |" + " ---: |" * (len(table["header"]) - 1))
        parts += [f"## {table['title']}", "\n".join(lines)]
    return "\n\n".join([*parts, *figures["notes"]]) + "\n"


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"
