"""Instances, vectors and commands that the tests of judging, evaluation and ablation share."""

import sys
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from stub_teacher import KEY, StubTeacher, sign
from typer.testing import CliRunner, Result

from auto_instruct_hf import Teacher
from auto_instruct_hf.cli.app import app
from auto_instruct_hf.core import INSTANCES, from_rows
from auto_instruct_hf.core.arrays import Vectors
from auto_instruct_hf.recipe import TeacherSettings


def instance(number: int, **values: Any) -> dict[str, Any]:
    """Return an instance that the stub finds right: every third a classification, some of the others by a strategy."""
    instruction, is_clf = f"Do thing {number}", number % 3 == 0
    label = ("yes", "no", "perhaps")[number % 4 % 3]
    row = {
        "instance_id": f"i{number}",
        "instruction_id": f"t{number}",
        "instruction": instruction,
        "is_classification": is_clf,
        "attribute": label if is_clf else "Be short." if number % 2 else "",
        "input": f"case {number} {label}" if is_clf else "",
        "output": label if is_clf else f"{sign(instruction)} and {number} more",
    }
    return {**row, **values}


def table(rows: Sequence[dict[str, Any]]) -> Dataset:
    return from_rows(rows, INSTANCES)


def open_teacher(stub: StubTeacher, folder: Path, model: str = "judge", **settings: Any) -> Teacher:
    chosen = TeacherSettings(**{"max_retries": 3, **settings})
    return Teacher(model, base_url=stub.url, api_key=KEY, journal=folder / "journal.sqlite", settings=chosen)


def encode(texts: Sequence[str]) -> Vectors:
    """Return vectors of unit length that depend on the texts."""
    vectors = [np.random.default_rng(list(text.encode())).normal(size=32) for text in texts]
    return np.array([vector / np.linalg.norm(vector) for vector in vectors], dtype=np.float32)


def patch_embedding(patch: pytest.MonkeyPatch) -> None:
    """Replace the embedding model, which takes ten seconds to import."""
    _patch(patch, "make_encoder", lambda *_: encode)


def patch_plots(patch: pytest.MonkeyPatch) -> None:
    """Leave out the figures of the card, which take half of the time of a small build."""
    _patch(patch, "draw_plots", lambda *_, **__: {})


def _patch(patch: pytest.MonkeyPatch, function: str, other: object) -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("auto_instruct_hf.") and hasattr(module, function):
            patch.setattr(module, function, other)


def run_command(*arguments: object) -> Result:
    """Run `auto-instruct` in this process: imports take most of the time of another one."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def assert_strict(schema: Any, more: Set[str] = frozenset()) -> None:
    """Check that a JSON schema and its parts are in the subset that strict structured outputs take."""
    assert set(schema) <= {"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", *more}
    if schema.get("type") == "object":
        assert schema["required"] == list(schema["properties"])
        assert schema["additionalProperties"] is False
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")):
        if part:
            assert_strict(part, more)
