"""The whole flow over real HTTP: what comes out, what a rerun costs, what a crash costs."""

import contextlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, load_dataset
from filelock import FileLock
from stub_teacher import KEY, StubTeacher, serve_stub

import auto_instruct_hf
from auto_instruct_hf import Build, Recipe, Teacher, build, read_seeds
from auto_instruct_hf.core.schema import CHAT, CLUSTERED
from auto_instruct_hf.errors import BuildError
from auto_instruct_hf.publishing.build_report import format_figure
from auto_instruct_hf.publishing.finished_build import require_same_build
from auto_instruct_hf.recipe import (
    BootstrapSettings,
    ClusteringSettings,
    DecontaminationSettings,
    JudgeSettings,
    TeacherSettings,
)

RECIPE = Recipe(num_instructions=14, bootstrap=BootstrapSettings(requests_per_round=4))
FAULTS = {
    "error500": 0.05, "error429": 0.03, "dropped": 0.02, "broken": 0.05, "cut": 0.03, "missing": 0.05, "doubled": 0.05,
}  # fmt: skip


def run(
    out: Path, stub: StubTeacher, recipe: Recipe = RECIPE, seeds: Dataset | None = None, model: str = "stub"
) -> Build:
    settings = TeacherSettings(max_retries=4)
    with Teacher(model, base_url=stub.url, api_key=KEY, journal=out / "journal.sqlite", settings=settings) as teacher:
        return build(seeds or read_seeds(), teacher, out, recipe, overwrite=True)


