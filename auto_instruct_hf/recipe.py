"""The recipe: every setting of a build, with the published values as defaults.

Sources: Auto-Instruct (Mansutti) for the attributes, the clustering and the sample; Self-Instruct (Wang et al. 2022,
arXiv:2212.10560) for the bootstrap and its filters. What neither states is marked as ours.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import yaml

from .errors import RecipeError
from .model_settings import EmbeddingSettings, JudgeSettings, TeacherSettings
from .settings import check as _check
from .settings import merge, to_plain


@dataclass(frozen=True)
class BootstrapSettings:
    """Phase 1. 6 + 2 examples, the word limits and the banned words are Self-Instruct's; the rest is ours."""

    seed_examples: int = 6
    machine_examples: int = 2
    max_similarity: float = 0.7
    tokeniser: Literal["auto", "rouge", "unicode"] = "auto"
    """What ROUGE-L counts: `rouge` sees a-z and 0-9 only, as `rouge_score` does; `unicode` all scripts; `auto` takes
    `unicode` where most letters of the seeds are not a-z."""
    min_words: int = 4
    max_words: int = 150
    banned: tuple[str, ...] = (
        "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
        "go to",
    )  # fmt: skip
    instructions_per_request: int = 10
    """Fewer where the prompt's schema admits fewer."""
    requests_per_round: int = 256
    """The most. A round asks for as many as all before it together, the first for 32: the end of each is a wait, and
    the first ones are small because later requests show what earlier ones brought."""
    min_acceptance: float = 0.02
    patience: int = 200
    """Stop when fewer than `min_acceptance` of the candidates were kept in the last `patience` requests."""

    def __post_init__(self) -> None:
        _check(self.seed_examples >= 1, "bootstrap.seed_examples", self.seed_examples, "at least 1")
        _check(self.machine_examples >= 0, "bootstrap.machine_examples", self.machine_examples, "0 or more")
        _check(0 < self.max_similarity <= 1, "bootstrap.max_similarity", self.max_similarity, "in (0, 1]")
        _check(0 <= self.min_acceptance <= 1, "bootstrap.min_acceptance", self.min_acceptance, "in [0, 1]")
        _check(self.min_words <= self.max_words, "bootstrap.min_words", self.min_words, "at most bootstrap.max_words")
        for name in ("instructions_per_request", "requests_per_round", "patience"):
            _check(getattr(self, name) >= 1, f"bootstrap.{name}", getattr(self, name), "at least 1")


@dataclass(frozen=True)
class AttributionSettings:
    """Phase 2. At most three strategies, as published; the rest is ours."""

    max_strategies: int = 3
    instructions_per_request: int = 10
    """With prompts that ask about several; 1: each alone. More cost fewer tokens (`benchmarks/cost.py`), though beyond
    ten little is left to save. What sharing a request costs in quality has not been measured on a large model. The
    longest reply asked for is so many times the prompt's `max_tokens`: the teacher must admit it."""

    def __post_init__(self) -> None:
        _check(self.max_strategies >= 0, "attribution.max_strategies", self.max_strategies, "0 or more")
        number = self.instructions_per_request
        _check(number >= 1, "attribution.instructions_per_request", number, "at least 1")


@dataclass(frozen=True)
class CompletionSettings:
    """Phase 3. Ours: the original asks for each instance alone."""

    instances_per_request: int = 8
    """As `attribution.instructions_per_request`. At the default the longest reply is 9,600 tokens (gpt-4o admits
    16,384): lower it for a teacher that admits less."""

    def __post_init__(self) -> None:
        number = self.instances_per_request
        _check(number >= 1, "completion.instances_per_request", number, "at least 1")


@dataclass(frozen=True)
class CurationSettings:
    """Phase 4, first step. The rules are the published ones; the list of connectives is ours."""

    leaks: tuple[str, ...] = ("Strategy:", "Input:")
    connectives: tuple[str, ...] = (
        "and", "or", "but", "nor", "because", "although", "though", "whereas", "unless", "than", "the",
    )  # fmt: skip


@dataclass(frozen=True)
class DecontaminationSettings:
    """Phase 4, between curation and clustering: only where there are sources. Ours: the original has no such step."""

    sources: tuple[str, ...] = ()
    """Evaluation sets: `USER/NAME:COLUMN`, `USER/NAME:CONFIG:COLUMN` or `PATH:COLUMN`. Without a column, its only one
    with text."""
    method: Literal["rouge", "ngram"] = "rouge"
    """`rouge`: ROUGE-L F1 above `max_similarity`. `ngram`: `ngram` words in a row that both hold, as Brown et al. 2020
    (arXiv:2005.14165, appendix C) do."""
    max_similarity: float = 0.7
    """That of the bootstrap, Self-Instruct's."""
    ngram: int = 13
    """Words; Brown et al.'s."""

    def __post_init__(self) -> None:
        _check(self.method in ("rouge", "ngram"), "decontamination.method", self.method, "rouge or ngram")
        similarity = self.max_similarity
        _check(0 < similarity <= 1, "decontamination.max_similarity", similarity, "in (0, 1]")
        _check(self.ngram >= 1, "decontamination.ngram", self.ngram, "at least 1")
        _check(all(self.sources), "decontamination.sources", self.sources, "names of files or datasets, none empty")


