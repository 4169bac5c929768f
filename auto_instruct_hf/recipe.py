"""The recipe: every setting of a build, with the published values as defaults, but for those in `recipes/`.

Sources: Auto-Instruct (Mansutti) for the attributes, the clustering and the sample; Self-Instruct (Wang et al. 2022,
arXiv:2212.10560) for the bootstrap and its filters. What neither states is marked as ours.
"""

from dataclasses import asdict, field, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from .errors import RecipeError
from .settings import (
    STRICT,
    ChatSettings,
    CurationSettings,
    DecontaminationSettings,
    FiltersSettings,
    Settings,
    beside,
    check,
    current_names,
    require_mapping,
)

_RECIPES = Path(__file__).parent / "recipes"
_Words = Annotated[tuple[str, ...], Field(strict=False)]
PUBLISHED_BANNED = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot",
    "go to",
)  # fmt: skip
"""The banned words of Self-Instruct."""
_Banned = Annotated[_Words, BeforeValidator(lambda value: PUBLISHED_BANNED if value == "published" else value)]
_Price = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Similarity = Annotated[float, Field(gt=0, le=1)]
_Count = Annotated[int, Field(ge=1)]
# Ours: of 85 pairs of recorded instructions with a cosine above it, 82 asked for the same task, and 83 of 115 below
# (all-MiniLM-L6-v2, docs/deduplicate.md). Cosines of another embedding model have another scale.
MAX_COSINE = 0.9


@dataclass(frozen=True, config=STRICT)
class TeacherSettings(Settings):
    """How requests are sent. Only `model`, `max_attempts` and `reasoning_effort` affect the rows. Defaults are ours."""

    model: str | None = None
    base_url: str | None = None
    concurrency: Annotated[int | None, Field(ge=1)] = None
    """Maximum requests in flight; None: adjusted to what the endpoint accepts."""
    rpm: Annotated[float | None, Field(ge=1, allow_inf_nan=False)] = None
    """Maximum requests per minute; None: as many as the endpoint accepts."""
    tpm: Annotated[int | None, Field(ge=1)] = None
    """Maximum tokens per minute, input and output together."""
    budget: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    """Limit in US dollars for all requests in the journal, including earlier runs; None: no limit."""
    batch: bool = False
    """Use the Batch API: half the price, answers within a day."""
    batch_poll: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """Seconds between status requests for batches."""
    structured: Literal["auto", "json_schema", "json_object", "text"] = "auto"
    """How the schema of a reply is sent; `auto` detects what the endpoint supports."""
    input_price: _Price = None
    """US dollars per million input tokens, where the list price is unknown or differs; needs `output_price`."""
    cached_price: _Price = None
    """The same for input tokens read from the provider's prefix cache; None: `input_price`."""
    output_price: _Price = None
    """US dollars per million output tokens."""
    max_attempts: _Count = 6
    """How often a request is sent before its row is dropped because no reply was usable."""
    max_retries: Annotated[int, Field(ge=0)] = 8
    """How often a request is sent again after a transient error (5xx, connection lost, timeout)."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    """Seconds for a whole reply."""
    max_tokens: _Count | None = None
    """Limit in tokens of each reply, with hidden reasoning, instead of that of its prompt; it is never raised."""
    reasoning_effort: str | None = None
    """Sent with each request if it is set, such as `low`, `medium` or `high`; a new value asks everything again."""
    max_failing: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Stop when a larger share of the last 100 replies failed; 1: never."""

    def __post_init__(self) -> None:
        both = (self.input_price is None) == (self.output_price is None)
        check(both, "teacher.output_price", self.output_price, "given together with teacher.input_price")


@dataclass(frozen=True, config=STRICT)
class BootstrapSettings(Settings):
    """Phase 1. The 6 + 2 examples and word limits are Self-Instruct's; the rest is ours."""

    seed_examples: _Count = 6
    machine_examples: Annotated[int, Field(ge=0)] = 2
    max_similarity: _Similarity = 0.7
    """Drop a candidate whose ROUGE-L F1 with any earlier instruction is higher."""
    max_cosine: _Similarity | None = MAX_COSINE
    """Of the others, drop a candidate whose cosine (by `embedding.model`) with any earlier instruction is higher; None:
    compare words only, as published."""
    nearest: bool = True
    """Find what each kept instruction is most similar to as well (`similarity`, `most_similar`; else null and ""), in a
    time that grows with the square of the instructions: a minute at 150,000 on two cores. What is kept is the same."""
    tokenizer: Literal["auto", "rouge", "unicode"] = "auto"
    """Of ROUGE-L: `rouge` keeps a-z and 0-9 only, as `rouge_score` does; `unicode` keeps all scripts; `auto` uses
    `unicode` if most letters of the seeds are not a-z."""
    min_words: int = 4
    max_words: int = 150
    banned: _Banned = ()
    """Drop a candidate with one of these words. `published`: Self-Instruct's list, which also drops "the plot of a
    story". By default the rule "needs more than text" of `filters` takes its place."""
    instructions_per_request: _Count = 10
    """Fewer if the prompt's schema allows fewer."""
    domains: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    """Fields of life or work: each request names one, drawn at random, and all before one repeats. None: those of the
    seeds; empty: none is named."""
    requests_per_round: _Count = 256
    """Maximum. Rounds start with 4 requests and double, since later requests show examples from earlier rounds, and
    each round ends by waiting for its last reply."""
    min_acceptance: _Share = 0.02
    patience: _Count = 200
    """Stop when less than `min_acceptance` of the candidates were kept in the last `patience` requests."""

    def __post_init__(self) -> None:
        check(self.min_words <= self.max_words, "bootstrap.min_words", self.min_words, "at most bootstrap.max_words")


