"""The figures of a build: the table beside the published one, rejects by reason, tokens and money by phase."""

import importlib.metadata
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, List, SplitDict, SplitInfo, concatenate_datasets

from ..core import Trace, hide_folder
from ..generation import BUNDLED_NAME
from ..recipe import Recipe
from ..teacher import Teacher, find_provider

PHASES = ("bootstrap", "attributes", "completion", "sampled")
# Auto-Instruct (Mansutti), its table of the dataset's statistics by phase.
_PUBLISHED: dict[str, tuple[float | None, ...]] = {
    "instructions": (10_000, 10_000, 10_000, 9_200),
    "instances": (10_000, 10_000, 19_200, 50_000),
    "empty input": (None, None, 16_300, 37_300),
    "CLF instructions": (None, 161, 161, 152),
    "CLF instances": (None, None, 515, 5_200),
    "labels a CLF instruction": (None, 3.20, 3.20, 3.28),
    "strategies a NON-CLF instruction": (None, 1.90, 1.90, 1.90),
}
_VERSIONS = (
    "auto-instruct-hf", "datasets", "huggingface-hub", "openai", "sentence-transformers", "umap-learn", "scikit-learn",
    "rapidfuzz", "numpy", "torch",
)  # fmt: skip

# Their terms restrict training on what their models write; open weights are under licences of their own.
_RESTRICTING = {"openai", "anthropic", "google", "x-ai"}
_OPEN = "gpt-oss"


@dataclass(frozen=True)
class Row:
    """One row of the table: ours and the published figure for each of PHASES, None where there is none."""

    name: str
    ours: tuple[float | None, ...]
    published: tuple[float | None, ...]


def summarise(instructions: Dataset, attributed: Dataset, instances: Dataset, sample: DatasetDict) -> list[Row]:
    """Count what the published table counts.

    Args:
        instructions: After bootstrap.
        attributed: After attribute.
        instances: After complete.
        sample: After stratify.

    Returns:
        The rows of the table.
    """
    kinds = attributed["is_classification"][:]
    sizes = list(zip(kinds, map(len, attributed["attributes"]), strict=True))
    second: dict[str, float | None] = {
        "instructions": len(attributed),
        "instances": len(attributed),
        "CLF instructions": sum(kinds),
        "labels a CLF instruction": _mean([size for kind, size in sizes if kind]),
        "strategies a NON-CLF instruction": _mean([size for kind, size in sizes if not kind]),
    }
    first: dict[str, float | None] = {"instructions": len(instructions), "instances": len(instructions)}
    by_phase = (first, second, _count(instances), _count(concatenate_datasets(list(sample.values()))))
    return [
        Row(name, tuple(found.get(name) for found in by_phase), published) for name, published in _PUBLISHED.items()
    ]


def _count(instances: Dataset) -> dict[str, float | None]:
    kind_of = dict(zip(instances["instruction_id"], instances["is_classification"], strict=True))
    attributes: dict[str, set[str]] = {key: set() for key in kind_of}
    for key, attribute in zip(instances["instruction_id"], instances["attribute"], strict=True):
        attributes[key] |= {attribute} - {""}
    return {
        "instructions": len(kind_of),
        "instances": len(instances),
        "empty input": sum(text == "" for text in instances["input"]),
        "CLF instructions": sum(kind_of.values()),
        "CLF instances": sum(instances["is_classification"]),
        "labels a CLF instruction": _mean([len(attributes[key]) for key, kind in kind_of.items() if kind]),
        "strategies a NON-CLF instruction": _mean([len(attributes[key]) for key, kind in kind_of.items() if not kind]),
    }


def _mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def format_figure(figure: float | None) -> str:
    """Return a figure of the table as text: whole numbers with separators, means with two digits, "" for None."""
    if figure is None:
        return ""
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.2f}"


def count_reasons(rejected: Dataset | None) -> dict[str, int]:
    """Return how many rows were rejected for each reason, the most frequent first."""
    return dict(Counter(rejected["rejected"]).most_common()) if rejected is not None else {}


def list_costs(teacher: Teacher) -> list[dict[str, Any]]:
    """Return the sums of a teacher's journal with their price in US dollars (None where it is unknown)."""
    return [
        {**asdict(usage), "model": hide_folder(usage.model), "dollars": teacher.prices.price(usage).dollars}
        for usage in teacher.journal.usage()
    ]


def _share_tokens(teacher: Teacher, instructions: int, instances: int) -> list[dict[str, Any]]:
    """Return the tokens of each phase, in and out, per instruction and per instance that was published."""
    sums: dict[str, Counter[str]] = {}
    for usage in teacher.journal.usage():
        sums.setdefault(usage.phase, Counter()).update(input=usage.input_tokens, output=usage.output_tokens)
    return [
        {
            "phase": phase,
            **{
                f"{kind}_per_{row}": round(sums[phase][kind] / max(count, 1), 1)
                for row, count in (("instruction", instructions), ("instance", instances))
                for kind in ("input", "output")
            },
        }
        for phase in sums
    ]