def published(out: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        config: {name: part.to_list() for name, part in load_dataset(str(out / "dataset"), config).items()}
        for config in ("default", "instances")
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One build that several tests look at."""
    with serve_stub(faults=FAULTS) as stub:
        out = tmp_path_factory.mktemp("done")
        yield out, run(out, stub), stub


def test_folder_loads_and_holds_what_was_built(done: Any) -> None:
    out, made, _ = done
    rows = published(out)
    assert rows["default"] == {name: part.to_list() for name, part in made.sample.items()}
    assert rows["instances"] == {name: part.to_list() for name, part in made.instances.items()}
    assert sum(map(len, rows["default"].values())) == 5 * 14  # the published ratio, of what was bootstrapped
    sample = load_dataset(str(out / "dataset"), split="train")
    assert sample.column_names == [*CLUSTERED, "num_draws", *CHAT]
    assert load_dataset(str(out / "dataset"), "instances", split="train").column_names == [*CLUSTERED, *CHAT]
    assert "num_draws" not in made.instances["train"].column_names
    used = Recipe.from_yaml(out / "dataset" / "recipe.yaml")
    assert used == replace(RECIPE, prompts="default", teacher=TeacherSettings(model="stub"))


def test_no_instruction_stands_in_two_splits_of_either_config(done: Any) -> None:
    rows = published(done[0])
    where: dict[str, set[str]] = {}
    for splits in rows.values():
        for name, part in splits.items():
            for row in part:
                where.setdefault(row["instruction_id"], set()).add(name)
    assert all(len(names) == 1 for names in where.values())


def test_a_row_asks_for_its_strategy_in_both_configs_or_in_none(done: Any) -> None:
    rows = published(done[0])
    by_id = {row["instance_id"]: row for part in rows["instances"].values() for row in part}
    assert any(row["attribute"] in row["prompt"][0]["content"].split("\n") for row in by_id.values())
    for part in rows["default"].values():
        for row in part:
            assert {name: row[name] for name in CHAT} == {name: by_id[row["instance_id"]][name] for name in CHAT}
            assert row["teacher"] == "stub"


def test_report_adds_up(done: Any) -> None:
    out, made, stub = done
    report = json.loads((out / "report.json").read_text())
    assert report == json.loads(made.report.to_json())
    table = {row["name"]: row["ours"] for row in report["table"]}
    assert table["instructions"][0] == 14
    assert table["instances"][3] == sum(map(len, made.sample.values()))
    assert sum(usage["requests"] for usage in report["usage"]) == len(stub.answered)
    assert [usage["phase"] for usage in report["usage"]] == ["bootstrap", "attribute", "complete", "topics"]
    assert report["dollars"] is None  # nobody knows a price for "stub"
    curated = table["instances"][2] - sum(report["phases"]["curate"]["rejected"].values())
    assert curated == sum(map(len, made.instances.values()))
    for phase, found in report["phases"].items():
        assert found["seconds"] >= 0
        if found["rejected"]:
            rejected = Dataset.from_parquet(str(out / "rejected" / f"{phase}.parquet"))
            assert len(rejected) == sum(found["rejected"].values())


def test_table_counts_what_the_published_one_counts(done: Any) -> None:
    _, made, _ = done
    table = {row.name: row.ours for row in made.report.table}
    whole = [row for part in made.instances.values() for row in part]
    assert table["instructions"][1] == 14
    assert table["CLF instructions"][2] == len({row["instruction_id"] for row in whole if row["is_classification"]})
    labels = [row for row in whole if row["is_classification"]]
    assert table["CLF instances"][2] == len(labels)
    assert [row.published[3] for row in made.report.table] == [9_200, 50_000, 37_300, 152, 5_200, 3.28, 1.90]
    assert [format_figure(figure) for figure in (None, 1234, 3.0, 0)] == ["", "1,234", "3.00", "0"]


def test_rerun_asks_nothing_and_gives_the_same(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out, made, stub = done
    asked, before = len(stub.answered), published(out)
    monkeypatch.setattr(Teacher, "ask", lambda *args: pytest.fail("a rerun asked the teacher"))
    start = time.monotonic()
    again = run(out, stub)
    assert time.monotonic() - start < 10
    assert len(stub.answered) == asked
    assert published(out) == before
    assert again.report.table == made.report.table


def computed(out: Path, stub: StubTeacher, **options: Any) -> set[str]:
    """Return the phases that a run computed: those that left a new file in the cache."""
    before = set((out / "cache").iterdir())
    run(out, stub, **options)
    new = {path.name.rpartition("-")[0].removesuffix("-kept") for path in set((out / "cache").iterdir()) - before}
    return {name.partition("-0")[0] for name in new}


def test_a_change_recomputes_exactly_what_follows_from_it(done: Any) -> None:
    out, _, stub = done
    after_split = {"draw", "sample", "messages", "plots"}
    assert computed(out, stub) == set()
    assert computed(out, stub, recipe=replace(RECIPE, num_samples=33)) == after_split
    assert computed(out, stub, recipe=replace(RECIPE, splitting=replace(RECIPE.splitting, test=0.3))) == {
        "split", "split-train", "split-validation", "split-test", "leak", "leak-cosine", *after_split,
    }  # fmt: skip
    assert computed(out, stub, recipe=replace(RECIPE, teacher=TeacherSettings(concurrency=2))) == set()
    fewer = replace(RECIPE, attribution=replace(RECIPE.attribution, max_strategies=1))
    asked = len(stub.answered)
    found = computed(out, stub, recipe=fewer)
    assert "bootstrap" not in found
    assert {"attribute", "complete", "curate"} <= found
    kinds = {body["response_format"]["json_schema"]["name"] for body in stub.answered[asked:]}
    assert kinds <= {"input", "output", "topic"}  # other instances share a request now; the attributes are known
    assert {"bootstrap", "attribute", "complete"} <= computed(out, stub, model="another")


def test_a_changed_prompt_asks_only_its_own_requests_again(done: Any, tmp_path: Path) -> None:
    out, _, stub = done
    folder = tmp_path / "mine"
    package = Path(auto_instruct_hf.__file__).parent
    shutil.copytree(package / "prompts" / "default", folder)
    with (folder / "output.yaml").open("a") as stream:
        stream.write("# a comment changes nothing\n")
    mine = replace(RECIPE, prompts=str(folder))
    assert computed(out, stub, recipe=mine) <= {"plots"}  # one of them shows what all runs so far have cost
    text = (folder / "output.yaml").read_text()
    (folder / "output.yaml").write_text(text.replace("carry out", "please carry out"))
    asked = len(stub.answered)
    found = computed(out, stub, recipe=mine)
    assert not {"bootstrap", "attribute"} & found
    assert {"complete", "curate"} <= found
    kinds = {body["response_format"]["json_schema"]["name"] for body in stub.answered[asked:]}
    assert kinds <= {"output", "topic"}


def test_no_copy_of_an_evaluation_set_is_left(done: Any, tmp_path: Path) -> None:
    out, made, stub = done
    rows = [row for part in made.instances.values() for row in part]
    planted = rows[0]["instruction"]
    exam = tmp_path / "exam.csv"
    exam.write_text("id,question\n1,Nothing like it?\n2," + json.dumps(planted.upper()) + "\n")
    chosen = DecontaminationSettings((f"{exam}:question",))
    clean = run(out, stub, replace(RECIPE, decontamination=chosen))
    left = [row for part in clean.instances.values() for row in part]
    dropped = [row for row in rows if row["instruction"] == planted]
    assert planted not in {row["instruction"] for row in left}
    assert len(left) <= len(rows) - len(dropped)
    rejected = Dataset.from_parquet(str(out / "rejected" / "decontaminate.parquet"))
    assert {row["instance_id"] for row in dropped} <= set(rejected["instance_id"])
    assert len(rejected) == len(rows) - len(left)
    report = json.loads((out / "report.json").read_text())
    assert report["phases"]["decontaminate"]["rejected"] == {"ROUGE-L above 0.7 with exam.csv": len(rejected)}
    card = (out / "dataset" / "README.md").read_text()
    assert f"| exam.csv | question | 2 | {len(rejected)} |" in card
    assert "Nothing like it" not in card + (out / "dataset" / "report.json").read_text()
    assert str(tmp_path) not in (out / "dataset" / "recipe.yaml").read_text()
    exam.write_text(exam.read_text() + "".join(f"{n},{json.dumps(row['instruction'])}\n" for n, row in enumerate(rows)))
    with pytest.raises(BuildError, match="no instance is left after decontaminate"):
        run(out, stub, replace(RECIPE, decontamination=chosen))


def test_two_builds_in_one_folder_are_refused(done: Any) -> None:
    out, _, stub = done
    with FileLock(out / ".lock"), pytest.raises(BuildError, match="another build runs in"):
        run(out, stub)


def test_ten_instructions_and_one(tmp_path: Path) -> None:
    with serve_stub() as stub:
        for count in (10, 1):
            made = run(tmp_path / str(count), stub, replace(RECIPE, num_instructions=count))
            assert sum(map(len, made.sample.values())) == 5 * count
            assert all(len(part) for part in made.sample.values())


def test_all_classification_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import stub_teacher

    answer = stub_teacher._answer
    for kind in (True, False):
        monkeypatch.setattr(
            stub_teacher,
            "_answer",
            lambda *given, kind=kind: {
                name: kind if name == "is_classification" else value for name, value in answer(*given).items()
            },
        )
        with serve_stub() as stub:
            made = run(tmp_path / str(kind), stub)
            assert {row for part in made.sample.values() for row in part["is_classification"]} == {kind}


def test_nothing_left_after_curation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import stub_teacher

    answer = stub_teacher._answer
    monkeypatch.setattr(
        stub_teacher,
        "_answer",
        lambda *given: {
            name: {"output": "", "is_classification": False}.get(name, value) for name, value in answer(*given).items()
        },
    )
    with serve_stub() as stub, pytest.raises(BuildError, match=r"no instance is left after curate: \{'no output'"):
        run(tmp_path, stub)


def test_a_finished_build_is_replaced_only_on_request(tmp_path: Path) -> None:
    recipe = replace(RECIPE, num_instructions=8)
    seeds = read_seeds()
    with serve_stub() as stub:

        def again(model: str = "stub", given: Dataset = seeds, **changes: Any) -> Build:
            with Teacher(model, base_url=stub.url, api_key=KEY, journal=tmp_path / "journal.sqlite") as teacher:
                return build(given, teacher, tmp_path, replace(recipe, **changes))

        again()
        again(teacher=TeacherSettings(rpm=6000))  # limits do not affect the rows
        before = (tmp_path / "report.json").read_bytes()
        for changes, words in (
            (
                {"model": "other"},
                r"differs: teacher is other \(was stub\)\. Name another folder with --out, or replace",
            ),
            ({"given": seeds.select(range(100))}, r"differs: seeds is the seeds of auto-instruct-hf \("),
            ({"num_instructions": 9}, r"differs: num_instructions is 9 \(was 8\)"),
            ({"prompts": "small"}, r"differs: prompts is small \(was default\)"),
            ({"num_samples": 20}, r"differs: num_samples is 20 \(was None\)"),
            ({"judge": JudgeSettings(min_judge=0.5)}, r"differs: judge.min_judge is 0.5 \(was None\)"),
            ({"clustering": ClusteringSettings(num_clusters=3)}, r"differs: clustering.num_clusters is 3 \(was None\)"),
        ):
            with pytest.raises(BuildError, match=words):
                again(**changes)  # type: ignore[arg-type]
        assert (tmp_path / "report.json").read_bytes() == before
        shutil.rmtree(tmp_path / "dataset")  # as after a kill while it is replaced
        again()
        assert len(list((tmp_path / "dataset").glob("data/*/train-*.parquet"))) == 2


@pytest.mark.parametrize(
    ("setting", "of_earlier", "words"),
    [
        ("min_judge: null", "min_judge: 0.5", r"judge.min_judge is None \(was 0.5\)"),
        ("prompts: default", "prompts: removed", ""),  # it cannot be compared: as if it were not finished
    ],
)
def test_a_finished_build_with_other_settings(tmp_path: Path, setting: str, of_earlier: str, words: str) -> None:
    recipe = replace(RECIPE, num_instructions=8)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "report.json").write_text(json.dumps({"teacher": "stub"}))
    text = replace(recipe, prompts="default").to_yaml()
    assert setting in text
    (tmp_path / "dataset" / "recipe.yaml").write_text(text.replace(setting, of_earlier))
    expected = pytest.raises(BuildError, match=words) if words else contextlib.nullcontext()
    teacher = Teacher("stub", base_url="http://127.0.0.1:9/v1", api_key=KEY, journal=tmp_path / "journal.sqlite")
    with teacher, expected:
        require_same_build(tmp_path, read_seeds(), teacher, recipe)