@dataclass(frozen=True, config=STRICT)
class AttributionSettings(Settings):
    """Phase 2. At most three strategies, as published; the rest is ours."""

    max_strategies: Annotated[int, Field(ge=0)] = 3
    instructions_per_request: _Count = 10
    """For prompts that allow several; 1: one request per instruction. Grouping saves tokens (`benchmarks/cost.py`),
    little above ten. Its effect on quality has not been measured on a large model. The reply limit is this number times
    the prompt's `max_tokens`: the teacher must support it."""


@dataclass(frozen=True, config=STRICT)
class CompletionSettings(Settings):
    """Phase 3. Ours: the original sends one request per instance."""

    instances_per_request: _Count = 8
    """Like `attribution.instructions_per_request`. The default allows replies of 9,600 tokens (gpt-4o supports 16,384):
    lower it for a teacher with a smaller limit."""


@dataclass(frozen=True, config=STRICT)
class EmbeddingSettings(Settings):
    """Phase 4: any sentence-transformers model. The default is read from its package if that is installed."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    prompt: str = ""
    """Prefix of each text, for models that need one, such as `query: `."""
    backend: Literal["torch", "onnx", "onnx-int8"] = "torch"
    """`torch` (uses a GPU if there is one) or ONNX Runtime on the CPU (an extra), both in float32.
    `onnx-int8`: 8-bit weights, 1.6 to 1.8 times as fast; on 1,000 instructions the cosine with float32 was at least
    0.978 and 0.993 on average, with 93 % of the ten nearest neighbors kept (`benchmarks/clustering.py backends`)."""
    batch_tokens: _Count = 512
    """Tokens per batch, padding included. Affects speed and memory, and only the last digits of the embeddings
    (more with `onnx-int8`, which scales activations per batch)."""


@dataclass(frozen=True, config=STRICT)
class ClusteringSettings(Settings):
    """Phase 4: UMAP to 6 dimensions, then a Gaussian mixture of 2 to 50 components, as published; the rest is ours."""

    n_components: _Count = 6
    """Dimensions after UMAP."""
    n_neighbors: Annotated[int, Field(ge=2)] = 15
    covariance_type: Literal["full", "tied", "diag", "spherical"] = "full"
    max_clusters: _Count = 50
    num_clusters: Annotated[int | None, Field(ge=1)] = None
    """None: chosen by `criterion`."""
    criterion: Literal["silhouette", "elbow"] = "silhouette"
    """`elbow`: of the silhouette curve, as published. `silhouette`: the smallest number within sampling error of the
    maximum."""
    n_init: _Count = 2
    silhouette_rows: Annotated[int, Field(ge=100)] = 2000
    """Maximum rows in the sample on which silhouettes are computed."""
    fit_sample: Annotated[int, Field(ge=100)] = 50_000
    """Maximum instructions that UMAP and the mixture are fitted on; further ones are assigned by their embeddings."""
    topic_instructions: _Count = 8
    """Instructions shown to the teacher when it names a cluster."""
    topic_tokens: _Count = 20_000
    """Maximum tokens of the instructions in one request for names, estimated. Enough for 50 clusters; more than that
    are named in several requests."""


@dataclass(frozen=True, config=STRICT)
class SplittingSettings(Settings):
    """Phase 4: the shares of the instructions held out. Ours: the original does not state its own."""

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    test: Annotated[float, Field(ge=0, lt=1)] = 0.1
    max_similarity: _Similarity = 0.7
    """Instructions with a higher ROUGE-L F1 stay in one split: the threshold of the bootstrap."""
    max_cosine: _Similarity | None = 0.85
    """So do instructions with a higher cosine (by `embedding.model`); None: compare words only. Lower than that of the
    bootstrap: of the pairs between the two, three in four ask for the same task, and to keep others together costs no
    row."""

    def __post_init__(self) -> None:
        check(self.validation + self.test < 1, "splitting.test", self.test, "below 1 less splitting.validation")


@dataclass(frozen=True, config=STRICT)
class SamplingSettings(Settings):
    """Phase 4, last step; `num_samples` and `clf_share` are top-level settings. `proportional` is published."""

    balance: Literal["proportional", "sqrt", "equal"] = "proportional"
    """The weight of a cluster: its number of instructions, the square root of it, or 1."""
    max_draws: _Count = 20
    """Warn if a row is sampled more often. Ours: twice the published ratio of 5,200 classification rows to 515
    instances. No row is dropped for it: the counts are exact."""


@dataclass(frozen=True, config=STRICT)
class JudgeSettings(Settings):
    """The model that judges instances. All defaults are ours."""

    model: str | None = None
    """None: a model other than the teacher if the endpoint is OpenAI's, else the teacher itself. A build judges all
    its instances if this or `min_judge` is given: the verdicts are columns of the dataset."""
    base_url: str | None = None
    """None: the teacher's endpoint."""
    input_price: _Price = None
    """As `teacher.input_price`, for the judge; so are the next two."""
    cached_price: _Price = None
    output_price: _Price = None
    size: _Count = 200
    """Number of instances judged, each of another instruction."""
    check_share: _Share = 0.25
    """Share of `size` used to test the judge itself: asked again in two other forms, and with each kind of fault, made
    by program where it can be made."""
    min_judge: Annotated[float | None, Field(ge=0, le=1)] = None
    """If given, all curated instances are judged, and kept only if every applicable question is answered yes with at
    least this confidence (0 to 1; 0: any). Instances without a usable judgement are dropped."""
    preferences: bool = False
    """Whether the judge compares the outputs of each prompt that has several, for the config `preferences`."""
    max_tokens: _Count = 600
    """Limit of a reply. Raise it for a reasoning model: its hidden reasoning counts."""

    def __post_init__(self) -> None:
        both = (self.input_price is None) == (self.output_price is None)
        check(both, "judge.output_price", self.output_price, "given together with judge.input_price")

    @property
    def is_asked_in_builds(self) -> bool:
        """Whether a build asks a judge, about instances or pairs of outputs."""
        return self.judges_builds or self.preferences

    @property
    def judges_builds(self) -> bool:
        """Whether a build judges its instances."""
        return (self.model, self.base_url, self.min_judge) != (None, None, None)


