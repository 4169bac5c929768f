"""The words sent to a teacher: one YAML file a request, with the JSON schema of its reply.

A set of prompts is a folder. Two come with the package: `default` for capable models and `small` for models of a few
hundred million parameters, which follow earlier exchanges better than rules. A folder of your own works as well.

Each file holds:
    system       what the teacher is told first (Jinja)
    user         the request (Jinja)
    schema       JSON schema of the reply
    temperature  float
    max_tokens   int, the longest reply, to one item
    exchanges    optional: fixed earlier exchanges, each with `user` and `assistant` (the JSON of the reply)
    each         optional: the same for every item of the variable `examples` (Jinja in both)

A set has `bootstrap`, `input`, `output`, `topic`, and either `attributes` or the three `classify`, `labels`,
`strategies`. The templates may use:
    bootstrap    examples (list of {instruction, domain, classification}), count (int), classification (bool: ask for
                 such tasks), domain (str, a field of life), pick (int, at random)
    attributes, or classify, labels, strategies    instruction
    input        instruction, label
    output       instruction, input, strategy ("" where there is none)
    topic        instructions (list, the most central first), keywords (list)

The replies: `instructions` (list of str); `is_classification` (bool), `labels` (list of str), `input` (str or null) and
`strategies` (list of str), of which `attributes` has all four; `input` (str); `output` (str); `topic` (str).

A prompt other than bootstrap and topic is *grouped*, and asks about several rows at once, when its schema has the
property `answers`: a list of objects, each with `number` (int) and the fields above. Its templates then get `items`
instead: a list of the variables above with `number`, from 1. The longest reply is `max_tokens` for each item.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jinja2
import jsonschema
import yaml

from ..errors import PromptError

ATTRIBUTION = ("attributes", "classify", "labels", "strategies")
REQUESTS = ("bootstrap", *ATTRIBUTION, "input", "output", "topic")
"""All names that a prompt may have; a set has either the first of ATTRIBUTION or the others."""
JUDGE = ("judge", "reversed", "reworded")
"""The forms in which a judge is asked: the main one, its questions and texts in reverse order, other words."""
DIRECT = ("input_first", "output_first")
"""The ways in which an instance is asked for in one step: of classification tasks the output, its label, is first."""
_KEYS = {"system", "user", "schema", "temperature", "max_tokens", "exchanges", "each"}
_JINJA = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)

Message = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """One request to a teacher, before its variables are filled in."""

    name: str
    system: str
    user: str
    schema: Mapping[str, Any]
    temperature: float
    max_tokens: int
    exchanges: Sequence[Mapping[str, Any]] = ()
    each: Mapping[str, Any] | None = None

    @cached_property
    def _validator(self) -> jsonschema.Draft202012Validator:
        return jsonschema.Draft202012Validator(self.schema)

    def accepts(self, reply: Any) -> bool:
        """Return whether a reply is valid under the schema."""
        return self._validator.is_valid(reply)

    @property
    def is_grouped(self) -> bool:
        """Whether it asks about several rows at once."""
        return "answers" in self.schema["properties"]

    def max_items(self, name: str) -> int:
        """Return how many items the schema admits in a list of the reply; `sys.maxsize` where it does not say."""
        return int(self.schema["properties"][name].get("maxItems", sys.maxsize))

    def messages(self, **variables: Any) -> list[Message]:
        """Fill in the variables.

        Args:
            **variables: What the templates name; `examples` is also what `each` repeats over.

        Returns:
            Chat messages: the system's, the earlier exchanges, the user's.

        Raises:
            PromptError: If a template names a variable that is not given.
        """
        turns: list[tuple[Mapping[str, Any], dict[str, Any]]] = [(exchange, {}) for exchange in self.exchanges]
        if self.each:
            turns += [(self.each, {**variables, "example": example}) for example in variables["examples"]]
        messages = [{"role": "system", "content": self._fill(self.system, variables)}]
        for exchange, names in turns:
            answer = json.dumps(self._fill_leaves(exchange["assistant"], names), ensure_ascii=False)
            messages.append({"role": "user", "content": self._fill(exchange["user"], names)})
            messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": self._fill(self.user, variables)})
        return messages

    def _fill(self, template: str, variables: Mapping[str, Any]) -> str:
        try:
            return _compiled(template).render(variables).strip()
        except jinja2.TemplateError as error:
            raise PromptError(f"prompt {self.name!r}: {error}; variables given: {sorted(variables)}") from None

    def _fill_leaves(self, node: Any, variables: Mapping[str, Any]) -> Any:
        if isinstance(node, str):
            return self._fill(node, variables) if variables else node
        if isinstance(node, Mapping):
            return {key: self._fill_leaves(value, variables) for key, value in node.items()}
        if isinstance(node, list):
            return [self._fill_leaves(value, variables) for value in node]
        return node


@cache
def _compiled(template: str) -> jinja2.Template:
    return _JINJA.from_string(template)


PromptSet = Mapping[str, Prompt]
"""Prompts by name."""


def load_prompts(source: "str | PromptSet" = "default") -> PromptSet:
    """Read a set of prompts.

    Args:
        source: `default`, `small`, a folder with one YAML file per prompt, or a loaded set, which is returned.

    Returns:
        The prompts by name.

    Raises:
        PromptError: If a file is missing or one too many, is not YAML, or has an unknown or missing key.
    """
    if not isinstance(source, str):
        return source
    return {name: _read(find_folder(source) / f"{name}.yaml") for name in list_names(source)}


def load_judge_prompts() -> Mapping[str, Prompt]:
    """Read the prompts of JUDGE, which come with the package and belong to no set.

    Returns:
        The prompts by name. Their templates may use `instruction`, `input`, `strategy` and `output` ("" where there is
        none), `mark` (str, in none of these texts) and `questions` (list of {name, text}); the reply has `reason`
        (str), a bool for each question, and `confidence` (int, percent).
    """
    return {name: _read(Path(__file__).parent / "judge" / f"{name}.yaml") for name in JUDGE}


def load_direct_prompts(source: str = "default") -> Mapping[str, Prompt]:
    """Read the prompts of DIRECT, which come with the package and belong to no set.

    Args:
        source: The set that other requests are made from: with `small` those for small models, else the others.

    Returns:
        The prompts by name. Their templates may use `instruction`; the reply has `input` (str or null) and `output`
        (str), or `instances` (list of {label, input}).
    """
    folder = Path(__file__).parent / "direct" / ("small" if source == "small" else "default")
    return {name: _read(folder / f"{name}.yaml") for name in DIRECT}


def list_names(source: str) -> list[str]:
    """Return the names of the prompts of a set.

    Args:
        source: As for `load_prompts`.

    Returns:
        Those of REQUESTS that the set has or lacks.

    Raises:
        PromptError: If it has both `attributes` and a prompt that this one replaces, or none of them.
    """
    whole, parts = ATTRIBUTION[0], ATTRIBUTION[1:]
    folder = find_folder(source)
    found = [name for name in ATTRIBUTION if (folder / f"{name}.yaml").is_file()]
    if not found or (whole in found and len(found) > 1):
        raise PromptError(
            f"{folder} has {' and '.join(f'{name}.yaml' for name in found) or f'no {whole}.yaml'}: a set needs either "
            f"{whole}.yaml or all of {', '.join(f'{name}.yaml' for name in parts)}"
        )
    return [name for name in REQUESTS if name not in ATTRIBUTION or (name in parts) == (whole not in found)]


def find_folder(source: str) -> Path:
    """Return the folder of a set of prompts: `default` and `small` are those of the package."""
    return Path(__file__).parent / source if source in ("default", "small") else Path(source)


def _read(path: Path) -> Prompt:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PromptError(f"no prompt {path}: the set is not complete without it") from None
    except yaml.YAMLError as error:
        raise PromptError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict) or set(content) - _KEYS:
        unknown = sorted(set(content) - _KEYS) if isinstance(content, dict) else type(content).__name__
        raise PromptError(f"{path}: unknown {unknown}; a prompt has the keys {sorted(_KEYS)}")
    try:
        prompt = Prompt(name=path.stem, **content)
    except TypeError as error:
        raise PromptError(f"{path}: {error}") from None
    if prompt.is_grouped:
        item = prompt.schema["properties"]["answers"]["items"]
        if not all("number" in shape.get("required", ()) for shape in item.get("anyOf", [item])):
            raise PromptError(f"{path}: each of the answers must have a number; add it to their `required`")
    return prompt
