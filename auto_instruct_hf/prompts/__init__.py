"""The words sent to a teacher: one YAML file a request, with the JSON schema of its reply.

A set of prompts is a folder. Two come with the package: `default` for capable models and `small` for models of a few
hundred million parameters, which follow earlier exchanges better than rules. A folder of your own works as well.

Each file holds:
    system       what the teacher is told first (Jinja)
    user         the request (Jinja)
    schema       JSON schema of the reply
    temperature  float
    max_tokens   int, the longest reply
    exchanges    optional: fixed earlier exchanges, each with `user` and `assistant` (the JSON of the reply)
    each         optional: the same for every item of the variable `examples` (Jinja in both)

The templates may use:
    bootstrap    examples (list of {instruction, domain, classification}), count (int), classification (bool: ask for
                 such tasks), domain (str, a field of life), pick (int, at random)
    classify, labels, strategies    instruction
    input        instruction, label
    output       instruction, input, strategy ("" where there is none)
    topic        instructions (list, the most central first), keywords (list)
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

REQUESTS = ("bootstrap", "classify", "labels", "strategies", "input", "output", "topic")
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


def load_prompts(source: str = "default") -> Mapping[str, Prompt]:
    """Read a set of prompts.

    Args:
        source: `default`, `small`, or a folder with one YAML file for each name in REQUESTS.

    Returns:
        The prompts by name.

    Raises:
        PromptError: If a file is missing, is not YAML or has an unknown or missing key.
    """
    return {name: _read(find_folder(source) / f"{name}.yaml") for name in REQUESTS}


def find_folder(source: str) -> Path:
    """Return the folder of a set of prompts: `default` and `small` are those of the package."""
    return Path(__file__).parent / source if source in ("default", "small") else Path(source)


def _read(path: Path) -> Prompt:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PromptError(f"no prompt {path}: a set needs {', '.join(f'{name}.yaml' for name in REQUESTS)}") from None
    except yaml.YAMLError as error:
        raise PromptError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict) or set(content) - _KEYS:
        unknown = sorted(set(content) - _KEYS) if isinstance(content, dict) else type(content).__name__
        raise PromptError(f"{path}: unknown {unknown}; a prompt has the keys {sorted(_KEYS)}")
    try:
        return Prompt(name=path.stem, **content)
    except TypeError as error:
        raise PromptError(f"{path}: {error}") from None
