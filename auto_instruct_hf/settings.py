"""What the sections of a recipe share, and those of the filters, curation, decontamination and chats."""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from .errors import RecipeError

_LOG = logging.getLogger(__name__)
_Section = TypeVar("_Section")
# bool is not taken for int, nor text for a number; only int -> float and list -> tuple are converted.
STRICT = ConfigDict(extra="forbid", strict=True)
# Settings of recipes that earlier versions wrote: section and name -> the name now, None where the setting is gone.
_RENAMED: dict[tuple[str, str], str | None] = {
    ("bootstrap", "tokeniser"): "tokenizer",
    ("clustering", "dimensions"): "n_components",
    ("clustering", "neighbours"): "n_neighbors",
    ("clustering", "covariance"): "covariance_type",
    ("clustering", "restarts"): "n_init",
    ("clustering", "choose"): "criterion",
    ("clustering", "resamples"): None,
    ("clustering", "resample_rows"): None,
    ("teacher", "attempts"): "max_attempts",
    ("teacher", "retries"): "max_retries",
}


class Settings:
    """Raise a RecipeError for invalid values, naming the setting, its value and what is allowed."""

    @model_validator(mode="wrap")
    @classmethod
    def _translate_errors(cls, values: Any, validate: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return validate(values)
        except ValidationError as error:
            found = error.errors(include_url=False)[0]
            name = cls._path(str(found["loc"][0]) if found["loc"] else "")
            if found["type"] == "unexpected_keyword_argument":
                known = ", ".join(cls.__dataclass_fields__)  # type: ignore[attr-defined]  # every subclass is a dataclass
                raise RecipeError(f"unknown setting {name}; known here: {known}") from None
            raise RecipeError(f"{name} is {found['input']!r}; {found['msg'].replace('Input', 'it', 1)}") from None

    @classmethod
    def _path(cls, name: str) -> str:
        section = cls.__name__.removesuffix("Settings").lower()
        return name if section == "recipe" else f"{section}.{name}"


def _require_patterns(expressions: tuple[str, ...]) -> tuple[str, ...]:
    for expression in expressions:
        try:
            re.compile(f"(?:{expression})")  # as it is joined with others
        except re.error as error:
            message = "it should be a list of regular expressions: {error}"
            raise PydanticCustomError("pattern", message, {"error": f"{expression!r}: {error}"}) from None
    return expressions


_Patterns = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_require_patterns)]
FilterRule = Literal[
    "announcement", "control characters", "ends with a colon", "endless repetition", "escape sequences",
    "input under several labels", "leading punctuation", "mojibake", "needs a browser or a clock",
    "needs more than text", "output equals the instruction", "output equals the strategy", "output holds the input",
    "output holds the instruction", "output holds the strategy", "placeholder", "refusal", "several tasks",
    "template token", "thought",
]  # fmt: skip
"""The rules of the filters, by their reason in the report."""


@dataclass(frozen=True, config=STRICT)
class FiltersSettings(Settings):
    """Rules on what a teacher writes, in all phases. Ours.

    The lists hold regular expressions, which are added to those of the language. Each list is described in
    `core/english_filters.yaml`.
    """

    language: Literal["english", "italian", "none"] = "english"
    """`none`: only the lists given here."""
    skip: Annotated[tuple[FilterRule, ...], Field(strict=False)] = ()
    """Rules that are not applied."""
    nothing: _Patterns = ()
    placeholders: _Patterns = ()
    refusals: _Patterns = ()
    asks_back: _Patterns = ()
    announcements: _Patterns = ()
    openers: _Patterns = ()
    thoughts: _Patterns = ()
    thought_tags: _Patterns = ()
    tokens: _Patterns = ()
    turns: _Patterns = ()
    turn_words: _Patterns = ()
    headings: _Patterns = ()
    polite: _Patterns = ()
    token_words: _Patterns = ()
    several: _Patterns = ()
    continues: _Patterns = ()
    needs_web: _Patterns = ()
    needs_media: _Patterns = ()
    shows_media: _Patterns = ()
    code_words: _Patterns = ()
    keeps_input: _Patterns = ()


