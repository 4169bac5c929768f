"""The cache returns only results of the same inputs, code and settings, in this process and the next."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Value

from auto_instruct_hf.core import to_table
from auto_instruct_hf.core.transform import Trace, apply, code_version, fingerprint, from_rows, keep

NUMBERS = Features({"n": Value("int64")})
CALLS: list[int] = []


def double_batch(batch: Any, *, factor: int = 2, by: Any = None) -> dict[str, list[int]]:
    CALLS.append(len(batch["n"]))
    return {"n": [number * factor for number in batch["n"]]}


def numbers(*values: int) -> Dataset:
    return from_rows([{"n": value} for value in values], NUMBERS)


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def run(data: Dataset, cache: Path, features: Features = NUMBERS, **options: Any) -> list[int]:
    return apply(data, double_batch, phase="double", features=features, cache_dir=cache, **options)["n"][:]


def test_same_inputs_are_read_from_disk(tmp_path: Path) -> None:
    for resource in (object(), open):  # resources do not count
        assert run(numbers(1, 2), tmp_path, resources={"by": resource}) == [2, 4]
    assert CALLS == [2]


@pytest.mark.parametrize("where", [0.1, 0.5, 0.95])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content, at: content[:at],  # truncated, as by a power failure
        lambda content, at: content[:at] + bytes(len(content) - at),  # zeroed, of the same length
        lambda content, at: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],  # one bit
    ],
    ids=["truncated", "zeroed", "garbled"],
)
def test_a_damaged_cache_file_is_computed_again(tmp_path: Path, damage: Any, where: float) -> None:
    run(numbers(*range(1000)), tmp_path)
    file = next(tmp_path.glob("*.arrow"))
    content = file.read_bytes()
    file.write_bytes(damage(content, int(where * len(content))))
    assert run(numbers(*range(1000)), tmp_path) == list(range(0, 2000, 2))
    assert CALLS == [1000, 1000]


def test_changed_rows_settings_model_features_and_code_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(numbers(1, 2), tmp_path)
    run(numbers(1, 3), tmp_path)
    assert run(numbers(1, 2), tmp_path, settings={"factor": 3}) == [3, 6]
    run(numbers(1, 2), tmp_path, depends_on="another model")
    run(numbers(1, 2), tmp_path, Features({"n": Value("int32")}))
    monkeypatch.setattr("auto_instruct_hf.core.transform.code_version", lambda _: "edited")
    run(numbers(1, 2), tmp_path)
    assert len(CALLS) == 6


def test_functions_without_a_source_file_count_by_their_code() -> None:
    spaces: list[dict[str, Any]] = [{"__name__": "nowhere"}, {"__name__": "nowhere"}]
    for factor, space in enumerate(spaces):
        exec(f"def f(batch): return {{'n': [{factor} * n for n in batch['n']]}}", space)
    assert code_version(spaces[0]["f"]) != code_version(spaces[1]["f"])


def test_code_version_follows_calls_inside_the_package_and_ignores_comments_docstrings_and_module_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("auto_instruct_hf.core.code_version._PACKAGE", "rooms")
    monkeypatch.setattr("auto_instruct_hf.core.code_version._EXCLUDED", ())
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms" / "__init__.py").write_text("")

    def version(name: str, caller: str, helper: str) -> str:
        (tmp_path / "rooms" / f"{name}_helper.py").write_text(f"FACTOR = 2\n\n\n{helper}")
        (tmp_path / "rooms" / f"{name}.py").write_text(f"from .{name}_helper import double\n\n\n{caller}")
        importlib.invalidate_caches()
        return code_version(importlib.import_module(f"rooms.{name}").f)

    caller, helper = "def f(batch):\n    return double(batch)\n", "def double(n):\n    return FACTOR * n\n"
    first = version("one", caller, helper)
    assert version("moved", caller, helper) == first
    documented = helper.replace(":\n", ':\n    """Double it."""\n    # twice\n')
    assert version("documented", caller, documented) == first
    edited = helper.replace("FACTOR * n", "FACTOR * n + 1")
    assert version("edited", caller, edited) != first
    lazy = "def f(batch):\n    from .{name}_helper import double as twice\n\n    return twice(batch)\n"
    versions = [version(name, lazy.format(name=name), text) for name, text in (("late", helper), ("later", edited))]
    assert versions[0] != versions[1]


def test_code_version_covers_imports_inside_functions_but_not_the_teacher() -> None:
    from auto_instruct_hf.core.code_version import _reach
    from auto_instruct_hf.generation.attribution import attribute_batch
    from auto_instruct_hf.novelty import NoveltyIndex

    assert ("auto_instruct_hf.novelty.compiled.engine", "Compiled") in _reach(NoveltyIndex.__module__, "NoveltyIndex")
    modules = {place[0] for place in _reach(attribute_batch.__module__, "attribute_batch")}
    assert not any(name.startswith(("auto_instruct_hf.teacher", "auto_instruct_hf.recipe")) for name in modules)


def test_empty_dataset_gets_the_new_columns(tmp_path: Path) -> None:
    expected = Features({"text": Value("string")})
    empty = apply(numbers(), double_batch, phase="double", features=expected, cache_dir=tmp_path)
    assert empty.features == expected
    assert len(empty) == 0


def test_rejected_rows_are_dropped_and_kept_in_the_trace(tmp_path: Path) -> None:
    features = Features({"n": Value("int64"), "rejected": Value("string")})
    judged = from_rows([{"n": 1, "rejected": ""}, {"n": 2, "rejected": "even"}], features)
    trace = Trace()
    assert keep(judged, phase="test", cache_dir=tmp_path, trace=trace).to_list() == [{"n": 1}]
    assert trace.rejected is not None
    assert trace.rejected.to_list() == [{"n": 2, "rejected": "even"}]


def test_a_result_that_is_not_final_is_computed_again(tmp_path: Path) -> None:
    for is_final in (False, False, True, True):
        assert run(numbers(1), tmp_path, is_final=lambda is_final=is_final: is_final) == [2]
    assert CALLS == [1, 1, 1]


def test_phases_after_a_result_that_is_not_final_depend_on_its_rows(tmp_path: Path) -> None:
    settings = {"features": NUMBERS, "cache_dir": tmp_path}
    first, second = (
        apply(numbers(1), double_batch, phase="p", is_final=lambda is_final=is_final: is_final, **settings)._fingerprint
        for is_final in (False, True)
    )
    assert first != second


def test_fingerprints_are_by_value() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    with pytest.raises(TypeError, match="no value to fingerprint"):
        fingerprint(object())


def test_a_table_of_selected_rows_has_them_in_their_order_also_if_there_are_none() -> None:
    rows = Dataset.from_dict({"text": ["a", "b", "c"]}).select([2, 0])
    assert to_table(rows, ["text"])["text"].to_pylist() == ["c", "a"]
    assert to_table(rows.filter(lambda row: row["text"] == "b"), ["text"]).num_rows == 0
