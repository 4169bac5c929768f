"""The recipe beside parts of it: nothing is asked twice, arms are compared on like rows, a known difference is seen."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stub_teacher
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_instances import assert_strict, patch_embedding, run_script
from stub_teacher import KEY, StubTeacher, serve_stub

from auto_instruct_hf import Recipe, Teacher, build, read_seeds
from auto_instruct_hf.ablation.arms import ARMS, ablate
from auto_instruct_hf.ablation.contrasts import MEASURES, contrast_measures
from auto_instruct_hf.ablation.coordinated_samples import sample_coordinated, take_one_each
from auto_instruct_hf.ablation.self_instruct import direct_batch
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.evaluation.intervals import Difference, measure_paired_difference
from auto_instruct_hf.prompts.prompt import DIRECT, load_direct_prompts
from auto_instruct_hf.recipe import JudgeSettings, SamplingSettings
from auto_instruct_hf.sampling.stratified_sample import sample_table
from auto_instruct_hf.teacher.exchange import Reply

SELF_INSTRUCT, ATTRIBUTES, FULL = ARMS
NUM_INSTRUCTIONS, JUDGED = 40, 16
RECIPE = (
    "clf_share: 0.7\nbootstrap: {requests_per_round: 4}\nclustering: {num_clusters: 3, n_neighbors: 100}\n"
    "teacher: {input_price: 100.0, output_price: 100.0}\njudge: {check_share: 0.25}\n"
)


@pytest.fixture(scope="module", autouse=True)
def quick_embedding() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch_embedding(patch)
        yield


@pytest.fixture
def worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the answers wrong that are written together with their input."""
    answer = stub_teacher._answer

    def flawed(schema: dict[str, Any], *given: Any) -> dict[str, Any]:
        found = answer(schema, *given)
        if {"input", "output"} <= found.keys():
            found["output"] = f"nothing of use: {found['output']}"
        for instance in found.get("instances", ()):
            instance["input"] += " or not"
        return found

    monkeypatch.setattr(stub_teacher, "_answer", flawed)


