"""Whoever computes the units of a phase, its rows are those of a run in one process."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Value, load_dataset
from stub_instances import patch_plots
from stub_teacher import KEY, serve_stub
from typer.testing import CliRunner, Result

from auto_instruct_hf import Teacher, complete
from auto_instruct_hf.cli.app import app
from auto_instruct_hf.clustering import assign_rest
from auto_instruct_hf.core import (
    ATTRIBUTED,
    Units,
    UnitWorker,
    Work,
    apply,
    from_rows,
    list_work,
    running_on,
    use_values,
    write_changed,
)
from auto_instruct_hf.embedding import embed, open_encoder
from auto_instruct_hf.embedding import phase as embedding
from auto_instruct_hf.engines import WorkList, parse_shard, run_shard
from auto_instruct_hf.errors import BuildError, RecipeError, WorkListed
from auto_instruct_hf.recipe import EmbeddingSettings

NUMBERS = Features({"n": Value("int64")})
PAIRS = Features({"n": Value("int32"), "text": Value("string")})
TEXT = Features({"instruction_id": Value("string"), "instruction": Value("string")})
CALLS: list[int] = []


def repeat_batch(batch: Any, *, word: str = "") -> dict[str, list[Any]]:
    """Make n rows of each number: 0 makes none."""
    CALLS.append(batch["n"][0])
    pairs = [(n, f"{word}{n}") for n in batch["n"] for _ in range(n % 3)]
    return {"n": [n for n, _ in pairs], "text": [text for _, text in pairs]}


class Here:
    """An engine of one worker in this process, which computes some of the units, in another order."""

    def __init__(self, chosen: Callable[[int], bool] = lambda start: True, is_final: bool = True) -> None:
        self.chosen, self.is_final = chosen, is_final

    def run(self, work: Work, units: Units, starts: Sequence[int], advance: Callable[[int], object]) -> None:
        worker = UnitWorker(units.folder)
        for start in reversed(starts):
            if self.chosen(start) and worker.compute(start, lambda: self.is_final):
                advance(units.count_rows(start))


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def numbers(count: int) -> Dataset:
    return from_rows([{"n": n} for n in range(count)], NUMBERS)


def run(cache: Path, engine: Any = None, count: int = 10, **options: Any) -> Dataset:
    given = {"settings": {"word": "w"}, "make_resources": use_values, "batch_size": 3, "phase": "repeat", **options}
    with running_on(engine):
        return apply(numbers(count), repeat_batch, features=PAIRS, cache_dir=cache, **given)


@pytest.mark.parametrize("count", [0, 1, 3, 10])
@pytest.mark.parametrize("form", ["python", "numpy"])
def test_rows_do_not_depend_on_who_computes_the_units(tmp_path: Path, count: int, form: str) -> None:
    plain = run(tmp_path / "plain", count=count, form=form)
    for name, engine in (("all", Here()), ("some", Here(lambda start: start % 2 == 0))):
        found = run(tmp_path / name, engine, count=count, form=form)
        assert found.to_list() == plain.to_list()
        assert found.features == plain.features
        assert found._fingerprint == plain._fingerprint
        assert not list((tmp_path / name).glob("*.units"))


def test_units_that_are_there_are_not_computed_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Here(interrupted))
    assert CALLS == [9, 6]
    assert run(tmp_path).to_list() == run(tmp_path / "plain").to_list()
    assert CALLS[2:] == [0, 3, 0, 3, 6, 9]


def interrupted(start: int) -> bool:
    if start < 6:
        raise KeyboardInterrupt
    return True


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: content[:300] + bytes(80)])
@pytest.mark.parametrize("engine", [None, Here()], ids=["here", "engine"])
def test_a_damaged_unit_is_computed_again(tmp_path: Path, damage: Callable[[bytes], bytes], engine: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Here(interrupted))
    unit = next(tmp_path.glob("*.units/*6-*9.arrow"))
    unit.write_bytes(damage(unit.read_bytes()))
    assert run(tmp_path, engine).to_list() == run(tmp_path / "plain").to_list()
    assert sorted(CALLS[2:5]) == [0, 3, 6]


def test_a_unit_that_is_not_final_is_left_to_the_build(tmp_path: Path) -> None:
    found = run(tmp_path, Here(is_final=False)).to_list()
    assert CALLS == [9, 6, 3, 0, 0, 3, 6, 9]
    assert found == run(tmp_path / "plain").to_list()


def test_a_phase_without_a_factory_stays_in_this_process(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Here(interrupted))
    run(tmp_path / "local", Here(interrupted), make_resources=None)


def test_a_work_list_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Here(interrupted))
    monkeypatch.setattr("auto_instruct_hf.core.units.code_version", lambda _: "edited")
    with pytest.raises(BuildError, match="written by another version of the package"):
        UnitWorker(next(tmp_path.glob("*.units")))


def texts(count: int) -> Dataset:
    words = [f"Write about topic {n} {'word ' * (n % 17)}" for n in range(count)]
    return from_rows([{"instruction_id": f"i{n}", "instruction": text} for n, text in enumerate(words)], TEXT)


def test_embeddings_are_equal_to_the_bit_and_kept_by_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_TEXTS_PER_BATCH", 50)
    monkeypatch.setattr(embedding, "_TEXTS_PER_COMMIT", 20)
    data = texts(120)
    for stored in (0, 10):  # texts that were embedded before, in other batches
        found = []
        for engine in (None, Here()):
            cache = tmp_path / f"{stored}-{engine is None}"
            open_encoder(cache_dir=cache)(data["instruction"][:stored])
            with running_on(engine):
                found.append(np.array(embed(data, cache_dir=cache)["embedding"][:], dtype=np.float32))
            (store,) = cache.glob("vectors-*.sqlite")
            assert sqlite3.connect(store).execute("SELECT COUNT(*) FROM vectors").fetchone() == (120,)
        assert np.array_equal(*found)


def test_embeddings_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    import torch

    before, found = torch.get_num_threads(), []
    words = texts(200)["instruction"][:]
    encode = embedding.make_encoder(EmbeddingSettings(), tmp_path)
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        found.append(encode(words))
        assert torch.get_num_threads() == number
    torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_workers_assign_the_rest_as_the_build_does(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 8)).astype(np.float32)
    rows = [{"instruction_id": f"i{n}", "embedding": vector.tolist()} for n, vector in enumerate(vectors)]
    embedded = from_rows(rows, embedding.EMBEDDED_COLUMNS)
    known = embedded.select(range(20))
    labels = [{"instruction_id": f"i{n}", "cluster": n % 3, "centrality": 1.0} for n in range(20)]
    fitted = from_rows(labels, assign_rest.ASSIGNED)
    arguments = (embedded, known, np.arange(20), fitted)
    (plain,) = assign_rest.extend(*arguments, tmp_path / "plain")
    with running_on(Here()):
        (found,) = assign_rest.extend(*arguments, tmp_path / "units")
    assert found.to_list() == plain.to_list()
    assert len(set(plain["cluster"][:])) == 3


def test_a_work_list_holds_no_key_and_shards_ask_no_teacher(teacher: Teacher, tmp_path: Path) -> None:
    row = {"instruction_id": "i", "instruction": "Name a colour.", "is_classification": False, "input": ""}
    row |= {"attributes": [], "similarity": 0.1, "most_similar": "", "cosine": 0.0, "nearest": "", "round": 0}
    with running_on(Stop()), pytest.raises(KeyboardInterrupt):
        complete(from_rows([row], ATTRIBUTED), teacher, cache_dir=tmp_path)
    (folder,) = tmp_path.glob("*.units")
    assert KEY.encode() not in (folder / "work.pickle").read_bytes()
    with pytest.raises(BuildError, match="complete asks the teacher"):
        UnitWorker(folder)


class Stop:
    def run(self, *_: object) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("shard", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1.5/4", "1/4/2"])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(RecipeError, match=r"give NUMBER/COUNT with a number from 1 to the count, such as 3/16"):
        parse_shard(shard)


def test_shards_need_a_work_list_of_a_phase_that_can_be_shared(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has no work list of embed: run its build with --stop-at embed first"):
        run_shard(tmp_path, "embed", (1, 2))
    with pytest.raises(RecipeError, match="'complete' is not a phase that shards can run: name one of curate"):
        run_shard(tmp_path, "complete", (1, 2))
    with pytest.raises(RecipeError, match="'split' is not a phase"):
        WorkList("split")


def test_shards_cover_all_units_once(tmp_path: Path) -> None:
    with pytest.raises(WorkListed, match="4 of 4 units of 3 rows are to be computed"):
        run(tmp_path / "cache", WorkList("curate"), phase="curate")
    reports = [run_shard(tmp_path, "curate", (number, 3)) for number in (1, 2, 3, 3)]
    assert [(report.in_shard, report.computed, report.missing) for report in reports] == [
        (2, 2, 2),
        (1, 1, 1),
        (1, 1, 0),
        (1, 0, 0),
    ]
    assert sorted(CALLS) == [0, 3, 6, 9]


def test_a_shard_reads_its_own_units_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkListed):
        run(tmp_path / "cache", WorkList("curate"), phase="curate")
    checked: list[str] = []
    monkeypatch.setattr(
        "auto_instruct_hf.core.units.is_intact", lambda path: checked.append(path.name) or path.exists()
    )
    assert run_shard(tmp_path, "curate", (2, 4)).missing == 3
    assert set(checked) == {"rows.arrow", "000000000003-000000000006.arrow"}


def test_shards_compute_the_list_of_the_last_build(tmp_path: Path) -> None:
    for age, word in ((2, "earlier"), (1, "later")):
        with pytest.raises(WorkListed):
            run(tmp_path, WorkList("curate"), phase="curate", settings={"word": word})
        os.utime(list_work(tmp_path, "curate")[-1] / "work.pickle", (time.time() - age, time.time() - age))
    with pytest.raises(WorkListed):
        run(tmp_path, WorkList("curate"), phase="curate", settings={"word": "earlier"})
    assert UnitWorker(list_work(tmp_path, "curate")[-1]).work.settings == {"word": "earlier"}


def test_processes_may_write_one_file_at_the_same_time(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: write_changed(tmp_path / "file", b"%d" % n), range(100)))
    assert os.listdir(tmp_path) == ["file"]


def published(out: Path) -> list[list[dict[str, Any]]]:
    return [
        part.to_list()
        for name in ("default", "instances")
        for part in load_dataset(str(out / "dataset"), name).values()
    ]


def test_a_build_in_four_shells_has_the_rows_of_a_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_plots(monkeypatch)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("bootstrap: {requests_per_round: 4}\nclustering: {num_clusters: 2}\n")
    with serve_stub() as stub:

        def build(out: Path, *options: str) -> Result:
            given = ["--teacher", "stub", "--base-url", stub.url, "--num-instructions", "14", "--recipe", str(recipe)]
            found = CliRunner(env={"OPENAI_API_KEY": KEY}).invoke(app, ["build", *given, "--out", str(out), *options])
            assert found.exit_code == 0, found.output
            return found

        build(tmp_path / "plain")
        asked, out = len(stub.answered), tmp_path / "out"
        monkeypatch.setattr("auto_instruct_hf.curation.rules._BATCH", 4)
        monkeypatch.setattr(embedding, "_TEXTS_PER_BATCH", 4)
        stopped = build(out, "--stop-at", "curate")
        assert f"auto-instruct work {out} --phase curate --shard 1/2" in " ".join(stopped.output.split())
        shells = [
            subprocess.Popen(
                [sys.executable, "-m", "auto_instruct_hf", "work", str(out), "--phase", "curate", "--shard", f"{n}/4"],
                env={name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"},
            )
            for n in range(1, 5)
        ]
        assert [shell.wait(timeout=120) for shell in shells] == [0, 0, 0, 0]
        assert len(list(out.glob("cache/curate-*.units/0*.arrow"))) > 4
        build(out, "--stop-at", "embed")
        for n in range(1, 5):
            worked = CliRunner().invoke(app, ["work", str(out), "--phase", "embed", "--shard", f"{n}/4"])
            assert worked.exit_code == 0, worked.output
        assert "run the build again, without --stop-at embed" in " ".join(worked.output.split())
        build(out)
        assert published(out) == published(tmp_path / "plain")
        assert len(stub.answered) == 2 * asked
