"""Ray with two workers: the rows of a plain run, whatever is killed; each request is asked once."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Value, load_dataset
from stub_instances import patch_plots
from stub_teacher import KEY, StubTeacher, serve_stub

from auto_instruct_hf import Recipe, Teacher, build, complete, read_seeds
from auto_instruct_hf.core import ATTRIBUTED, Work, apply, from_rows, running_on, use_values
from auto_instruct_hf.embedding import phase as embedding
from auto_instruct_hf.engines import RayEngine, ray_teacher
from auto_instruct_hf.errors import BudgetError, BuildError, RecipeError, TeacherError
from auto_instruct_hf.recipe import (
    BootstrapSettings,
    ClusteringSettings,
    DecontaminationSettings,
    JudgeSettings,
    TeacherSettings,
)
from auto_instruct_hf.teacher import Journal

if find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

NUMBERS = Features({"n": Value("int64")})


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    with pytest.MonkeyPatch.context() as patch, RayEngine(num_workers=2) as one:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # workers import the functions of this file
        yield one


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("generation.completion", "generation.attribution", "evaluation.judging.verdicts"):
        monkeypatch.setattr(f"auto_instruct_hf.{module}.ASKING_BATCH", 5)
    for module in ("rules", "decontamination"):
        monkeypatch.setattr(f"auto_instruct_hf.curation.{module}._BATCH", 6)
    monkeypatch.setattr(embedding, "_TEXTS_PER_BATCH", 6)


def kill_batch(batch: Any, *, marker: str, deaths: int) -> dict[str, list[int]]:
    """Kill the process at the number 5, the first times."""
    so_far = len(list(Path(marker).glob("death-*")))
    if 5 in batch["n"] and so_far < deaths:
        (Path(marker) / f"death-{so_far}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with (Path(marker) / f"unit-{batch['n'][0]}").open("a") as stream:
        stream.write("computed\n")
    return {"n": [n * n for n in batch["n"]]}


def fail_batch(batch: Any) -> dict[str, list[int]]:
    if 5 in batch["n"]:
        raise ZeroDivisionError("five is\nnot allowed")
    return {"n": batch["n"]}


def count_gpus_batch(batch: Any) -> dict[str, list[int]]:
    """Return how many GPUs torch may use: -1 if all that there are."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"n": [-1 if visible is None else len(visible.split(",")) if visible else 0] * len(batch["n"])}


def run(engine: RayEngine, function: Any, cache: Path, phase: str = "numbers", **settings: Any) -> list[int]:
    data = from_rows([{"n": n} for n in range(8)], NUMBERS)
    given = {"features": NUMBERS, "make_resources": use_values, "batch_size": 1, "cache_dir": cache}
    with running_on(engine):
        return apply(data, function, phase=phase, settings=settings, **given)["n"][:]


def test_a_killed_worker_costs_the_unit_it_had(engine: RayEngine, tmp_path: Path) -> None:
    assert run(engine, kill_batch, tmp_path, marker=str(tmp_path), deaths=2) == [n * n for n in range(8)]
    assert len(list(tmp_path.glob("death-*"))) == 2
    assert [(tmp_path / f"unit-{n}").read_text() for n in range(8)] == ["computed\n"] * 8


