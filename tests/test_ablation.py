"""An ablation sends no request twice, compares arms on equal numbers of rows, and shows a known difference."""

import json
import shutil
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
from stub_instances import assert_strict, open_teacher, patch_embedding, patch_plots, run_command
from stub_teacher import KEY, StubTeacher, serve_stub

from auto_instruct_hf import Recipe, build, read_seeds
from auto_instruct_hf.ablation.arm_files import read_arms, write_arms
from auto_instruct_hf.ablation.arms import ARMS, ablate
from auto_instruct_hf.ablation.contrasts import MEASURES, contrast_measures
from auto_instruct_hf.ablation.coordinated_samples import sample_coordinated, take_one_each
from auto_instruct_hf.ablation.self_instruct import direct_batch
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.evaluation.intervals import Difference, measure_paired_difference
from auto_instruct_hf.prompts import DIRECT, load_direct_prompts
from auto_instruct_hf.recipe import JudgeSettings, SamplingSettings
from auto_instruct_hf.sampling.stratified_sample import sample_table
from auto_instruct_hf.teacher import Reply

SELF_INSTRUCT, ATTRIBUTES, FULL = ARMS
NUM_INSTRUCTIONS, JUDGED = 40, 16
RECIPE = (
    "clf_share: 0.7\nbootstrap: {requests_per_round: 4}\nclustering: {num_clusters: 3, n_neighbors: 100}\n"
    "teacher: {input_price: 100.0, output_price: 100.0}\njudge: {check_share: 0.25}\n"
)


@pytest.fixture(scope="module", autouse=True)
def quick_builds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch_embedding(patch)
        patch_plots(patch)
        yield