@dataclass(frozen=True)
class ClusteringSettings:
    """Phase 4: UMAP to 6 dimensions, then a Gaussian mixture of 2 to 50 components, as published; the rest is ours."""

    dimensions: int = 6
    neighbours: int = 15
    covariance: Literal["full", "tied", "diag", "spherical"] = "full"
    max_clusters: int = 50
    num_clusters: int | None = None
    """None: chosen by the rule."""
    choose: Literal["silhouette", "elbow", "stability"] = "silhouette"
    """`elbow`: of the silhouette, as published. `silhouette`: the smallest number that has about the highest.
    `stability`: the highest product of silhouette and agreement under resampling."""
    resamples: int = 4
    """Of the instructions, for the stability: four fifths of them, `resample_rows` at most."""
    resample_rows: int = 4000
    restarts: int = 2
    silhouette_rows: int = 2000
    fit_sample: int = 50_000
    """Instructions that UMAP and mixture see; where there are more, the others follow by their embeddings."""
    topic_instructions: int = 8

    def __post_init__(self) -> None:
        for name, least in (
            ("dimensions", 1),
            ("neighbours", 2),
            ("max_clusters", 1),
            ("resamples", 1),
            ("resample_rows", 100),
            ("restarts", 1),
            ("silhouette_rows", 100),
            ("fit_sample", 100),
            ("topic_instructions", 1),
        ):
            _check(getattr(self, name) >= least, f"clustering.{name}", getattr(self, name), f"at least {least}")
        for name in ("covariance", "choose"):
            words = get_args(get_type_hints(type(self))[name])
            _check(
                getattr(self, name) in words, f"clustering.{name}", getattr(self, name), f"one of {', '.join(words)}"
            )
        if self.num_clusters is not None:
            _check(self.num_clusters >= 1, "clustering.num_clusters", self.num_clusters, "at least 1")


@dataclass(frozen=True)
class SplittingSettings:
    """Phase 4: the shares of the instructions held out. Ours: the original does not state its own."""

    validation: float = 0.1
    test: float = 0.1
    max_similarity: float = 0.7
    """Instructions above this ROUGE-L F1 stay in one split: the bootstrap's threshold."""

    def __post_init__(self) -> None:
        _check(0 <= self.validation < 1, "splitting.validation", self.validation, "in [0, 1)")
        _check(0 <= self.test < 1, "splitting.test", self.test, "in [0, 1)")
        _check(self.validation + self.test < 1, "splitting.test", self.test, "below 1 less splitting.validation")
        _check(0 < self.max_similarity <= 1, "splitting.max_similarity", self.max_similarity, "in (0, 1]")


@dataclass(frozen=True)
class SamplingSettings:
    """Phase 4, last step; `num_samples` and `clf_share` stand at the top of the recipe. `proportional` is published."""

    balance: Literal["proportional", "sqrt", "equal"] = "proportional"
    """The weight of a cluster, by its instructions: their number, its square root, or 1."""
    max_draws: int = 20
    """Warn where a row is drawn more often. Ours: twice what the published figures come to, 5,200 classification rows
    of 515 instances. None is left out for it: the counts are exact."""

    def __post_init__(self) -> None:
        ways = get_args(get_type_hints(type(self))["balance"])
        _check(self.balance in ways, "sampling.balance", self.balance, f"one of {', '.join(ways)}")
        _check(self.max_draws >= 1, "sampling.max_draws", self.max_draws, "at least 1")


@dataclass(frozen=True)
class Recipe:
    """All settings of a build. Frozen: use `dataclasses.replace` or `Recipe.from_yaml` to change one."""

    seed: int = 42
    num_instructions: int = 10_000
    num_samples: int | None = None
    """Rows of the published sample; None: five times the instructions, the published ratio (50k of 10k)."""
    clf_share: float = 0.1
    """Share of classification among the bootstrap's requests and among the sampled rows; published: 10 %."""
    prompts: str | None = None
    """`default`, `small` or a folder; None: `small` for the embedded teacher, else `default`."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    attribution: AttributionSettings = field(default_factory=AttributionSettings)
    completion: CompletionSettings = field(default_factory=CompletionSettings)
    curation: CurationSettings = field(default_factory=CurationSettings)
    decontamination: DecontaminationSettings = field(default_factory=DecontaminationSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    clustering: ClusteringSettings = field(default_factory=ClusteringSettings)
    splitting: SplittingSettings = field(default_factory=SplittingSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)

    def __post_init__(self) -> None:
        _check(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 4294967295")
        _check(self.num_instructions >= 1, "num_instructions", self.num_instructions, "at least 1")
        _check(0 <= self.clf_share <= 1, "clf_share", self.clf_share, "in [0, 1]")
        if self.num_samples is not None:
            _check(self.num_samples >= 1, "num_samples", self.num_samples, "at least 1")

    @classmethod
    def from_yaml(cls, path: str | Path) -> "Recipe":
        """Read a recipe: any of the settings, nested as here; what is not given keeps its default.

        Args:
            path: A YAML file.

        Returns:
            The recipe.

        Raises:
            RecipeError: If the file cannot be read, has an unknown key, or a value is of the wrong type or range.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}") from None
        except yaml.YAMLError as error:
            raise RecipeError(f"the recipe {path} is not YAML: {error}") from None
        return merge(cls(), content or {}, f"{path}: ")

    def to_yaml(self) -> str:
        """Return every setting as YAML that `from_yaml` reads back."""
        return yaml.safe_dump(to_plain(self), sort_keys=False, allow_unicode=True)