def test_a_unit_that_always_kills_its_worker_ends_the_run(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auto_instruct_hf.engines.ray_engine._TASK_RETRIES", 1)
    with pytest.raises(BuildError, match=r"a unit of numbers killed its worker 2 times \(.*the units so far are kept"):
        run(engine, kill_batch, tmp_path, marker=str(tmp_path), deaths=99)
    assert len(list(tmp_path.glob("death-*"))) == 2


def test_an_error_in_a_worker_is_one_line(engine: RayEngine, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        run(engine, fail_batch, tmp_path)
    assert str(caught.value) == "a worker failed (ZeroDivisionError: five is): the units so far are kept"


def test_only_embedding_takes_gpus_and_a_cluster_without_them_is_one_line(engine: RayEngine, tmp_path: Path) -> None:
    engine._start()
    greedy = RayEngine(num_workers=2, gpus_per_worker=1000)
    assert run(greedy, count_gpus_batch, tmp_path) == [0] * 8
    with pytest.raises(BuildError, match=r"of embed needs 1 CPU, 1000 GPU, and the machines .* at most \d+ CPU, \d"):
        run(greedy, count_gpus_batch, tmp_path, phase="embed")


def test_the_teacher_is_found_where_the_caller_started_ray(
    engine: RayEngine, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    engine._start()
    monkeypatch.setattr(ray_teacher, "NAMESPACE", "not that of the driver")
    work = Work("complete", count_gpus_batch, {}, teacher.share("complete"), NUMBERS, 1, "python")
    with ray_teacher.asking(work) as name:
        ray.get_actor(name, namespace="not that of the driver")


def test_a_client_of_ray_is_refused(engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="ray:// is not supported: the teacher, its key and its journal would move"):
        RayEngine("ray://10.0.0.1:10001")
    monkeypatch.setattr("ray.util.client.ray.is_connected", lambda: True)
    with pytest.raises(RecipeError, match="ray:// is not supported"):
        run(engine, count_gpus_batch, tmp_path)


def tasks(count: int) -> Dataset:
    shared = {"similarity": 0.1, "most_similar": "", "cosine": 0.0, "nearest": "", "round": 0, "input": ""}
    return from_rows(
        [
            {
                "instruction_id": f"i{n}",
                "instruction": f"Describe the object number {n} in a few words.",
                "is_classification": n % 4 == 0,
                "attributes": ["red", "blue"] if n % 4 == 0 else ["In brief.", "With an example."],
                **shared,
            }
            for n in range(count)
        ],
        ATTRIBUTED,
    )


def answer(out: Path, stub: StubTeacher, count: int, **limits: float) -> Dataset:
    settings = TeacherSettings(max_retries=3, concurrency=4, **limits)
    with Teacher("stub", base_url=stub.url, api_key=KEY, journal=out / "journal.sqlite", settings=settings) as teacher:
        return complete(tasks(count), teacher, cache_dir=out / "cache")


def kill_teacher(stub: StubTeacher, after: int) -> None:
    """Kill the process of the actor with the teacher after some answers."""
    import ray

    while len(stub.answered) < after:
        time.sleep(0.02)
    (name,) = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if "teacher-" in one["name"]]
    ray.kill(ray.get_actor(name, namespace="auto-instruct"), no_restart=False)


def test_a_killed_teacher_comes_back_and_asks_what_was_in_flight(engine: RayEngine, tmp_path: Path) -> None:
    with serve_stub() as stub:
        plain = answer(tmp_path / "plain", stub, 40)
        asked = sorted(stub.bodies())
    with serve_stub(delay=0.1) as stub, running_on(engine):
        killer = threading.Thread(target=kill_teacher, args=(stub, len(asked) // 3))
        killer.start()
        found = answer(tmp_path / "ray", stub, 40)
        killer.join(timeout=60)
        assert found.to_list() == plain.to_list()
        assert found._fingerprint == plain._fingerprint
        assert set(stub.bodies()) == set(asked)
        assert len(asked) <= len(stub.answered) <= len(asked) + 4  # at most 4 were in flight


def test_a_teacher_that_rejects_the_key_is_one_line_as_without_ray(engine: RayEngine, tmp_path: Path) -> None:
    found = []
    for name, chosen in (("plain", None), ("ray", engine)):
        with serve_stub(down=401) as stub, running_on(chosen), pytest.raises(TeacherError) as caught:
            answer(tmp_path / name, stub, 12)
        found.append(str(caught.value).replace(stub.url, "URL").replace(f"/{name}/", "/out/"))
    assert found[0] == found[1]
    assert "\n" not in found[1]


def test_a_budget_holds_for_all_workers_together(engine: RayEngine, tmp_path: Path) -> None:
    limits = {"budget": 0.05, "input_price": 10.0, "output_price": 10.0}
    with serve_stub() as stub:
        with running_on(engine), pytest.raises(BudgetError, match=r"the budget of \$0.05 does not cover"):
            answer(tmp_path, stub, 40, **limits)
        assert stub.answered
        with Journal(tmp_path / "journal.sqlite") as journal:
            tokens = sum(one.input_tokens + one.output_tokens for one in journal.usage())
    assert 0 < tokens * 10e-6 <= 0.05


def made(out: Path, engine: RayEngine | None) -> tuple[list[Any], list[str], list[Any]]:
    """Return rows, requests and counts of a small build with a judge and an evaluation set."""
    out.mkdir()
    exam = out / "exam.txt"
    exam.write_text(read_seeds()["instruction"][0])
    recipe = Recipe(
        num_instructions=14,
        decontamination=DecontaminationSettings(sources=(str(exam),)),
        judge=JudgeSettings(model="another", min_judge=0.0),
        bootstrap=BootstrapSettings(requests_per_round=4),
        clustering=ClusteringSettings(num_clusters=2),
    )
    with (
        serve_stub(faults={"error500": 0.05, "broken": 0.05, "missing": 0.05}) as stub,
        Teacher("stub", base_url=stub.url, api_key=KEY, journal=out / "journal.sqlite") as teacher,
    ):
        report = build(read_seeds(), teacher, out, recipe, engine=engine).report
        usage = [(one.phase, one.requests, one.failed, one.input_tokens) for one in teacher.journal.usage()]
        assert report.phases["complete"]
    configs = [load_dataset(str(out / "dataset"), name) for name in ("default", "instances")]
    return [part.to_list() for config in configs for part in config.values()], sorted(stub.bodies()), usage


def test_a_build_on_ray_has_the_rows_and_requests_of_a_plain_one(
    engine: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_plots(monkeypatch)
    computed = Recording(engine)
    assert made(tmp_path / "ray", computed) == made(tmp_path / "plain", None)  # type: ignore[arg-type]
    assert computed.phases == ["attribute", "complete", "curate", "decontaminate", "judge", "judge-checks", "embed"]
    secrets = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert secrets == []


class Recording:
    """Notes the phases with several units that go to an engine."""

    def __init__(self, engine: RayEngine) -> None:
        self.engine, self.phases = engine, []  # type: tuple[RayEngine, list[str]]

    def run(self, work: Any, units: Any, starts: Sequence[int], advance: Any) -> None:
        self.phases += [work.phase] if len(starts) > 1 else []
        self.engine.run(work, units, starts, advance)


def test_ray_on_this_machine_listens_on_no_other_address(engine: RayEngine) -> None:
    import ray

    engine._start()
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from test_ray import RayEngine, fail_batch, run
try:
    run(RayEngine("127.0.0.1:1"), fail_batch, Path({str(tmp_path)!r}))
except Exception as error:
    print(type(error).__name__, error)
"""
    tests = {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[1])))}
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, env=os.environ | tests, capture_output=True, text=True
    )
    assert re.fullmatch(r"BuildError cannot reach Ray at 127.0.0.1:1 \(.*\)\n", ended.stdout), ended.stderr
