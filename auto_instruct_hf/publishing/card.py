"""Render the dataset card from the report of a build."""

from bisect import bisect
from itertools import pairwise
from pathlib import Path

import jinja2
from huggingface_hub import DatasetCardData

from ..core import fenced, flatten, inline, json_block
from ..evaluation import QUESTIONS, describe_verdicts
from ..evaluation.report import list_faults, list_headlines
from .build_report import CUSTOM, PHASES, BuildReport, format_figure

_PACKAGE = Path(__file__).parents[1]
# Next to the package in a checkout, inside it in an installed wheel.
_TEMPLATES = (_PACKAGE.parent / "dataset_card", _PACKAGE / "dataset_card")
_LIMITS = {1000 * 10**power: name for power, name in enumerate(("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B"))}
_SIZES = ("n<1K", *(f"{low}<n<{high}" for low, high in pairwise(_LIMITS.values())))
_COLUMNS = {
    "instance_id": "id of the content of the row",
    "instruction_id": "id of the instruction, the same for all its instances",
    "instruction": "the task",
    "is_classification": "whether the answer is one of a fixed set of labels",
    "attribute": "the label, or the strategy of the output, or empty",
    "input": "the input of the task; empty if it needs none",
    "output": "the answer",
    "cluster": "the topic",
    "num_draws": "how often the row was sampled: the number of its copies in the split",
    "teacher": "the model that wrote the answer",
    "messages": "the whole row as a chat",
    "prompt": "the user turn: instruction, strategy (see below), input",
    "completion": "the assistant turn: the answer",
    **describe_verdicts(),
}


def render_card(report: BuildReport, location: str, *, on_hub: bool = True) -> str:
    """Render README.md, YAML first; text of the teacher is escaped.

    `location` is the argument of `load_dataset`: `user/name` if the card is for the Hub, else a folder.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["inline"] = inline
    evaluation = report.evaluation or {}
    phases, sample = report.phases, report.configs["default"]
    commands = [f"hf download {location} --repo-type dataset --local-dir . --include recipe.yaml --include 'prompts/*'"]
    commands.append(report.command)
    if not on_hub:
        commands = [report.command.replace("recipe.yaml", f"{location}/recipe.yaml", 1)]
    return environment.get_template("README.md.jinja").render(
        {
            **vars(report),
            "card_data": _card_data(report).to_yaml(),
            "location": location,
            "commands": fenced("\n".join(map(flatten, commands)), "bash"),
            "has_prompts": report.prompts == CUSTOM,
            "num_instances": sum(report.configs["instances"].values()),
            "tokens_in": sum(one.input_per_instance for one in report.tokens_by_phase),
            "tokens_out": sum(one.output_per_instance for one in report.tokens_by_phase),
            "num_samples": sum(sample.values()),
            "splits": list(sample),
            "columns": [(name, kind, _COLUMNS.get(name, "")) for name, kind in report.columns.items()],
            "examples": [(kind, json_block(row)) for kind, row in report.examples.items()],
            "phases": PHASES,
            "table": [(row.name, list(map(format_figure, row.ours))) for row in report.table],
            "rejected": [(phase, *one) for phase, found in phases.items() for one in found["rejected"].items()],
            "clusters": phases["cluster"] if "choice" in phases.get("cluster", {}) else None,
            "nearest": phases["split"]["nearest"],
            "in_meaning": phases["split"].get("in_meaning"),
            "most_draws": max(phases["sample"]["most_draws"].values()),
            "num_repeated": sum(phases["sample"]["repeated"].values()),
            "decontaminated": phases.get("decontaminate", {}).get("sources", []),
            "has_completions": "completion" in report.columns,
            "compared": phases.get("preferences"),
            "filtered": phases.get("judge"),
            "training": evaluation.get("training"),
            "sampled": evaluation.get("judge"),
            "rated": evaluation.get("ratings"),
            "agreement": evaluation.get("agreement"),
            "measured": list_headlines(evaluation) if "measures" in evaluation else [],
            "questions": [(question.name, question.text) for question in QUESTIONS],
            "list_faults": list_faults,
            "version": report.versions["auto-instruct-hf"],
        }
    )


def _card_data(report: BuildReport) -> DatasetCardData:
    rows = sum(report.configs["default"].values())
    return DatasetCardData(
        language=report.language,
        license=report.license,
        pretty_name=" ".join(report.title.split()),
        size_categories=_SIZES[bisect(tuple(_LIMITS), rows)],
        task_categories=["text-generation"],
        source_datasets=["original" if report.seeds.is_bundled else "extended"],
        tags=["instruction-tuning", "synthetic", "auto-instruct"],
        configs=[
            {
                "config_name": config,
                **({"default": True} if config == "default" else {}),
                "data_files": [{"split": split, "path": f"data/{config}/{split}-*.parquet"} for split in splits],
            }
            for config, splits in report.configs.items()
        ],
        dataset_info=report.dataset_info,
    )