@dataclass(frozen=True, config=STRICT)
class Recipe(Settings):
    """All settings of a build. Frozen: use `dataclasses.replace` or `Recipe.from_yaml` to change one."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    num_instructions: _Count = 10_000
    num_samples: Annotated[int | None, Field(ge=1)] = None
    """Rows of the published sample; None: five per instruction, the published ratio (50k of 10k)."""
    clf_share: _Share = 0.1
    """Share of classification among the bootstrap's requests and among the sampled rows; published: 10 %."""
    prompts: str | None = None
    """`default`, `small` or a folder; None: `small` for the embedded teacher, else `default`."""
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    filters: FiltersSettings = field(default_factory=FiltersSettings)
    attribution: AttributionSettings = field(default_factory=AttributionSettings)
    completion: CompletionSettings = field(default_factory=CompletionSettings)
    curation: CurationSettings = field(default_factory=CurationSettings)
    decontamination: DecontaminationSettings = field(default_factory=DecontaminationSettings)
    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    clustering: ClusteringSettings = field(default_factory=ClusteringSettings)
    splitting: SplittingSettings = field(default_factory=SplittingSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    chat: ChatSettings = field(default_factory=ChatSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "Recipe":
        """Read a recipe: any of the settings, nested as here; settings not given keep their defaults.

        Args:
            path: A YAML file, or the name of one of the package: `default`, or `published` for the published recipe to
                the letter. `prompts` and local `decontamination.sources` are looked up beside it first.

        Returns:
            The recipe.

        Raises:
            RecipeError: If the file cannot be read, has an unknown key, or a value of the wrong type or range.
        """
        packaged = {file.stem: file for file in _RECIPES.glob("*.yaml")}
        path = packaged.get(str(path), path)
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}") from None
        except yaml.YAMLError as error:
            place = getattr(error, "problem_mark", None)
            line = f", line {place.line + 1}" if place else ""
            words = " ".join(str(getattr(error, "problem", None) or error).split())
            raise RecipeError(f"the recipe {path}{line} is not YAML: {words}") from None
        try:
            values = require_mapping(content, "")
            defaults = cls()
            for name, section in values.items():
                if is_dataclass(kind := type(getattr(defaults, name, None))):
                    values[name] = kind(**current_names(name, require_mapping(section, f"{name}: ")))
            if isinstance(folder := values.get("prompts"), str):
                values["prompts"] = beside(path, folder)
            recipe = cls(**values)
            sources = tuple(beside(path, source) for source in recipe.decontamination.sources)
            return replace(recipe, decontamination=replace(recipe.decontamination, sources=sources))
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from None

    def to_yaml(self) -> str:
        """Return every setting as YAML that `from_yaml` reads back."""
        values = asdict(self)
        for section in values.values():
            if isinstance(section, dict):
                section.update({name: list(value) for name, value in section.items() if isinstance(value, tuple)})
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
