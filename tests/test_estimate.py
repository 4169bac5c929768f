"""The cost of a build is estimated before it is paid for, and compared with the actual usage."""

from dataclasses import replace
from pathlib import Path

import pytest
from stub_instances import open_teacher, patch_embedding, patch_plots
from stub_teacher import StubTeacher

from auto_instruct_hf import Recipe, bootstrap, build, read_seeds
from auto_instruct_hf.estimate import describe_exchanges, estimate, preview, read_or_make_estimate, write_estimate
from auto_instruct_hf.recipe import ClusteringSettings, TeacherSettings

PRICES = {"input_price": 2.5, "output_price": 10.0}
RECIPE = Recipe(
    num_instructions=150,
    teacher=TeacherSettings(max_retries=3, **PRICES),
    clustering=ClusteringSettings(num_clusters=3, n_neighbors=200),
)


@pytest.fixture(autouse=True)
def quick_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    patch_embedding(monkeypatch)
    patch_plots(monkeypatch)


def test_an_estimate_from_a_preview_is_close_to_the_actual_usage(stub: StubTeacher, tmp_path: Path) -> None:
    stub.faults = {"broken": 0.05}
    with open_teacher(stub, tmp_path, "stub", **PRICES) as teacher:
        made = estimate(read_seeds(), teacher, RECIPE, preview(read_seeds(), teacher, RECIPE, 30))
        found = build(read_seeds(), teacher, tmp_path, RECIPE, estimate=made).report.estimate
    assert found
    for name in ("requests", "input_tokens", "output_tokens", "dollars"):
        actual = sum(getattr(one.actual, name) for one in found)
        assert sum(getattr(one, name) for one in found) == pytest.approx(actual, rel=0.2)
    assert len(set(stub.bodies())) == len(stub.answered)  # none paid twice
    assert sum(one.actual.requests for one in found) == len(stub.answered)


def test_without_a_preview_every_phase_is_estimated_without_requests(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path, "stub", **PRICES) as teacher:
        small, large, halved, paced = (
            estimate(read_seeds(), teacher, replace(RECIPE, **changed))
            for changed in (
                {},
                {"num_instructions": 1500},
                {"teacher": replace(RECIPE.teacher, batch=True)},
                {"teacher": replace(RECIPE.teacher, rpm=1.0)},
            )
        )
    assert not stub.answered
    assert [share.phase for share in small.shares] == ["bootstrap", "attribute", "complete", "topics"]
    assert all(share.requests > 0 and share.input_tokens > share.requests for share in small.shares)
    assert small.sampled == 0
    assert large.shares[1].input_tokens == pytest.approx(10 * small.shares[1].input_tokens, rel=0.01)
    assert small.dollars is not None
    assert halved.dollars == pytest.approx(small.dollars / 2)
    assert {share.hours for share in halved.shares} == {None}
    assert paced.shares[0].hours == pytest.approx(paced.shares[0].requests / 60, rel=0.01)


@pytest.mark.parametrize(("prompts", "requests"), [("small", 300), ("default", pytest.approx(15, rel=0.1))])
def test_every_set_of_prompts_is_estimated(stub: StubTeacher, tmp_path: Path, prompts: str, requests: float) -> None:
    with open_teacher(stub, tmp_path, "stub") as teacher:
        made = estimate(read_seeds(), teacher, replace(RECIPE, prompts=prompts))
    assert {share.phase: share.requests for share in made.shares}["attribute"] == requests
    assert made.dollars is None  # the price is unknown


def test_an_estimate_of_another_recipe_or_version_is_not_read(stub: StubTeacher, tmp_path: Path) -> None:
    path = tmp_path / "estimate.json"
    with open_teacher(stub, tmp_path, "stub") as teacher:
        first = read_or_make_estimate(path, read_seeds(), teacher, RECIPE)
        write_estimate(path, replace(first, sampled=7))
        assert read_or_make_estimate(path, read_seeds(), teacher, RECIPE).sampled == 7
        assert read_or_make_estimate(path, read_seeds(), teacher, replace(RECIPE, num_instructions=9)).sampled == 0
        path.write_text("{}")
        assert read_or_make_estimate(path, read_seeds(), teacher, RECIPE) == first


def test_a_preview_has_all_phases_and_its_requests_are_not_sent_again(stub: StubTeacher, tmp_path: Path) -> None:
    with open_teacher(stub, tmp_path, "stub") as teacher:
        seen = preview(read_seeds(), teacher, RECIPE, 10)
        assert seen.instructions == 10
        assert seen.candidates > 10
        text = describe_exchanges(seen.exchanges)
        for words in ("=== 1. bootstrap", "attribute: attributes", "complete: output", "[system]", "[user]", "[reply]"):
            assert words in text
        asked = len(stub.answered)
        assert preview(read_seeds(), teacher, RECIPE, 10) == seen
        assert len(stub.answered) == asked
        made = build(read_seeds(), teacher, tmp_path / "out", RECIPE)
    assert len(set(stub.bodies())) == len(stub.answered)
    first = [one.reply.content["instructions"][0] for one in seen.exchanges if one.phase == "bootstrap"]
    assert set(first) <= set(made.attributed["instruction"])  # the build begins with the requests of the preview


@pytest.mark.parametrize("count", [8, 40, 150, 600])
def test_the_estimated_requests_of_the_bootstrap_are_those_that_are_sent(
    stub: StubTeacher, tmp_path: Path, count: int
) -> None:
    with open_teacher(stub, tmp_path, "stub") as teacher:
        made = estimate(read_seeds(), teacher, replace(RECIPE, num_instructions=count))
        bootstrap(read_seeds(), teacher, num_instructions=count, cache_dir=tmp_path / "cache")
    assert made.shares[0].requests == pytest.approx(len(stub.answered), rel=0.1)