def run_ablation(out: Path, stub: StubTeacher, *options: str, exit_code: int = 0) -> Any:
    recipe = out.parent / "recipe.yaml"
    recipe.write_text(RECIPE)
    given = ("--teacher", "stub", "--base-url", stub.url, "--out", out, "--recipe", recipe)
    sizes = ("--num-instructions", NUM_INSTRUCTIONS, "--size", JUDGED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setattr("auto_instruct_hf.ablation.ablate", partial(ablate, num_draws=2))
        result = run_command("ablate", *given, *sizes, *options)
    assert result.exit_code == exit_code, result.output
    return result


@dataclass(frozen=True)
class Done:
    """One ablation that several tests read."""

    out: Path
    stub: StubTeacher
    report: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    out = tmp_path_factory.mktemp("ablation") / "out"
    with serve_stub() as stub:
        result = run_ablation(out, stub)
        yield Done(out, stub, json.loads((out / "ablation.json").read_text()), result.stdout)


def test_requests_are_those_of_build_direct_and_judge_without_repeats(done: Done, tmp_path: Path) -> None:
    bodies = done.stub.bodies()
    assert len(bodies) == len(set(bodies))
    recipe = replace(Recipe.from_yaml(done.out.parent / "recipe.yaml"), num_instructions=NUM_INSTRUCTIONS)
    with serve_stub() as alone, open_teacher(alone, tmp_path, "stub") as teacher:
        made = build(read_seeds(), teacher, tmp_path / "build", recipe)
        built = alone.bodies()
    assert set(built) <= set(bodies)
    rest = Counter(json.loads(body)["response_format"]["json_schema"]["name"] for body in set(bodies) - set(built))
    assert rest.keys() == {*DIRECT, "judge", "reversed", "reworded"}
    kinds = Counter(made.attributed["is_classification"][:])
    assert (rest["input_first"], rest["output_first"]) == (kinds[False], kinds[True])
    assert kinds[True] > 0
    assessment = done.report["judge"]["assessment"]
    faults = [one["asked"] for one in assessment["checks"].values() if "caught" in one]
    # Two faults may make the same instance of a row, such as another label: asked once.
    assert assessment["asked"] < rest["judge"] <= assessment["asked"] + sum(faults)
    assert rest["reversed"] == rest["reworded"] == JUDGED // 4


def test_the_arms_are_left_as_files_to_train_on(done: Done) -> None:
    found = read_arms(done.out)
    assert tuple(found) == ARMS
    for rows in found.values():
        assert len(rows) == done.report["num_samples"]
        assert all(row["prompt"] + row["completion"] == row["messages"] for row in rows)
        assert [turns[0]["content"] for turns in rows["completion"]] == rows["output"][:]
    assert read_arms(done.out / "dataset") == {}


def test_the_arms_of_another_build_are_not_read(done: Done, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("arms", "dataset"):
        shutil.copytree(done.out / name, tmp_path / name)
    assert tuple(read_arms(tmp_path)) == ARMS
    next(tmp_path.glob("dataset/data/default/*.parquet")).write_bytes(b"another build")
    assert read_arms(tmp_path) == {}
    assert "are not of the build" in caplog.text
    (tmp_path / "arms" / "build.txt").unlink()  # arms that somebody put there
    assert tuple(read_arms(tmp_path)) == ARMS


def test_an_ablation_leaves_no_arm_of_an_earlier_one(done: Done, tmp_path: Path) -> None:
    rows = read_arms(done.out)["full"]
    write_arms(tmp_path, {"full": rows, "attributes": rows}, {"full": rows, "attributes": rows}, Recipe())
    (tmp_path / "arms" / ".full.parquet.0a1b2c3d").touch()  # as a killed run leaves it
    write_arms(tmp_path, {"full": rows}, {"full": rows}, Recipe())
    assert list(read_arms(tmp_path)) == ["full"]
    assert {path.name for path in (tmp_path / "arms").iterdir()} == {"full.parquet", "build.txt"}


def test_a_rerun_sends_no_request_and_writes_the_same(done: Done) -> None:
    files = [done.out / "ablation.json", done.out / "ablation.md"]
    before, asked = [file.read_bytes() for file in files], len(done.stub.answered)
    run_ablation(done.out, done.stub)
    assert len(done.stub.answered) == asked
    assert [file.read_bytes() for file in files] == before


def test_a_budget_over_all_arms_stops_with_its_remedy_and_resumes_when_raised(done: Done, tmp_path: Path) -> None:
    with serve_stub() as stub:
        usage = {one["phase"]: one["dollars"] for one in done.report["usage"]}
        enough_to_build = done.report["dollars"] - usage["judge"] - usage["direct"]
        first = run_ablation(tmp_path / "out", stub, "--budget", str(enough_to_build), exit_code=1)
        assert first.stderr.splitlines()[-1].startswith("error: the budget of $")
        assert "Raise --budget" in first.stderr
        run_ablation(tmp_path / "out", stub, "--budget", str(3 * done.report["dollars"]))
        assert sorted(stub.bodies()) == sorted(done.stub.bodies())
    again = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert {**again, "usage": None} == {**done.report, "usage": None}  # usage has seconds


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


def test_the_judge_sees_most_instructions_in_all_arms_and_each_instance_once(done: Done) -> None:
    judge = done.report["judge"]
    assert judge["asked"] == dict.fromkeys(ARMS, JUDGED)
    assert judge["assessment"]["judged"] == judge["assessment"]["asked"] < 3 * JUDGED
    shares, valid = judge["shares"]["output_correct"], judge["shares"]["strategy_valid"]
    assert min(shares[arm]["difference"]["pairs"] for arm in (SELF_INSTRUCT, ATTRIBUTES)) > JUDGED / 2
    assert {shares[arm]["share"] for arm in ARMS} == {1.0}  # the stub is always right
    assert valid[SELF_INSTRUCT]["asked"] == 0 < valid[FULL]["asked"]


def test_worse_outputs_in_one_arm_are_a_significant_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = stub_teacher._answer

    def answer_wrongly(schema: dict[str, Any], *given: Any) -> dict[str, Any]:
        """Make answers wrong that are written together with their input."""
        found = answer(schema, *given)
        if {"input", "output"} <= found.keys():
            found["output"] = f"nothing of use: {found['output']}"
        for instance in found.get("instances", ()):
            instance["input"] += " or not"
        return found

    monkeypatch.setattr(stub_teacher, "_answer", answer_wrongly)
    with serve_stub() as stub:
        run_ablation(tmp_path / "out", stub)
    found = json.loads((tmp_path / "out" / "ablation.json").read_text())["judge"]["shares"]["output_correct"]
    assert found[SELF_INSTRUCT]["share"] == 0.0 < found[FULL]["share"] == found[ATTRIBUTES]["share"] == 1.0
    assert found[SELF_INSTRUCT]["difference"]["high"] < 0
    equal = found[ATTRIBUTES]["difference"]
    assert equal["low"] < 0 == equal["value"] < equal["high"]


def test_an_ablation_without_judge_of_fewer_arms(done: Done) -> None:
    asked = len(done.stub.answered)
    before = (done.out / "ablation.json").read_bytes()
    found = run_ablation(done.out, done.stub, "--no-judge", "--arms", "full, attributes", "--num-samples", "60")
    assert len(done.stub.answered) == asked
    report = json.loads((done.out / "ablation.json").read_text())
    assert list(report["arms"]) == [ATTRIBUTES, FULL]
    assert (report["judge"], report["num_samples"]) == (None, 60)
    assert "judged by" not in found.stdout
    (done.out / "ablation.json").write_bytes(before)


def test_wrong_usage_is_reported_before_any_request(stub: StubTeacher, tmp_path: Path) -> None:
    wrong = run_ablation(tmp_path / "out", stub, "--arms", "full,half", exit_code=2)
    assert "wrong usage: the arms are full, half; they must be of self-instruct, attributes, full" in wrong.stderr
    unpriced = run_ablation(tmp_path / "out", stub, "--judge", "nobody-knows", "--budget", "1", exit_code=2)
    assert "judge.input_price" in unpriced.stderr
    filtered = Recipe(judge=JudgeSettings(min_judge=0.5))
    with open_teacher(stub, tmp_path) as teacher, pytest.raises(RecipeError, match=r"judge\.min_judge is 0\.5"):
        ablate(read_seeds(), teacher, tmp_path / "o", filtered)
    assert stub.answered == []


def test_each_kind_has_its_own_prompt_and_equal_labels_are_merged() -> None:
    labels = {"Yes": "one", "yes ": "two", " ": "three", "no": "four"}
    replies = [
        Reply({"input": "None", "output": " An answer. "}),
        Reply({"instances": [{"label": label, "input": given} for label, given in labels.items()]}),
        Reply(None, "refused"),
        Reply({"instances": []}),
    ]
    asked: list[Any] = []

    def ask(requests: Any) -> list[Reply]:
        asked.extend(requests)
        return replies

    texts = [f"Do thing {number}" for number in range(4)]
    batch = {"instruction_id": texts, "instruction": texts, "is_classification": [False, True, False, True]}
    found = direct_batch(batch, ask=ask, prompts=load_direct_prompts())
    assert [request.prompt.name for request in asked] == ["input_first", "output_first"] * 2
    assert found["input"] == ["", "one", "four", "", ""]
    assert found["output"] == ["An answer.", "Yes", "no", "", ""]
    assert found["attribute"] == ["", "Yes", "no", "", ""]
    assert found["rejected"] == ["", "", "", "teacher: refused", "classification without labels"]
    assert len(set(found["instance_id"])) == 5


@pytest.mark.parametrize("source", ["default", "small"])
def test_prompts_have_strict_schemas_with_the_label_before_its_input(source: str) -> None:
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


def make_pool(parts: list[tuple[int, bool, int]]) -> Dataset:
    """Make instances of tasks, each given by cluster, kind and number of instances."""
    rows = [
        {"instance_id": f"i{task} {n}", "instruction_id": f"t{task}", "is_classification": kind, "cluster": cluster}
        for task, (cluster, kind, count) in enumerate(parts)
        for n in range(count)
    ]
    return Dataset.from_list(rows)


@settings(max_examples=50)
@given(POOLS, st.integers(1, 40), st.sampled_from(["proportional", "sqrt", "equal"]), st.integers(0, 3))
def test_coordinated_samples_have_the_counts_of_the_recipe_except_for_ties(
    parts: list[tuple[int, bool, int]], num_rows: int, balance: Any, seed: int
) -> None:
    pool = make_pool(parts)
    sample = partial(sample_coordinated, num_rows=num_rows, clf_share=0.3, balance=balance, seed=seed)
    drawn = sample(pool)
    table = pool.with_format("arrow")[:]
    options = {"num_clf": round(0.3 * num_rows), "settings": SamplingSettings(balance), "seed": seed}
    whole = pool.select(sample_table(table, num_samples=num_rows, **options)["row"])
    assert len(drawn) == num_rows
    names = ("is_classification", "cluster")
    own, other = (Counter(zip(*(one[name][:] for name in names), strict=True)) for one in (drawn, whole))
    assert all(abs(own[key] - other[key]) <= 1 for key in own | other)
    per_instruction = Counter(drawn["instruction_id"][:])
    for kind, cluster in own:
        times = [per_instruction[f"t{n}"] for n, one in enumerate(parts) if (one[1], one[0]) == (kind, cluster)]
        assert max(times) - min(times) <= 1
    assert sample(pool.select(range(len(pool))[::-1]))["instance_id"][:] == drawn["instance_id"][:]


@settings(max_examples=20)
@given(st.integers(0, 200))
def test_pools_of_the_same_instructions_give_samples_of_the_same_instructions(seed: int) -> None:
    parts = [(task % 3, task % 5 == 0, 1 + task % 3) for task in range(40)]
    pools = (make_pool([(0, kind, 1) for _, kind, _ in parts]), make_pool(parts).remove_columns("cluster"))
    first, second, clustered = (
        sample_coordinated(pool, 20, clf_share=0.1, seed=seed)["instruction_id"][:]
        for pool in (*pools, make_pool(parts))
    )
    assert first == second
    assert len(set(clustered) & set(first)) >= 12  # 10 on average if drawn independently


def test_the_first_rows_are_a_sample_of_the_sample_whatever_the_quotas() -> None:
    pool = make_pool([(0, False, 1)] * 90 + [(1, False, 1)] * 10)
    samples = (sample_coordinated(pool, 20, balance="equal", seed=seed) for seed in range(60))
    share = np.mean([np.mean(take_one_each(sample, 8)["cluster"][:]) for sample in samples])
    assert 0.4 < share < 0.6  # of the pool, a tenth


def make_pairs(both: int, first: int, second: int, neither: int) -> list[tuple[bool | None, bool | None]]:
    counts = {(True, True): both, (True, False): first, (False, True): second, (False, False): neither}
    return [(None, True), *(pair for pair, count in counts.items() for _ in range(count))]


def test_a_paired_difference_has_newcombes_interval() -> None:
    # Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33, 2850-2875), the example of airways.
    found = measure_paired_difference(make_pairs(1, 1, 7, 12))
    assert (found.pairs, round(found.low or 0, 3), round(found.high or 0, 3)) == (21, -0.507, -0.026)
    assert measure_paired_difference([(None, True)]) == Difference(0, None, None, None)


@given(*[st.integers(0, 30)] * 4)
def test_a_paired_difference_is_in_its_interval_and_antisymmetric(a: int, b: int, c: int, d: int) -> None:
    found, turned = (measure_paired_difference(make_pairs(a, *two, d)) for two in ((b, c), (c, b)))
    if found.low is not None and found.value is not None and found.high is not None:
        assert -1 - 1e-9 <= found.low <= found.value <= found.high <= 1 + 1e-9
        assert turned.low == pytest.approx(-found.high)


def test_measurements_have_their_range_over_draws() -> None:
    def contrast(*values: float | None) -> dict[str, Any]:
        draws = [{"a": value, FULL: None if value is None else value + 2} for value in values]
        figures = [{arm: {"instructions": {"vendi": value}} for arm, value in draw.items()} for draw in draws]
        return contrast_measures(figures, FULL)["Vendi score of instructions"]

    difference = dict.fromkeys(("value", "low", "high"), -2)
    found = contrast(3.0, 1.0, 5.0)
    assert found["a"] == {"value": 3.0, "low": 1.0, "high": 5.0, "difference": difference}
    assert "difference" not in found[FULL]
    assert contrast(None, None)[FULL] == {"value": None, "low": None, "high": None}
