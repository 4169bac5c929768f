"""The prompts of a teacher: one YAML file per request, with the JSON schema of its reply.

A set of prompts is a folder, yours or one of the package: `default` for capable models, `small` for models of a few
hundred million parameters, which follow examples better than rules.

Each file holds:
    system       the system message (Jinja)
    user         the request (Jinja)
    schema       JSON schema of the reply
    temperature  float
    max_tokens   int, maximum length of a reply about one item
    exchanges    optional: fixed few-shot exchanges, each with `user` and `assistant` (the JSON of the reply)
    each         optional: one such exchange, repeated for each item of the variable `examples` (Jinja in both)

A set has `bootstrap`, `input`, `output`, `topic`, and either `attributes` or the three `classify`, `labels`,
`strategies`. The templates may use:
    bootstrap    examples (list of {instruction, domain, classification}), count (int), classification (bool: ask for
                 such tasks), domain (str, a field of life, or ""), pick (int, at random)
    attributes, or classify, labels, strategies    instruction
    input        instruction, label, is_border (bool: ask for a case that is hard to tell from another label)
    output       instruction, input, strategy ("" where there is none)
    topic        instructions (list, the most central first), keywords (list)

The replies: `instructions` (list of str); `is_classification` (bool), `labels` (list of str), `input` (str or null) and
`strategies` (list of str), of which `attributes` has all four; `input` (str); `output` (str); `topic` (str).

A prompt other than bootstrap is *grouped*, and asks about several rows at once, when its schema has the property
`answers`: a list of objects, each with `number` (int) and the fields above. Its templates then use instead `items`, a
list of the variables above with `number`, from 1, and `mark` (str), which is in none of their texts: put it before each
number to tell the items apart. The maximum length is `max_tokens` times the number of items.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jinja2
import jsonschema
import yaml

from ..errors import PromptError

ATTRIBUTION = ("attributes", "classify", "labels", "strategies")
REQUESTS = ("bootstrap", *ATTRIBUTION, "input", "output", "topic")
"""All names of prompts; a set has either the first of ATTRIBUTION or the others."""
JUDGE = ("judge", "reversed", "reworded")
"""The prompts of a judge: the main one, the same with questions and texts in reverse order, and a rewording."""
DIRECT = ("input_first", "output_first")
"""The prompts for an instance in one step: output first for classification tasks (it is the label), else input."""
_compile = cache(jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string)

Message = dict[str, str]


@dataclass(frozen=True)
class Prompt:
    """The templates of one request to a teacher; the fields are the keys of its file."""

    name: str
    system: str
    user: str
    schema: Mapping[str, Any]
    temperature: float
    max_tokens: int
    exchanges: Sequence[Mapping[str, Any]] = ()
    each: Mapping[str, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # the validator cannot be pickled

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
        """Return the `maxItems` of a list of the reply in the schema; `sys.maxsize` if it has none."""
        return int(self.schema["properties"][name].get("maxItems", sys.maxsize))

    def messages(self, **variables: Any) -> list[Message]:
        """Return the chat messages with the variables filled in: system, exchanges, user.

        Raise PromptError if a template names a variable that is not given.
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
            return _compile(template).render(variables).strip()
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


PromptSet = Mapping[str, Prompt]
"""Prompts by name."""


def load_prompts(source: "str | PromptSet" = "default") -> PromptSet:
    """Read the prompts of a set: `default`, `small`, a folder, or a loaded set, which is returned.

    Raise PromptError if a file is missing or one too many, is not YAML, or has an unknown or missing key.
    """
    if not isinstance(source, str):
        return source
    return {name: _read(find_folder(source) / f"{name}.yaml") for name in list_names(source)}


def load_judge_prompts() -> Mapping[str, Prompt]:
    """Read the prompts of JUDGE, which belong to no set.

    Variables: `instruction`, `input`, `strategy` and `output` ("" if there is none), `mark` (str, in none of these
    texts), `counts` (str, such as "47 words"; ""), `questions` (list of {name, text}). Reply: `reason` (str), a bool
    for each question, `confidence` (percent).
    """
    return {name: _read(Path(__file__).parent / "judge" / f"{name}.yaml") for name in JUDGE}


def load_comparison_prompt() -> Prompt:
    """Read the prompt of a judge that compares two outputs; it belongs to no set.

    Variables: `instruction`, `input` ("" if there is none), `first` and `second` (the outputs), `mark` (str, in none of
    these texts). Reply: `reason` (str) and `verdict`: `first`, `second` or `tie`.
    """
    return _read(Path(__file__).parent / "judge" / "comparison.yaml")


def load_direct_prompts(source: str = "default") -> Mapping[str, Prompt]:
    """Read the prompts of DIRECT, which belong to no set: those for small models if `source` is `small`.

    Variable: `instruction`. Reply: `input` (str or null) and `output` (str), or `instances` (list of {label, input}).
    """
    folder = Path(__file__).parent / "direct" / ("small" if source == "small" else "default")
    return {name: _read(folder / f"{name}.yaml") for name in DIRECT}


def list_names(source: str) -> list[str]:
    """Return the names of the prompts that a set (a name or a folder) must have.

    Raise PromptError if it has both `attributes` and a prompt that this one replaces, or none of them.
    """
    whole, parts = ATTRIBUTION[0], ATTRIBUTION[1:]
    folder = find_folder(source)
    if not folder.is_dir():
        raise PromptError(f"no folder of prompts {source}: name default, small, or a folder with a file per prompt")
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
    try:
        prompt = Prompt(path.stem, **content)
    except TypeError as error:
        fault = str(error).rpartition("Prompt.__init__() ")[2]
        keys = ", ".join(field.name for field in fields(Prompt)[1:])
        raise PromptError(f"{path}: {fault}; a prompt has the keys {keys}") from None
    if prompt.is_grouped:
        item = prompt.schema["properties"]["answers"]["items"]
        if not all("number" in shape.get("required", ()) for shape in item.get("anyOf", [item])):
            raise PromptError(f"{path}: each of the answers must have a number; add it to their `required`")
    return prompt