def command(out: Path, stub: StubTeacher, *options: str) -> Any:
    recipe = out.parent / "recipe.yaml"
    recipe.write_text(RECIPE)
    given = ("--teacher", "stub", "--base-url", stub.url, "--out", out, "--recipe", recipe)
    sizes = ("--num-instructions", NUM_INSTRUCTIONS, "--size", JUDGED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        return run_script("ablate", *given, *sizes, *options, ablate=partial(ablate, num_draws=3))


@dataclass(frozen=True)
class Done:
    """One ablation that several tests look at."""

    out: Path
    stub: StubTeacher
    report: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    out = tmp_path_factory.mktemp("ablation") / "out"
    with serve_stub() as stub:
        result = command(out, stub)
        assert result.exit_code == 0, result.output
        yield Done(out, stub, json.loads((out / "ablation.json").read_text()), result.stdout)


def kind_of(body: dict[str, Any]) -> str:
    return str(body["response_format"]["json_schema"]["name"])


def test_the_arms_ask_what_build_and_direct_and_judge_ask_and_nothing_twice(done: Done, tmp_path: Path) -> None:
    bodies = done.stub.bodies()
    assert len(bodies) == len(set(bodies))
    with serve_stub() as alone:
        recipe = Recipe.from_yaml(done.out.parent / "recipe.yaml")
        recipe = replace(recipe, num_instructions=NUM_INSTRUCTIONS)
        with Teacher(
            "stub", base_url=alone.url, api_key=KEY, journal=tmp_path / "j", settings=recipe.teacher
        ) as teacher:
            made = build(read_seeds(), teacher, tmp_path / "build", recipe)
        built = alone.bodies()
    assert set(built) <= set(bodies)
    rest = Counter(kind_of(json.loads(body)) for body in set(bodies) - set(built))
    assert rest.keys() == {*DIRECT, "judge", "reversed", "reworded"}
    kinds = Counter(made.attributed["is_classification"][:])
    assert (rest["input_first"], rest["output_first"]) == (kinds[False], kinds[True])
    assert kinds[True] > 0
    checks = done.report["judge"]["assessment"]["checks"]
    assert rest["judge"] == done.report["judge"]["assessment"]["asked"] + checks["other output"]["asked"]
    assert rest["reversed"] == rest["reworded"] == JUDGED // 4


def test_an_instance_that_stands_in_two_arms_is_judged_once(done: Done) -> None:
    judge = done.report["judge"]
    assert judge["asked"] == dict.fromkeys(ARMS, JUDGED)
    assert judge["assessment"]["asked"] < 3 * JUDGED
    assert judge["assessment"]["judged"] == judge["assessment"]["asked"]


def test_a_rerun_asks_nothing_and_writes_the_same(done: Done) -> None:
    files = [done.out / "ablation.json", done.out / "ablation.md"]
    before, asked = [file.read_bytes() for file in files], len(done.stub.answered)
    again = command(done.out, done.stub)
    assert again.exit_code == 0, again.output
    assert len(done.stub.answered) == asked
    assert [file.read_bytes() for file in files] == before


def test_a_budget_for_all_arms_stops_with_its_remedy_and_goes_on_when_raised(done: Done, tmp_path: Path) -> None:
    with serve_stub() as stub:
        usage = {one["phase"]: one for one in done.report["usage"]}
        judged = usage["judge"]["dollars"]
        enough_to_build = done.report["dollars"] - judged - usage["direct"]["dollars"]
        first = command(tmp_path / "out", stub, "--budget", str(enough_to_build))
        assert first.exit_code == 1
        assert first.stderr.splitlines()[-1].startswith("error: the budget of $")
        assert "Raise --budget" in first.stderr
        second = command(tmp_path / "out", stub, "--budget", str(3 * done.report["dollars"]))
        assert second.exit_code == 0, second.output
        assert sorted(stub.bodies()) == sorted(done.stub.bodies())
    again = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert {**again, "usage": None} == {**done.report, "usage": None}  # it tells seconds too


def test_tables_have_all_arms_and_no_key(done: Done) -> None:
    page = (done.out / "ablation.md").read_text()
    for words in (*ARMS, *MEASURES, "output_correct", "self-instruct less full", "attributes less full"):
        assert words in " ".join(done.printed.split())
        assert words.replace("_", r"\_") in page
    for file in (path for path in done.out.rglob("*") if path.is_file()):
        assert KEY.encode() not in file.read_bytes()


def test_arms_are_measured_on_equally_many_instructions(done: Done) -> None:
    for arm in ARMS:
        figures = done.report["arms"][arm]["figures"]
        assert figures["rows"]["measured"] == figures["rows"]["instructions"] == done.report["measured"]
        assert figures["sample"]["rows"] == done.report["num_samples"] == NUM_INSTRUCTIONS // 2
        assert figures["balance"]["clusters"]["num_kinds"] == 3
        assert figures["balance"]["clusters"]["num_rows"] == figures["sample"]["rows"]
    for found in done.report["measurements"].values():
        assert "difference" not in found[FULL]
        for arm in (SELF_INSTRUCT, ATTRIBUTES):
            if found[arm]["value"] is not None and found[FULL]["value"] is not None:
                difference = found[arm]["value"] - found[FULL]["value"]
                assert found[arm]["difference"]["value"] == pytest.approx(difference)


def test_the_judge_sees_most_instructions_in_all_arms(done: Done) -> None:
    shares = done.report["judge"]["shares"]["output_correct"]
    assert shares[SELF_INSTRUCT]["difference"]["pairs"] > JUDGED / 2
    assert shares[ATTRIBUTES]["difference"]["pairs"] > JUDGED / 2
    for arm in ARMS:  # the stub answers all instructions rightly in either way
        assert shares[arm]["share"] == 1.0
    assert done.report["judge"]["shares"]["strategy_valid"][SELF_INSTRUCT]["asked"] == 0
    assert done.report["judge"]["shares"]["strategy_valid"][FULL]["asked"] > 0


def test_answers_that_are_worse_in_one_arm_show_as_a_difference_beyond_chance(tmp_path: Path, worse: None) -> None:
    with serve_stub() as stub:
        result = command(tmp_path / "out", stub)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "ablation.json").read_text())["judge"]["shares"]["output_correct"]
    assert found[SELF_INSTRUCT]["share"] == 0.0 < found[FULL]["share"] == found[ATTRIBUTES]["share"] == 1.0
    assert found[SELF_INSTRUCT]["difference"]["high"] < 0
    alike = found[ATTRIBUTES]["difference"]
    assert alike["low"] < 0 == alike["value"] < alike["high"]


