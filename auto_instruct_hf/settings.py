"""Settings as frozen dataclasses: filled from a mapping, each value checked against its annotation."""

import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import RecipeError

_Section = TypeVar("_Section")


def check(condition: bool, name: str, value: object, wanted: str) -> None:
    """Raise a RecipeError that names a setting and its value, unless the condition holds."""
    if not condition:
        raise RecipeError(f"{name} is {value!r}; it must be {wanted}")


def to_plain(value: Any) -> Any:
    """Return settings as mappings, lists and values, ready for YAML."""
    if is_dataclass(value):
        return {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
    return list(value) if isinstance(value, tuple) else value


def merge(section: _Section, values: object, where: str) -> _Section:
    """Put values in the place of those of a section.

    Args:
        section: A frozen dataclass; its fields may be sections too.
        values: A mapping, nested as the section is; what is not in it stays.
        where: How messages begin: the file, and the path of the section.

    Returns:
        The changed section.

    Raises:
        RecipeError: If a key is unknown, or a value of the wrong type or range.
    """
    if not isinstance(values, Mapping):
        raise RecipeError(f"{where}expected settings by name, found {values!r}")
    types_by_name = get_type_hints(type(section))
    unknown = [str(key) for key in values if key not in types_by_name]
    if unknown:
        raise RecipeError(f"{where}unknown {', '.join(unknown)}; known here: {', '.join(types_by_name)}")
    changes = {}
    for key, value in values.items():
        current = getattr(section, key)
        if is_dataclass(current) and not isinstance(current, type):
            changes[key] = merge(current, value or {}, f"{where}{key}.")
        else:
            changes[key] = _typed(value, types_by_name[key], f"{where}{key}")
    return replace(section, **changes)  # type: ignore[type-var]  # mypy cannot bind a TypeVar to "any dataclass"


def override(section: _Section, options: Mapping[str, Any]) -> _Section:
    """Return a section with the options in it that are given, which is to say not None."""
    given = {name: value for name, value in options.items() if value is not None}
    return replace(section, **given)  # type: ignore[type-var]  # mypy cannot bind a TypeVar to "any dataclass"


def parse_columns(pairs: Iterable[str] | None) -> dict[str, str]:
    """Read what `--column` was given.

    Args:
        pairs: `instruction=prompt` and the like; None: nothing.

    Returns:
        The name here -> the name in the file.

    Raises:
        RecipeError: If one has no equals sign.
    """
    found = [pair.partition("=") for pair in pairs or ()]
    for name, equals, _ in found:
        check(bool(equals), "--column", name, "like instruction=prompt")
    return {name: column for name, _, column in found}


def _typed(value: Any, wanted: Any, where: str) -> Any:
    """Return `value` as the annotated type, without guessing: only int -> float and list -> tuple are converted."""
    options = get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)
    for option in options:
        if get_origin(option) is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        if get_origin(option) is Literal and value in get_args(option):
            return value
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(option, type) and type(value) is option:
            return value
    names = " or ".join(getattr(option, "__name__", str(option)).replace("NoneType", "null") for option in options)
    raise RecipeError(f"{where} is {value!r}; it must be of type {names}")
