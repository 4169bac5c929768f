"""What the sections of a recipe share: strict types, clear errors, and the names of earlier versions."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

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
