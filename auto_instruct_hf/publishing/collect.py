"""Collect the report of a build from what its phases returned."""

import importlib.metadata
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, List, SplitDict, SplitInfo, concatenate_datasets

from ..core import CHAT, Trace, hide_folder, to_table
from ..estimate import PhaseComparison
from ..generation import BUNDLED_NAME
from ..recipe import Recipe
from ..teacher import Teacher, find_provider
from .build_report import (
    CUSTOM,
    BuildReport,
    DecontaminationInfo,
    Facts,
    Figure,
    PricedUsage,
    SeedsInfo,
    TableRow,
    TokensPerRow,
)
from .finished_build import describe_seeds

# The table of dataset statistics by phase of Auto-Instruct (Mansutti).
_PUBLISHED: dict[str, tuple[Figure, ...]] = {
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

# Providers whose terms restrict training on outputs; models with open weights have licences of their own.
_RESTRICTING = {"openai", "anthropic", "google", "x-ai"}
_OPEN = "gpt-oss"


def tabulate_phases(
    instructions: Dataset, attributed: Dataset, instances: Dataset, sample: DatasetDict
) -> list[TableRow]:
    """Compute the rows of the published table from what bootstrap, attribute, complete and stratify returned."""
    kinds = attributed["is_classification"][:]
    sizes = list(zip(kinds, map(len, attributed["attributes"]), strict=True))
    second: dict[str, Figure] = {
        "instructions": len(attributed),
        "instances": len(attributed),
        "CLF instructions": sum(kinds),
        "labels a CLF instruction": _divide(sum(size for kind, size in sizes if kind), sum(kinds)),
        # As published: instances, of which an instruction without a strategy has one.
        "strategies a NON-CLF instruction": _divide(
            sum(max(size, 1) for kind, size in sizes if not kind), len(kinds) - sum(kinds)
        ),
    }
    first: dict[str, Figure] = {"instructions": len(instructions), "instances": len(instructions)}
    by_phase = (first, second, _count(instances), _count(concatenate_datasets(list(sample.values()))))
    return [
        TableRow(name, tuple(found.get(name) for found in by_phase), published)
        for name, published in _PUBLISHED.items()
    ]


def _count(instances: Dataset) -> dict[str, Figure]:
    table = to_table(instances, ["instruction_id", "instance_id", "is_classification", "attribute", "input"])
    is_clf = table["is_classification"]
    clf, others = table.filter(is_clf), table.filter(pc.invert(is_clf))
    instructions, num_clf = (pc.count_distinct(one["instruction_id"]).as_py() for one in (table, clf))
    labelled = clf.filter(pc.not_equal(clf["attribute"], ""))
    labels = labelled.group_by(["instruction_id", "attribute"]).aggregate([]).num_rows
    strategies = pc.count_distinct(others["instance_id"]).as_py()
    return {
        "instructions": instructions,
        "instances": table.num_rows,
        "empty input": pc.equal(table["input"], "").to_numpy().sum().item(),
        "CLF instructions": num_clf,
        "CLF instances": clf.num_rows,
        "labels a CLF instruction": _divide(labels, num_clf),
        "strategies a NON-CLF instruction": _divide(strategies, instructions - num_clf),
    }


def _count_distinct(splits: DatasetDict, name: str) -> int:
    """Return the number of different values of a column."""
    return int(pc.count_distinct(to_table(concatenate_datasets(list(splits.values())), [name])[name]).as_py())


def _divide(total: float, count: int) -> float | None:
    return total / count if count else None


def count_reasons(rejected: Dataset | None) -> dict[str, int]:
    """Count rejected rows by reason, the most frequent first."""
    return dict(Counter(rejected["rejected"][:]).most_common()) if rejected is not None else {}


def list_costs(teacher: Teacher) -> list[PricedUsage]:
    """Return the usage in a teacher's journal with its price in US dollars (None if unknown)."""
    return [
        PricedUsage(**{**asdict(usage), "model": hide_folder(usage.model)}, dollars=teacher.prices.price(usage).dollars)
        for usage in teacher.journal.usage()
    ]


def _divide_tokens(usage: Sequence[PricedUsage], instructions: int, instances: int) -> list[TokensPerRow]:
    """Return the tokens of each phase per published instruction and instance."""
    found = []
    for phase in dict.fromkeys(one.phase for one in usage):
        parts = [one for one in usage if one.phase == phase]
        tokens = (sum(one.input_tokens for one in parts), sum(one.output_tokens for one in parts))
        shares = (round(part / max(count, 1), 1) for count in (instructions, instances) for part in tokens)
        found.append(TokensPerRow(phase, *shares))
    return found


def collect_report(
    table: list[TableRow],
    configs: Mapping[str, DatasetDict],
    seeds: Dataset,
    teacher: Teacher,
    recipe: Recipe,
    traces: Mapping[str, Trace],
    *,
    license: str | None,
    language: str | None,
    title: str | None = None,
    description: str = "",
    estimate: list[PhaseComparison] | None = None,
) -> BuildReport:
    """Collect the report of a build from the published splits by config and the traces of the phases by name.

    The info of the seeds holds their name and license. `table` is as `tabulate_phases` returns it; the options are
    as in `pipeline.build`.
    """
    name = seeds.info.dataset_name or "custom seeds"
    is_bundled = name == BUNDLED_NAME
    features = next(iter(next(iter(configs.values())).values())).features
    instances = list(configs["instances"].values())
    num_instructions = _count_distinct(configs["instances"], "instruction_id")
    cleaning = recipe.decontamination
    columns, usage = seeds.info.description or "", list_costs(teacher)
    options = [("--seeds", "" if is_bundled else name), *(("--column", pair) for pair in columns.split())]
    options += [("--license", license or ""), ("--language", language or "")]
    words = [word for option in options if option[1] for word in option]
    return BuildReport(
        title=title or f"Instructions by {hide_folder(teacher.model)}",
        teacher=hide_folder(teacher.model),
        is_embedded=teacher.is_embedded,
        prompts=CUSTOM if recipe.prompts not in (None, "default", "small") else recipe.prompts or teacher.prompts,
        seeds=SeedsInfo(name, len(seeds), seeds.info.license or None, is_bundled, describe_seeds(seeds), columns),
        seed=recipe.seed,
        license=license,
        terms=warn_of_terms(teacher.model),
        language=language or ("en" if is_bundled else None),
        command=shlex.join(["auto-instruct", "build", "--recipe", "recipe.yaml", *words]),
        max_similarity=recipe.bootstrap.max_similarity,
        max_cosine=recipe.bootstrap.max_cosine if traces["bootstrap"].facts["in_meaning"] else None,
        max_similarity_across_splits=recipe.splitting.max_similarity,
        max_cosine_across_splits=recipe.splitting.max_cosine if "in_meaning" in traces["split"].facts else None,
        num_distinct=_count_distinct(configs["default"], "instance_id"),
        clf_share=recipe.clf_share,
        balance=recipe.sampling.balance,
        decontamination=DecontaminationInfo(cleaning.method, cleaning.max_similarity, cleaning.ngram),
        max_draws=recipe.sampling.max_draws,
        embedding=hide_folder(recipe.embedding.model),
        num_instructions=num_instructions,
        num_topics=len(features["cluster"].names),
        configs={config: {split: len(part) for split, part in splits.items()} for config, splits in configs.items()},
        columns={column: _name_type(feature) for column, feature in features.items()},
        dataset_info=[_describe(config, splits) for config, splits in configs.items()],
        examples=_pick_examples(configs["instances"]),
        table=table,
        phases={phase: {**one.facts, "rejected": count_reasons(one.rejected)} for phase, one in traces.items()},
        stopped=traces["bootstrap"].facts["stopped"],
        usage=usage,
        tokens_by_phase=_divide_tokens(usage, num_instructions, sum(map(len, instances))),
        dollars=teacher.spent().dollars,
        versions={package: importlib.metadata.version(package) for package in _VERSIONS},
        description=description,
        estimate=estimate,
        chat_strategy=recipe.chat.strategy,
        has_system=bool(recipe.chat.system),
    )


def warn_of_terms(model: str) -> str:
    """Return a warning if a model's provider restricts training on its outputs, else ""."""
    identifier, name = find_provider(model)
    if identifier not in _RESTRICTING or _OPEN in model:
        return ""
    return (
        f"The outputs are those of a model by {name}, whose terms restrict training models on them that compete with "
        "its own. Read the terms before you train on this dataset."
    )


def _describe(config: str, splits: DatasetDict) -> Facts:
    sizes = {name: SplitInfo(name, int(part.data.nbytes), len(part)) for name, part in splits.items()}
    info = DatasetInfo(features=next(iter(splits.values())).features, splits=SplitDict(sizes))
    return {"config_name": config, **info._to_yaml_dict()}


def _name_type(feature: object) -> str:
    if isinstance(feature, List):
        return f"list of {_name_type(feature.feature)}"
    if isinstance(feature, Mapping):
        return "{" + ", ".join(f"{name}: {_name_type(one)}" for name, one in feature.items()) + "}"
    if isinstance(feature, ClassLabel):
        return f"ClassLabel of {feature.num_classes}"
    return str(getattr(feature, "dtype", feature))


def _pick_examples(instances: DatasetDict) -> dict[str, Facts]:
    """Return the first row of each kind of task, texts over 600 characters truncated."""
    found: dict[str, Facts] = {}
    for part in instances.values():
        table = to_table(part, ["is_classification", "input"])
        is_clf, has_input = table["is_classification"].to_numpy(), pc.not_equal(table["input"], "").to_numpy()
        kinds = {
            "a classification task": is_clf,
            "an open task with an input": ~is_clf & has_input,
            "an open task without an input": ~is_clf & ~has_input,
        }
        firsts = {kind: int(of_kind.argmax()) for kind, of_kind in kinds.items() if of_kind.any() and kind not in found}
        topics, shown = part.features["cluster"].names, [name for name in part.column_names if name not in CHAT]
        for kind, row in sorted(firsts.items(), key=lambda one: one[1]):
            example = part.select_columns(shown)[row]
            example["cluster"] = topics[example["cluster"]]
            found[kind] = {
                name: f"{value[:600]} …" if isinstance(value, str) and len(value) > 600 else value
                for name, value in example.items()
            }
    return found