def test_without_a_judge_and_with_fewer_arms(done: Done) -> None:
    asked = len(done.stub.answered)
    before = (done.out / "ablation.json").read_bytes()
    found = command(done.out, done.stub, "--no-judge", "--arms", "full, attributes", "--num-samples", "60")
    assert found.exit_code == 0, found.output
    assert len(done.stub.answered) == asked
    report = json.loads((done.out / "ablation.json").read_text())
    assert list(report["arms"]) == [ATTRIBUTES, FULL]
    assert report["judge"] is None
    assert report["num_samples"] == 60
    assert "judged by" not in found.stdout
    (done.out / "ablation.json").write_bytes(before)


def test_wrong_usage_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    with serve_stub() as stub:
        wrong = command(tmp_path / "out", stub, "--arms", "full,half")
        assert wrong.exit_code == 2
        assert "wrong usage: the arms are full, half; they must be of self-instruct, attributes, full" in wrong.stderr
        unpriced = command(tmp_path / "out", stub, "--judge", "nobody-knows", "--budget", "1")
        assert unpriced.exit_code == 2
        assert "judge.input_price" in unpriced.stderr
        with (
            Teacher("stub", base_url=stub.url, api_key=KEY, journal=tmp_path / "j") as teacher,
            pytest.raises(RecipeError, match=r"judge\.min_judge is 0\.5"),
        ):
            ablate(read_seeds(), teacher, tmp_path / "o", replace(Recipe(), judge=JudgeSettings(min_judge=0.5)))
        assert stub.answered == []


def batch_of(*kinds: bool) -> dict[str, list[Any]]:
    texts = [f"Do thing {number}" for number in range(len(kinds))]
    return {"instruction_id": texts, "instruction": texts, "is_classification": list(kinds)}


def test_each_kind_is_asked_in_its_own_order_and_labels_are_told_apart() -> None:
    replies = [
        Reply({"input": "None", "output": " An answer. "}),
        Reply(
            {
                "instances": [
                    {"label": "Yes", "input": "one"},
                    {"label": "yes ", "input": "two"},
                    {"label": " ", "input": "three"},
                    {"label": "no", "input": "four"},
                ]
            }
        ),
        Reply(None, "refused"),
        Reply({"instances": []}),
    ]
    asked: list[Any] = []

    def ask(requests: Any) -> list[Reply]:
        asked.extend(requests)
        return replies

    found = direct_batch(batch_of(False, True, False, True), ask=ask, prompts=load_direct_prompts())
    assert [request.prompt.name for request in asked] == ["input_first", "output_first"] * 2
    assert found["input"] == ["", "one", "four", "", ""]
    assert found["output"] == ["An answer.", "Yes", "no", "", ""]
    assert found["attribute"] == ["", "Yes", "no", "", ""]
    assert found["rejected"] == ["", "", "", "teacher: refused", "classification without labels"]
    assert len(set(found["instance_id"])) == 5


@pytest.mark.parametrize("source", ["default", "small"])
def test_prompts_keep_to_strict_schemas_with_the_label_before_its_input(source: str) -> None:
    prompts = load_direct_prompts(source)
    assert tuple(prompts) == DIRECT
    for prompt in prompts.values():
        assert prompt.messages(instruction="Do it.")[-1]["content"] == "Instruction:\nDo it."
        assert_strict(prompt.schema, {"pattern", "minItems", "maxItems"} if source == "small" else set())
        for exchange in prompt.exchanges:
            assert prompt.accepts(exchange["assistant"])
    item = prompts["output_first"].schema["properties"]["instances"]["items"]
    assert list(item["properties"]) == ["label", "input"]
    assert list(prompts["input_first"].schema["properties"]) == ["input", "output"]


POOLS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(1, 3)), min_size=1, max_size=25)


def pool_of(parts: list[tuple[int, bool, int]]) -> Dataset:
    rows = [
        {"instance_id": f"i{task} {n}", "instruction_id": f"t{task}", "is_classification": kind, "cluster": cluster}
        for task, (cluster, kind, count) in enumerate(parts)
        for n in range(count)
    ]
    return Dataset.from_list(rows)


