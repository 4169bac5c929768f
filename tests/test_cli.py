"""The command over real HTTP: what it says, its exit statuses, and what a kill costs."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import killable
import pytest
from datasets import load_dataset
from stub_teacher import KEY, serve_stub
from typer.testing import CliRunner, Result

from auto_instruct_hf import Recipe
from auto_instruct_hf.cli.app import app
from auto_instruct_hf.teacher.journal import Entry, Journal, Record

ROOT = Path(__file__).parents[1]
FAULTS = {
    "error500": 0.05, "error429": 0.03, "dropped": 0.02, "broken": 0.05, "cut": 0.03, "missing": 0.05, "doubled": 0.05,
}  # fmt: skip


def command(out: Path, *arguments: str, url: str = "") -> list[str]:
    endpoint = ["--teacher", "stub", "--base-url", url] if url else []
    return ["build", *endpoint, "--out", str(out), *arguments]


def call(arguments: list[str], key: str = KEY) -> Result:
    return CliRunner(env={"OPENAI_API_KEY": key}).invoke(app, arguments)


def published(out: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        config: {name: part.to_list() for name, part in load_dataset(str(out / "dataset"), config).items()}
        for config in ("default", "instances")
    }


def journal_requests(out: Path) -> set[str]:
    if not (out / "journal.sqlite").exists():
        return set()
    rows = sqlite3.connect(out / "journal.sqlite").execute("SELECT request FROM replies")
    return {json.dumps(json.loads(row[0]), sort_keys=True) for row in rows}


def test_sigkill_at_random_points_costs_only_what_was_in_flight(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("bootstrap: {requests_per_round: 4}\nteacher: {concurrency: 4}\nclustering: {num_clusters: 2}\n")
    with serve_stub(faults=FAULTS, delay=0.05) as stub:
        options = ("--num-instructions", "14", "--recipe", str(recipe))
        log = tmp_path / "log"

        def start(out: Path) -> Any:
            return killable.start(command(out, *options, url=stub.url), log, OPENAI_API_KEY=KEY)

        calm = start(tmp_path / "calm")
        calm.join()
        assert calm.exitcode == 0, log.read_text()
        expected = published(tmp_path / "calm")
        calmly = sorted(set(stub.bodies()))

        stub.answered.clear()
        stub.struck.clear()
        out, draw = tmp_path / "killed", random.Random(5)
        for target in [*sorted(draw.sample(range(1, len(calmly)), 3)), None]:
            known, first = journal_requests(out), len(stub.answered)
            process = start(out)
            while target and len(stub.answered) < target and process.is_alive():
                time.sleep(0.01)
            if target:
                process.kill()
            process.join()
            assert known.isdisjoint(stub.bodies()[first:]), "a request with a reply in the journal was sent again"
        assert process.exitcode == 0, log.read_text()
        assert published(out) == expected
        assert sorted(set(stub.bodies())) == calmly
        assert len(stub.answered) - len(calmly) <= 3 * 4  # a kill costs at most what was in flight


def test_ctrl_c_exits_with_130_and_says_what_is_safe(tmp_path: Path) -> None:
    with serve_stub(delay=0.05) as stub:
        process = killable.start(command(tmp_path / "out", url=stub.url), tmp_path / "log", OPENAI_API_KEY=KEY)
        while len(stub.answered) < 3 and process.is_alive():
            time.sleep(0.01)
        os.kill(process.pid or 0, signal.SIGINT)
        process.join()
    assert process.exitcode == 130
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("stopped. All replies so far are in")


def test_command_ends_well_and_says_what_it_did(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serve_stub(delay=1.1) as stub:
        sizes = ("--num-instructions", "12", "--num-samples", "30")
        process = killable.start(command(tmp_path / "out", *sizes, url=stub.url), log, OPENAI_API_KEY=KEY)
        process.join()
    said = log.read_text()
    assert process.exitcode == 0, said
    assert said.splitlines()[0] == f"Teacher: stub at {stub.url}."
    assert "12 of 12 instructions, price unknown" in said  # the line of the bootstrap, which took over a second
    for words in ("CLF instructions", "(161)", "strategies a NON-CLF instruction", "Spent so far: price unknown"):
        assert words in said
    assert "30 rows drawn from" in said.splitlines()[-5]
    assert "sk-stub" not in said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--clf-share", "3"], 2, "clf-share"),
        (["--num-instructions", "0"], 2, "num-instructions"),
        (["--no-such-flag"], 2, "no-such-flag"),
        (["--recipe", "absent.yaml"], 2, "cannot read the recipe"),
        (["--column", "instruction"], 2, "should be like instruction=prompt"),
        (["--balance", "even"], 2, "sampling.balance is 'even'; it should be 'proportional', 'sqrt' or 'equal'"),
        (["--estimate", "--probe", "2"], 2, "--estimate sends no request, --probe and --preview do: choose one"),
        (["--description", "absent.md"], 2, "--description: absent.md cannot be read"),
        (["--seeds", "absent.jsonl"], 1, "no such file of seeds"),
        (
            ["--prompts", "absent", "--teacher", "m", "--base-url", "http://127.0.0.1:9/v1"],
            1,
            "no folder of prompts absent",
        ),
        (["--decontaminate", "absent.csv:a", "--teacher", "m", "--base-url", "http://127.0.0.1:9/v1"], 1, "absent.csv"),
        (["--teacher", "m", "--base-url", "http://127.0.0.1:9/v1", "--recipe", "RECIPE"], 1, "does not answer"),
    ],
)
def test_failures_are_one_clear_line(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    (tmp_path / "recipe.yaml").write_text("teacher: {retries: 0}\n")
    given = [str(tmp_path / "recipe.yaml") if word == "RECIPE" else word for word in arguments]
    failed = call(command(tmp_path / "out", *given))
    assert failed.exit_code == status
    assert words in failed.stderr
    assert "Traceback" not in failed.stderr
    if status == 1:
        assert [line for line in failed.stderr.splitlines() if words in line] == [failed.stderr.splitlines()[-1]]
        assert failed.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("in the way")
    failed = call(command(tmp_path / out))
    assert failed.exit_code == 1
    assert failed.stderr.startswith("error: cannot open the journal")
    assert len(failed.stderr.splitlines()) == 1


def test_wrong_key_is_told_without_showing_it(tmp_path: Path) -> None:
    with serve_stub() as stub:
        failed = call(command(tmp_path / "out", url=stub.url), key="sk-wrong-1234567890")
    assert failed.exit_code == 1
    assert "AuthenticationError" in failed.stderr
    assert "sk-wrong" not in failed.output


@pytest.mark.parametrize("command", [["-m", "auto_instruct_hf", "build"], ["scripts/build.py"]])
def test_module_and_script_run_the_same_command(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--num-instructions" in done.stdout


def test_help_and_the_package_import_nothing_heavy() -> None:
    code = (
        "import sys, auto_instruct_hf, auto_instruct_hf.cli; "
        "print({'datasets', 'openai', 'numpy', 'torch', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_deduplicating_and_completing_import_no_library_of_the_later_phases(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from datasets import Dataset\n"
        "from auto_instruct_hf import Teacher, attribute, bootstrap, complete, filter_novel, read_seeds\n"
        "from auto_instruct_hf.recipe import BootstrapSettings\n"
        "in_words = BootstrapSettings(max_cosine=None)\n"
        "filter_novel(Dataset.from_dict({'prompt': ['a b c', 'a b c']}), column='prompt')\n"
        "with Teacher('stub', base_url=sys.argv[1], api_key='sk-stub-key', journal=sys.argv[2]) as teacher:\n"
        "    made = bootstrap(read_seeds(), teacher, num_instructions=3, settings=in_words)\n"
        "    complete(attribute(made, teacher), teacher)\n"
        "print({'torch', 'umap', 'matplotlib', 'sklearn'} & set(sys.modules))\n"
    )
    with serve_stub() as stub:
        arguments = [sys.executable, "-c", code.replace("sk-stub-key", KEY), stub.url, str(tmp_path / "journal.sqlite")]
        environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path)}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("auto-instruct-hf 0.")


def test_prompts_are_copied_to_a_new_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert call(["prompts", "copy", str(folder)]).exit_code == 0
    assert sorted(path.stem for path in folder.iterdir()) == ["attributes", "bootstrap", "input", "output", "topic"]
    again = call(["prompts", "copy", str(folder)])
    assert again.exit_code == 1
    assert again.stderr == f"error: {folder} is not empty: name a new folder\n"


def test_the_italian_example_builds_with_its_own_prompts(tmp_path: Path) -> None:
    example = ROOT / "examples" / "italian"
    options = ("--seeds", str(example / "seeds.jsonl"), "--recipe", str(example / "recipe.yaml"), "--language", "it")
    with serve_stub() as stub:
        done = call(command(tmp_path, *options, "--num-instructions", "10", url=stub.url))
        said = json.dumps(stub.bodies(), ensure_ascii=False)
    assert done.exit_code == 0, done.output
    assert "Inventi richieste" in said
    assert "You invent requests" not in said
    assert "language: it\n" in (tmp_path / "dataset" / "README.md").read_text()
    assert (tmp_path / "dataset" / "prompts" / "bootstrap.yaml").is_file()


def test_text_of_a_model_does_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07 \x9b31m red \u202e desrever"
    with Journal(tmp_path / "journal.sqlite") as journal:
        entry = Entry(hostile, "", 1, 0, 1, 0.1)
        journal.record(
            [Record("a" * 64, entry, "output", "m\x1b[2J", {"messages": [{"role": "user", "content": "x"}]})]
        )
    for options in ((), ("--show", "a"), ("--grep", "red")):
        shown = call(["journal", str(tmp_path), *options]).stdout
        assert shown
        assert not set("\x1b\x07\x9b\u202e") & set(shown)


def test_the_default_recipe_is_printed_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(call(["recipe"]).stdout)
    assert Recipe.from_yaml(path) == Recipe()
