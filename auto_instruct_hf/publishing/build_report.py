"""The report of a build: everything the card says, and what `report.json` holds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..core import to_json
from ..errors import HubError
from ..estimate import PhaseComparison
from ..teacher import Usage

PHASES = ("bootstrap", "attributes", "completion", "sampled")
CUSTOM = "custom"
"""The name of prompts that do not come with the package."""
Figure = int | float | None
Facts = dict[str, Any]
"""Figures of a phase or an evaluation by name, ready for JSON."""


@dataclass(frozen=True)
class TableRow:
    """A row of the table by phase: our figures and the published ones for each of PHASES, None if there is none."""

    name: str
    ours: tuple[Figure, ...]
    published: tuple[Figure, ...]


@dataclass(frozen=True)
class SeedsInfo:
    """Where the seed tasks are from."""

    name: str
    rows: int
    license: str | None
    is_bundled: bool
    digest: str = ""
    """Name and hash of the rows."""
    columns: str = ""
    """Where columns had other names: `instruction=prompt`, separated by spaces."""


@dataclass(frozen=True)
class DecontaminationInfo:
    """How the build was compared with evaluation sets."""

    method: str
    max_similarity: float
    ngram: int


@dataclass(frozen=True)
class PricedUsage(Usage):
    """Usage of a phase with its price in US dollars, None if unknown."""

    dollars: float | None = None


@dataclass(frozen=True)
class TokensPerRow:
    """Tokens of a phase per published instruction and instance."""

    phase: str
    input_per_instruction: float
    output_per_instruction: float
    input_per_instance: float
    output_per_instance: float


@dataclass(frozen=True)
class BuildReport:
    """All that is reported of a build; the card is made of nothing else. Settings are named as in the recipe."""

    title: str
    teacher: str
    is_embedded: bool
    prompts: str
    seeds: SeedsInfo
    seed: int
    license: str | None
    terms: str
    """A warning about the terms of the teacher's provider, or ""."""
    language: str | None
    command: str
    """The command that repeats the build, beside the published recipe."""
    max_similarity: float
    max_cosine: float | None
    """None: the bootstrap compared words only; so below."""
    max_similarity_across_splits: float
    max_cosine_across_splits: float | None
    num_distinct: int
    """Distinct instances in the sample; the config `instances` has those that were not sampled as well."""
    clf_share: float
    balance: str
    decontamination: DecontaminationInfo
    max_draws: int
    embedding: str
    num_instructions: int
    """Instructions of the config `instances`."""
    num_topics: int
    configs: dict[str, dict[str, int]]
    """Rows by config and split."""
    columns: dict[str, str]
    """Types by column."""
    dataset_info: list[Facts]
    """The `dataset_info` of the card's YAML."""
    examples: dict[str, Facts]
    """A row of each kind of task."""
    table: list[TableRow]
    phases: dict[str, Facts]
    """What each phase found, with `rejected`: the number of dropped rows by reason."""
    stopped: str | None
    """Why the bootstrap stopped early."""
    usage: list[PricedUsage]
    tokens_by_phase: list[TokensPerRow]
    dollars: float | None
    versions: dict[str, str]
    description: str = ""
    """The publisher's own words, as Markdown."""
    estimate: list[PhaseComparison] | None = None
    """The estimate beside the actual usage, by phase."""
    chat_strategy: str = ""
    """`chat.strategy` of the recipe; "": an earlier version wrote the build."""
    has_system: bool = False
    """Whether the chats begin with a system message."""
    plots: list[dict[str, str]] = field(default_factory=list)
    """The figures: `file` and `caption`."""
    evaluation: Facts | None = None
    """The content of `evaluation.json`, if the build was evaluated."""

    def to_json(self) -> bytes:
        """Return the content of `report.json`."""
        content = asdict(self)
        for name in ("estimate", "evaluation"):
            if content[name] is None:
                del content[name]
        for usage in content["usage"]:
            if not usage["seconds"]:  # left out of a published report
                del usage["seconds"]
        return to_json(content)


def parse_report(content: Mapping[str, object], folder: object) -> BuildReport:
    """Parse the content of the `report.json` in a folder; raise a HubError if another version wrote it."""
    try:
        return TypeAdapter(BuildReport).validate_python(content)
    except ValidationError:
        raise HubError(f"{folder} was built by another version: run the build again, it asks for nothing") from None


def format_figure(figure: Figure) -> str:
    """Format a figure of the table: integers with separators, means with two digits, "" for None."""
    if figure is None:
        return ""
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.2f}"
