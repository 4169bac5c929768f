"""What a build takes is said before it is paid for, and set beside what it took."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stub_teacher import KEY, StubTeacher, serve_stub

from auto_instruct_hf import Recipe, Teacher, build, read_seeds
from auto_instruct_hf.estimate.estimator import estimate, read_or_make_estimate, write_estimate
from auto_instruct_hf.estimate.preview import describe_exchanges, preview
from auto_instruct_hf.recipe import TeacherSettings

PRICES = {"input_price": 2.5, "output_price": 10.0}
RECIPE = Recipe(num_instructions=150, teacher=TeacherSettings(max_retries=3, **PRICES))


def open_teacher(stub: StubTeacher, folder: Path, **settings: Any) -> Teacher:
    chosen = replace(RECIPE.teacher, **settings)
    return Teacher("stub", base_url=stub.url, api_key=KEY, journal=folder / "journal.sqlite", settings=chosen)


def test_an_estimate_by_a_few_rows_comes_near_the_truth(tmp_path: Path) -> None:
    with serve_stub(faults={"broken": 0.05, "error429": 0.02}) as stub, open_teacher(stub, tmp_path) as teacher:
        seen = preview(read_seeds(), teacher, RECIPE, 30)
        write_estimate(tmp_path / "estimate.json", estimate(read_seeds(), teacher, RECIPE, seen))
        written = read_or_make_estimate(tmp_path / "estimate.json", read_seeds(), teacher, RECIPE)
        found = build(read_seeds(), teacher, tmp_path, RECIPE, estimate=written).report.estimate
    assert found
    for name in ("requests", "input_tokens", "output_tokens", "dollars"):
        asked = [one for one in found if one.phase != "topics"]  # how many there are, nobody can tell
        actual = sum(getattr(one.actual, name) for one in asked)
        assert sum(getattr(one, name) for one in asked) == pytest.approx(actual, rel=0.2)
    assert len({json.dumps(body, sort_keys=True) for body in stub.answered}) == len(stub.answered)  # none paid twice
    assert sum(one.actual.requests for one in found) == len(stub.answered)


def test_without_a_row_it_asks_nothing_and_says_something_of_each_phase(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path) as teacher:
        small = estimate(read_seeds(), teacher, RECIPE)
        large = estimate(read_seeds(), teacher, replace(RECIPE, num_instructions=1500))
        halved = estimate(read_seeds(), teacher, replace(RECIPE, teacher=replace(RECIPE.teacher, batch=True)))
        paced = estimate(read_seeds(), teacher, replace(RECIPE, teacher=replace(RECIPE.teacher, rpm=1.0)))
    assert not stub.answered
    assert [share.phase for share in small.shares] == ["bootstrap", "attribute", "complete", "topics"]
    assert all(share.requests > 0 and share.input_tokens > share.requests for share in small.shares)
    assert small.sampled == 0
    assert large.shares[1].input_tokens == pytest.approx(10 * small.shares[1].input_tokens, rel=0.01)
    assert small.dollars is not None
    assert halved.dollars == pytest.approx(small.dollars / 2)
    assert {share.hours for share in halved.shares} == {None}
    assert paced.shares[0].hours == pytest.approx(paced.shares[0].requests / 60, rel=0.01)


@pytest.mark.parametrize("prompts", ["small", "default"])
def test_it_knows_every_set_of_prompts(stub: StubTeacher, tmp_path: Path, prompts: str) -> None:
    with open_teacher(stub, tmp_path) as teacher:
        requests = {
            s.phase: s.requests for s in estimate(read_seeds(), teacher, replace(RECIPE, prompts=prompts)).shares
        }
    assert requests["attribute"] == (300 if prompts == "small" else pytest.approx(15, rel=0.1))


def test_an_unknown_price_is_said(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path, input_price=None, output_price=None) as teacher:
        made = estimate(read_seeds(), teacher, RECIPE)
    assert made.dollars is None
    assert made.shares[0].input_tokens > 0


def test_an_estimate_of_another_recipe_is_not_taken(stub: StubTeacher, tmp_path: Path) -> None:
    path = tmp_path / "estimate.json"
    with open_teacher(stub, tmp_path) as teacher:
        first = read_or_make_estimate(path, read_seeds(), teacher, RECIPE)
        write_estimate(path, replace(first, sampled=7))
        assert read_or_make_estimate(path, read_seeds(), teacher, RECIPE).sampled == 7
        assert read_or_make_estimate(path, read_seeds(), teacher, replace(RECIPE, num_instructions=9)).sampled == 0
        path.write_text("{}")
        assert read_or_make_estimate(path, read_seeds(), teacher, RECIPE) == first


def test_a_preview_shows_all_phases_and_is_not_paid_again(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path) as teacher:
        seen = preview(read_seeds(), teacher, RECIPE, 3)
        asked = len(stub.answered)
        assert seen.instructions == 3
        assert seen.candidates > 3
        text = describe_exchanges(seen.exchanges)
        for words in (
            "=== 1. bootstrap",
            "attribute: attributes",
            "complete: output",
            "[system]",
            "[user]",
            "[reply]",
            "tokens in",
        ):
            assert words in text
        assert preview(read_seeds(), teacher, RECIPE, 3) == seen  # told again, asked for nothing
        assert len(stub.answered) == asked
        build(read_seeds(), teacher, tmp_path / "out", replace(RECIPE, num_instructions=12))
    bodies = [json.dumps(body, sort_keys=True) for body in stub.answered]
    assert len(set(bodies)) == len(bodies)