@settings(max_examples=50)
@given(POOLS, st.integers(1, 40), st.sampled_from(["proportional", "sqrt", "equal"]), st.integers(0, 3))
def test_draws_are_those_of_the_recipe_but_for_ties(
    parts: list[tuple[int, bool, int]], num_rows: int, balance: Any, seed: int
) -> None:
    pool = pool_of(parts)
    options: dict[str, Any] = {"clf_share": 0.3, "balance": balance, "seed": seed}
    drawn = sample_coordinated(pool, num_rows, **options)
    num_clf = round(0.3 * num_rows)
    whole = sample_table(
        pool[:], num_samples=num_rows, num_clf=num_clf, settings=SamplingSettings(balance), seed=seed
    )
    assert len(drawn) == num_rows
    names = ("is_classification", "cluster")
    mine, theirs = (Counter(zip(*(one[name][:] for name in names), strict=True)) for one in (drawn, whole))
    assert all(abs(mine[key] - theirs[key]) <= 1 for key in mine | theirs)
    per_instruction = Counter(drawn["instruction_id"][:])
    for kind, cluster in mine:
        own = [f"t{task}" for task, one in enumerate(parts) if (one[1], one[0]) == (kind, cluster)]
        times = [per_instruction[key] for key in own]
        assert max(times) - min(times) <= 1
    backwards = sample_coordinated(
        pool.select(range(len(pool))[::-1]), num_rows, clf_share=0.3, balance=balance, seed=seed
    )
    assert backwards["instance_id"][:] == drawn["instance_id"][:]


@settings(max_examples=20)
@given(st.integers(0, 200))
def test_pools_of_the_same_instructions_give_samples_of_the_same_instructions(seed: int) -> None:
    parts = [(task % 3, task % 5 == 0, 1 + task % 3) for task in range(40)]
    one = pool_of([(0, kind, 1) for _, kind, _ in parts])
    other = pool_of(parts).remove_columns("cluster")
    drawn = [sample_coordinated(pool, 20, clf_share=0.1, seed=seed)["instruction_id"][:] for pool in (one, other)]
    assert drawn[0] == drawn[1]
    by_cluster = sample_coordinated(pool_of(parts), 20, clf_share=0.1, seed=seed)["instruction_id"][:]
    assert len(set(by_cluster) & set(drawn[0])) >= 12  # drawn apart, 10 on the mean


def test_the_first_rows_are_a_sample_of_the_sample_whatever_the_quotas() -> None:
    pool = pool_of([(0, False, 1)] * 90 + [(1, False, 1)] * 10)
    share = np.mean(
        [
            np.mean(take_one_each(sample_coordinated(pool, 20, balance="equal", seed=seed), 8)["cluster"][:])
            for seed in range(60)
        ]
    )
    assert 0.4 < share < 0.6  # of the pool, a tenth


def pairs_of(both: int, first: int, second: int, neither: int) -> list[tuple[bool | None, bool | None]]:
    return [
        *([(True, True)] * both),
        *([(True, False)] * first),
        *([(False, True)] * second),
        *([(False, False)] * neither),
        (None, True),
    ]


def test_a_paired_difference_has_newcombes_interval() -> None:
    # Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33, 2850-2875), the example of airways.
    found = measure_paired_difference(pairs_of(1, 1, 7, 12))
    assert found.pairs == 21
    assert found.low is not None
    assert found.high is not None
    assert (round(found.low, 3), round(found.high, 3)) == (-0.507, -0.026)
    assert measure_paired_difference([(None, True)]) == Difference(0, None, None, None)


@given(*[st.integers(0, 30)] * 4)
def test_a_paired_difference_lies_in_its_interval_and_turns_with_its_sides(a: int, b: int, c: int, d: int) -> None:
    found, turned = measure_paired_difference(pairs_of(a, b, c, d)), measure_paired_difference(pairs_of(a, c, b, d))
    if found.low is not None and found.value is not None and found.high is not None:
        assert -1 - 1e-9 <= found.low <= found.value <= found.high <= 1 + 1e-9
        assert turned.low == pytest.approx(-found.high)


def test_ranges_tell_how_far_a_figure_depends_on_the_draw() -> None:
    def figures(value: float | None) -> dict[str, Any]:
        return {"instructions": {"vendi": value}}

    draws = [{"a": figures(one), FULL: figures(one + 2)} for one in (3.0, 1.0, 5.0)]
    found = contrast_measures(draws, FULL)["Vendi score of instructions"]
    assert found["a"] == {
        "value": 3.0,
        "low": 1.0,
        "high": 5.0,
        "difference": dict.fromkeys(("value", "low", "high"), -2),
    }
    assert "difference" not in found[FULL]
    missing = contrast_measures([{"a": figures(None)}, {"a": figures(None)}], FULL)["Vendi score of instructions"]
    assert missing["a"] == {"value": None, "low": None, "high": None}