FILTER_LISTS = tuple(name for name in FiltersSettings.__dataclass_fields__ if name not in ("language", "skip"))


def check(condition: bool, name: str, value: object, wanted: str) -> None:
    """Raise a RecipeError that names a setting and its value, unless the condition holds."""
    if not condition:
        raise RecipeError(f"{name} is {value!r}; it should be {wanted}")


def override(section: _Section, options: Mapping[str, Any]) -> _Section:
    """Return a copy of a settings section, with the options that are not None."""
    given = {name: value for name, value in options.items() if value is not None}
    return replace(section, **given)  # type: ignore[type-var]  # mypy cannot bind a TypeVar to "any dataclass"


def require_mapping(content: object, where: str) -> dict[str, Any]:
    """Return settings by name, empty for None; raise a RecipeError that begins with `where` for anything else."""
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise RecipeError(f"{where}expected settings by name, found {content!r}")
    return {str(key): value for key, value in content.items()}


def current_names(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """Rename settings as earlier versions wrote them, and leave out those that are gone."""
    for name in [name for name in values if (section, name) in _RENAMED]:
        new = _RENAMED[section, name]
        _LOG.warning("%s.%s is now %s", section, name, f"{section}.{new}" if new else "without effect and was ignored")
        value = values.pop(name)
        if new:
            values.setdefault(new, value)
    return values


def beside(recipe: str | Path, name: str) -> str:
    """Return the path of a file (with or without `:COLUMN`) in the recipe's folder if it exists there, else `name`."""
    path = Path(recipe).parent / name
    exists = path.exists() or path.with_name(path.name.rpartition(":")[0] or path.name).exists()
    return str(path) if exists and name not in ("default", "small") else name


@dataclass(frozen=True, config=STRICT)
class CurationSettings(Settings):
    """Phase 4, first step. The rules are the published ones; the list of connectives is ours."""

    leaks: Annotated[tuple[str, ...], Field(strict=False)] = ("Strategy:", "Input:")
    connectives: Annotated[tuple[str, ...], Field(strict=False)] = (
        "and", "or", "but", "nor", "because", "although", "though", "whereas", "unless", "than", "the",
    )  # fmt: skip


@dataclass(frozen=True, config=STRICT)
class DecontaminationSettings(Settings):
    """Phase 4, between curation and clustering, if there are sources. Ours: the original has no such step."""

    sources: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Evaluation sets: `USER/NAME:COLUMN`, `USER/NAME:CONFIG:COLUMN` or `PATH:COLUMN`. The column can be omitted if
    only one column holds text."""
    method: Literal["rouge", "ngram"] = "rouge"
    """`rouge`: drop if ROUGE-L F1 is above `max_similarity`. `ngram`: drop if `ngram` consecutive words are shared, as
    in Brown et al. 2020 (arXiv:2005.14165, appendix C)."""
    max_similarity: Annotated[float, Field(gt=0, le=1)] = 0.7
    """The threshold of the bootstrap (Self-Instruct)."""
    ngram: Annotated[int, Field(ge=1)] = 13
    """Words; the value of Brown et al. 2020."""

    def __post_init__(self) -> None:
        check(all(self.sources), "decontamination.sources", self.sources, "names of files or datasets, none empty")


@dataclass(frozen=True, config=STRICT)
class ChatSettings(Settings):
    """How rows are written as chats. Ours: the published prompts have neither a strategy nor a system message."""

    strategy: Literal["several", "always", "never"] = "several"
    """When the user asks for the strategy of the output: where the same prompt has several outputs, always where there
    is a strategy, or never. The reasons for the default are in `docs/publish.md`."""
    system: str = ""
    """Text of a system message before each chat; "": none."""