def list_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the result."""
    return {name: importlib.metadata.version(name) for name in _VERSIONS}


def make_report(
    table: list[Row],
    configs: Mapping[str, DatasetDict],
    seeds: Dataset,
    teacher: Teacher,
    recipe: Recipe,
    traces: Mapping[str, Trace],
    *,
    license: str | None,
    language: str | None,
) -> dict[str, Any]:
    """Collect all that is to be said of a build, ready for JSON: the card is made of nothing else.

    Args:
        table: The figures by phase.
        configs: The published splits by config.
        seeds: The seed tasks; their info tells name and licence.
        teacher: Who wrote.
        recipe: The settings.
        traces: What the phases found, by name.
        license: Of the dataset, or None.
        language: Of the dataset, or None.

    Returns:
        The report.
    """
    name = seeds.info.dataset_name or "seeds of one's own"
    is_bundled = name == BUNDLED_NAME
    whole = next(iter(configs.values()))
    features = next(iter(whole.values())).features
    instances = list(configs["instances"].values())
    num_instructions = len({key for part in instances for key in part["instruction_id"]})
    given = {"--license": license, "--language": language}
    words = [word for option, value in given.items() if value for word in (option, value)]
    seeds_option = [] if is_bundled else ["--seeds", name]
    return {
        "title": f"Instructions by {hide_folder(teacher.model)}",
        "teacher": hide_folder(teacher.model),
        "is_embedded": teacher.is_embedded,
        "prompts": teacher.prompts,
        "seeds": {"name": name, "rows": len(seeds), "license": seeds.info.license or None, "is_bundled": is_bundled},
        "seed": recipe.seed,
        "license": license,
        "terms": warn_of_terms(teacher.model),
        "language": language or ("en" if is_bundled else None),
        "command": shlex.join(["python", "scripts/build.py", "--recipe", "recipe.yaml", *seeds_option, *words]),
        "max_similarity": recipe.bootstrap.max_similarity,
        "max_similarity_across_splits": recipe.splitting.max_similarity,
        "num_distinct": len({key for part in configs["default"].values() for key in part["instance_id"]}),
        "clf_share": recipe.clf_share,
        "balance": recipe.sampling.balance,
        "decontamination": {
            "method": recipe.decontamination.method,
            "max_similarity": recipe.decontamination.max_similarity,
            "ngram": recipe.decontamination.ngram,
        },
        "max_draws": recipe.sampling.max_draws,
        "embedding": hide_folder(recipe.embedding.model),
        "num_instructions": table[0].ours[PHASES.index("sampled")],
        "num_topics": len(features["cluster"].names),
        "configs": {config: {split: len(part) for split, part in splits.items()} for config, splits in configs.items()},
        "columns": {column: _name_type(feature) for column, feature in features.items()},
        "dataset_info": [_describe(config, splits) for config, splits in configs.items()],
        "examples": _pick_examples(configs["instances"]),
        "table": [asdict(row) for row in table],
        "phases": {phase: {**one.facts, "rejected": count_reasons(one.rejected)} for phase, one in traces.items()},
        "stopped": traces["bootstrap"].facts["stopped"],
        "usage": list_costs(teacher),
        "tokens_by_phase": _share_tokens(teacher, num_instructions, sum(map(len, instances))),
        "dollars": teacher.spent().dollars,
        "versions": list_versions(),
    }


def warn_of_terms(model: str) -> str:
    """Return a warning where a model's provider restricts training on its outputs, or ""."""
    identifier, name = find_provider(model)
    if identifier not in _RESTRICTING or _OPEN in model:
        return ""
    return (
        f"The outputs are those of a model by {name}, whose terms restrict using them to train models that compete "
        "with its own. Read them before you train on this."
    )


def _describe(config: str, splits: DatasetDict) -> dict[str, Any]:
    sizes = {
        name: SplitInfo(name, num_bytes=int(part.data.nbytes), num_examples=len(part)) for name, part in splits.items()
    }
    features = next(iter(splits.values())).features
    info = DatasetInfo(features=features, splits=SplitDict(sizes))
    return {"config_name": config, **info._to_yaml_dict()}


def _name_type(feature: object) -> str:
    if isinstance(feature, List):
        return f"list of {_name_type(feature.feature)}"
    if isinstance(feature, Mapping):
        return "{" + ", ".join(f"{name}: {_name_type(one)}" for name, one in feature.items()) + "}"
    return (
        f"ClassLabel of {feature.num_classes}"
        if isinstance(feature, ClassLabel)
        else str(getattr(feature, "dtype", feature))
    )


def _pick_examples(instances: DatasetDict) -> dict[str, dict[str, Any]]:
    """Return the first row of each kind, long texts cut."""
    found: dict[str, dict[str, Any]] = {}
    for part in instances.values():
        topics = part.features["cluster"].names
        for row in part.remove_columns("messages"):
            kind = "another task with an input" if row["input"] else "another task without an input"
            kind = "a classification task" if row["is_classification"] else kind
            if kind not in found:
                found[kind] = {name: _cut(value) for name, value in {**row, "cluster": topics[row["cluster"]]}.items()}
    return found


def _cut(value: Any) -> Any:
    return value[:600] + " …" if isinstance(value, str) and len(value) > 600 else value
