"""A push is one commit or none, and each failure says what is safe. Real clients, a stub Hub over real HTTP."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from stub_hub import OTHER_TOKEN, TOKEN, Failure, StubHub, serve_hub
from stub_teacher import KEY, serve_stub
from typer.testing import CliRunner, Result

from auto_instruct_hf.cli.app import app
from auto_instruct_hf.publishing.manifest import write_manifest

REPO = "alice/tasks"
OFFLINE = os.pathsep.join([str(Path(__file__).parent / "offline"), str(Path(__file__).parents[1])])


def point_at(hub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients of this process use a stub: these settings are read when they are imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("auto_instruct_hf.publishing.hub._SECONDS_TO_WAIT", 0.05)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubHub]:
    with serve_hub() as one:
        point_at(one, monkeypatch)
        yield one


def run(code: str, hub: StubHub, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in another process, as a user of the Hub with an empty HF_HOME."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "OPENAI_"))}
    environment = clean | hub.env(home) | {"PYTHONPATH": OFFLINE}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def push(built: Path, *options: str, repo: str = REPO, token: str = TOKEN) -> Result:
    return call("push", str(built), repo, *options, HF_TOKEN=token)


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(app, arguments)


def load(hub: StubHub, home: Path, *arguments: Any, **options: Any) -> Any:
    """Load in another process with an empty HF_HOME; returns rows by split and the features."""
    code = (
        "import json, sys, datasets\n"
        "datasets.disable_progress_bars()\n"
        "arguments, options = json.loads(sys.argv[1])\n"
        "data = datasets.load_dataset(*arguments, **options)\n"
        "print(json.dumps([{name: list(part) for name, part in data.items()}, repr(data['train'].features)]))"
    )
    done = run(code, hub, home, json.dumps([arguments, options]))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_same_rows_come_back_by_every_way(hub: StubHub, built: Path, tmp_path: Path) -> None:
    done = push(built, "--tag", "v1.0", "--revision", "main")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Published: ")
    repo = hub.repos[REPO]
    assert len(repo.history()) == 2  # the Hub's own first one, and ours
    assert TOKEN not in done.stdout + done.stderr
    for number, config in enumerate(("default", "instances")):
        local = load(hub, tmp_path / f"l{number}", str(built / "dataset"), config)
        assert local[0]["train"]
        assert load(hub, tmp_path / f"h{number}", REPO, config) == local
        if config == "default":
            commit = repo.history()[0]
            assert load(hub, tmp_path / "t", REPO, revision="v1.0") == local
            assert load(hub, tmp_path / "s", REPO, streaming=True) == local
            assert repo.find("v1.0") == commit
    code = re.search(r"```python\n(.*?)```", repo.find().files["README.md"].decode(), re.DOTALL)
    assert code
    shown = run(code[1] + "print(sample, instances)", hub, tmp_path / "card")
    assert "messages" in shown.stdout, shown.stderr
    assert f'load_dataset("{REPO}")' in repo.find().files["README.md"].decode()


def test_nothing_changed_is_no_commit_and_what_went_away_is_gone(hub: StubHub, built: Path, tmp_path: Path) -> None:
    assert push(built).exit_code == 0
    repo = hub.repos[REPO]
    before, sent = len(repo.history()), hub.uploaded
    again = push(built)
    assert again.stdout.startswith("Nothing has changed")
    assert (len(repo.history()), hub.uploaded) == (before, sent)

    grown = tmp_path / "grown"
    shutil.copytree(built / "dataset", grown / "dataset")
    shutil.rmtree(grown / "dataset" / "data" / "instances")
    (grown / "dataset" / "assets" / "verbs.png").unlink()
    write_manifest(grown / "dataset")
    repo.add({**repo.find().files, "NOTES.md": b"the owner's"}, "Notes", "alice")
    assert push(grown).exit_code == 0
    files = repo.find().files
    assert not [name for name in files if name.startswith("data/instances") or name.endswith("verbs.png")]
    assert "data/default/train-00000-of-00001.parquet" in files
    assert files["NOTES.md"] == b"the owner's"
    assert len(repo.history()) == before + 2


@pytest.mark.parametrize(
    ("token", "repo", "options", "words"),
    [
        ("hf_wrong", REPO, (), "the Hub rejects the token"),
        ("", REPO, (), "no token: set HF_TOKEN"),
        (OTHER_TOKEN, "alice/other", (), "cannot write to alice/other"),
    ],
)
def test_refusals_are_one_line(
    hub: StubHub, built: Path, token: str, repo: str, options: tuple[str, ...], words: str
) -> None:
    failed = push(built, *options, repo=repo, token=token)
    assert failed.exit_code == 1
    assert words in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("error: ")
    assert not token or token not in failed.stderr


@pytest.mark.parametrize("name", ["no such name/at all", "tasks", "a/b/c"])
def test_a_name_that_is_none_is_wrong_usage(hub: StubHub, built: Path, name: str) -> None:
    failed = push(built, repo=name)
    assert failed.exit_code == 2
    assert "is not a valid repository id" in failed.stderr
    assert not hub.requests


def test_private_stays_private(hub: StubHub, built: Path) -> None:
    assert push(built, "--private").exit_code == 0
    assert hub.repos[REPO].private
    hub.add_repo("alice/public", {}, private=False)
    failed = push(built, "--private", repo="alice/public")
    assert failed.exit_code == 1
    assert "exists and is public" in failed.stderr


def test_branch_pull_request_and_a_tag_that_stands(hub: StubHub, built: Path) -> None:
    assert push(built, "--revision", "next", "--tag", "v1").exit_code == 0
    repo = hub.repos[REPO]
    assert "README.md" in repo.find("next").files
    assert "README.md" not in repo.find().files  # main is as it was
    done = push(built, "--create-pr")
    assert done.exit_code == 0, done.stderr
    assert "README.md" in repo.find("refs/pr/1").files
    failed = push(built, "--tag", "v1")
    assert failed.exit_code == 1
    assert "the tag already exists on another commit" in failed.stderr
    assert "README.md" not in repo.find().files  # told before anything is committed
    assert push(built, "--create-pr", "--tag", "v2").exit_code == 2


def test_a_second_writer_is_not_overwritten(hub: StubHub, built: Path) -> None:
    hub.rival = {"theirs.txt": b"kept"}
    done = push(built)
    assert done.exit_code == 0, done.stderr
    assert hub.repos[REPO].find().files["theirs.txt"] == b"kept"
    assert "README.md" in hub.repos[REPO].find().files
    assert sum("/commit/" in path for _, path in hub.requests) == 2  # the first one was refused


def test_an_upload_cut_in_the_middle_is_taken_up_again(hub: StubHub, built: Path) -> None:
    hub.cut_uploads = {1}
    done = push(built)
    assert done.exit_code == 0, done.stderr
    assert len(hub.repos[REPO].history()) == 2


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("/commit/", 503),
        ("/commit/", 429),
        ("/commit/", 0),
        ("/repos/create", 503),
        ("/api/datasets/alice/tasks$", 500),
    ],
)
def test_a_fault_that_passes_is_waited_for(hub: StubHub, built: Path, where: str, status: int) -> None:
    hub.failures.append(Failure(where, status=status))
    done = push(built)
    assert done.exit_code == 0, done.stderr
    assert len(hub.repos[REPO].history()) == 2


def test_a_commit_that_keeps_failing_leaves_the_repository_as_it_was(hub: StubHub, built: Path) -> None:
    hub.failures.append(Failure("/commit/", status=503, times=99))
    failed = push(built)
    assert failed.exit_code == 1
    assert "run the same command again" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len(hub.repos[REPO].history()) == 1
    hub.failures.clear()
    sent = hub.uploaded
    assert push(built).exit_code == 0
    assert hub.uploaded == sent  # what was sent is not sent again
    assert len(hub.repos[REPO].history()) == 2


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub: StubHub, built: Path) -> None:
    hub.failures.append(Failure("/commit/", status=0, after=True))
    done = push(built)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Published")
    assert len(hub.repos[REPO].history()) == 2


def test_a_failing_tag_is_told_as_such(hub: StubHub, built: Path) -> None:
    hub.failures.append(Failure("/tag/", status=500, times=99))
    failed = push(built, "--tag", "v1")
    assert failed.exit_code == 1
    assert "is published as commit" in failed.stderr
    assert "only the tag v1 is missing" in failed.stderr


def test_the_owners_files_stay(hub: StubHub, built: Path) -> None:
    theirs = {"data/precious.csv": b"x", "assets/logo.png": b"y", "data/default/train-00007-of-00009.parquet": b"ours"}
    hub.add_repo(REPO, theirs)
    (built / "dataset" / ".env").write_text("SECRET")
    try:
        assert push(built).exit_code == 0
    finally:
        (built / "dataset" / ".env").unlink()
    files = hub.repos[REPO].find().files
    assert {"data/precious.csv", "assets/logo.png"} <= set(files)
    assert "data/default/train-00007-of-00009.parquet" not in files
    assert ".env" not in files


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda shard: shard.unlink(), "train-00000-of-00001.parquet is missing"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-9]), "train-00000-of-00001.parquet has changed"),
        (lambda shard: shard.rename(shard.with_name("x")).rename(shard), ""),
        (lambda shard: (shard.rename(shard.parents[3] / "x"), shard.symlink_to(shard.parents[3] / "x")), "is a link"),
    ],
)
def test_only_what_was_built_is_pushed(
    hub: StubHub, built: Path, tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    (copy / "dataset" / "notes.txt").write_text("private")
    damage(copy / "dataset" / "data" / "default" / "train-00000-of-00001.parquet")
    done = push(copy)
    assert done.exit_code == (1 if words else 0)
    assert words in done.stderr
    assert len(hub.requests) == 0 if words else "notes.txt" not in hub.repos[REPO].find().files


def test_a_build_of_another_version_is_told(hub: StubHub, built: Path, tmp_path: Path) -> None:
    (tmp_path / "old" / "dataset").mkdir(parents=True)
    for content in ("{}", "[]", "5"):
        (tmp_path / "old" / "dataset" / "report.json").write_text(content)
        failed = push(tmp_path / "old")
        assert failed.exit_code == 1
        assert "was built by another version" in failed.stderr


def test_a_killed_push_leaves_the_repository_as_it_was(hub: StubHub, built: Path, tmp_path: Path) -> None:
    hub.upload_rate = 20_000
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "auto_instruct_hf", "push", str(built), REPO],
        env=clean | hub.env(tmp_path) | {"PYTHONPATH": OFFLINE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not hub.received and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert hub.received
    assert len(hub.repos[REPO].history()) == 1
    hub.upload_rate = 0
    assert push(built).exit_code == 0
    assert len(hub.repos[REPO].history()) == 2


def test_no_hub_at_all(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_hub() as hub:
        point_at(hub, monkeypatch)
    failed = push(built)
    assert failed.exit_code == 1
    assert "the connection to alice/tasks failed" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_folder_that_is_no_build(hub: StubHub, tmp_path: Path) -> None:
    failed = push(tmp_path)
    assert failed.exit_code == 1
    assert "is not a built dataset" in failed.stderr
    assert not hub.requests


def test_build_and_push_in_one_command(hub: StubHub, tmp_path: Path) -> None:
    with serve_stub() as teacher:
        options = ["--teacher", "stub", "--base-url", teacher.url, "--out", str(tmp_path / "out")]
        options += ["--num-instructions", "12", "--license", "cc-by-4.0", "--push", REPO, "--private", "--tag", "v0.1"]
        done = call("build", *options, HF_TOKEN=TOKEN, OPENAI_API_KEY=KEY)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"Published: {hub.url}/datasets/{REPO}")
    repo = hub.repos[REPO]
    assert repo.private
    files = repo.find("v0.1").files
    assert {"README.md", "recipe.yaml", "report.json", "assets/map.png"} <= set(files)
    assert b"license: cc-by-4.0" in files["README.md"]
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    for secret in (TOKEN, KEY):
        assert secret not in done.stdout + done.stderr
        assert not any(secret.encode() in content for content in [*written, *files.values()])


@pytest.mark.parametrize(
    ("repo", "token", "role", "options", "status", "words"),
    [
        ("a b/c", TOKEN, "write", (), 2, "is not a valid repository id"),
        (REPO, "", "write", (), 1, "no token: set HF_TOKEN"),
        (REPO, "hf_wrong", "write", (), 1, "the Hub rejects the token"),
        ("bob/tasks", TOKEN, "write", (), 1, "alice cannot write to bob: push to one of alice, lab"),
        (REPO, TOKEN, "read", (), 1, "cannot write to alice: create one with write access"),
        (REPO, TOKEN, "write", ("--license", "CC BY 4.0"), 2, "did you mean cc-by-4.0"),
        (REPO, TOKEN, "write", ("--language", "english"), 2, "an ISO 639 code, such as en; did you mean en?"),
        (REPO, TOKEN, "write", ("--description", "absent.md"), 2, "absent.md"),
    ],
)
def test_what_a_push_would_fail_on_is_told_before_anything_is_spent(
    hub: StubHub, tmp_path: Path, repo: str, token: str, role: str, options: tuple[str, ...], status: int, words: str
) -> None:
    hub.role = role
    with serve_stub() as teacher:
        endpoint = ("--teacher", "stub", "--base-url", teacher.url, "--out", str(tmp_path / "out"))
        failed = call("build", *endpoint, "--push", repo, *options, HF_TOKEN=token, OPENAI_API_KEY=KEY)
        assert not teacher.answered
    assert failed.exit_code == status
    assert words in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_a_push_that_fails_after_the_build_says_how_to_go_on(hub: StubHub, tmp_path: Path) -> None:
    hub.failures.append(Failure("/commit/", status=503, times=99))
    out = str(tmp_path / "out")
    with serve_stub() as teacher:
        options = ("--teacher", "stub", "--base-url", teacher.url, "--out", out, "--num-instructions", "12")
        failed = call("build", *options, "--push", REPO, HF_TOKEN=TOKEN, OPENAI_API_KEY=KEY)
    assert failed.exit_code == 1
    assert "The build is safe" in failed.stderr
    assert failed.stderr.rstrip().endswith(f"To publish it later: auto-instruct push {out} {REPO}")


def test_seeds_come_from_the_hub_with_configuration_and_split(hub: StubHub, tmp_path: Path) -> None:
    rows = [{"instruction": f"Explain matter {n} to me", "output": "So."} for n in range(3)]
    content = "\n".join(map(json.dumps, rows)).encode()
    card = b"---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: test, path: a/*.jsonl}\n---\n"
    hub.add_repo("lab/seeds", {"a/seeds.jsonl": content, "README.md": card})
    code = (
        "from auto_instruct_hf import read_seeds\n"
        "seeds = read_seeds('lab/seeds:main:test')\n"
        "print(seeds['instruction'][:], seeds.info.dataset_name)"
    )
    done = run(code, hub, tmp_path)
    assert done.stdout.strip() == f"{[row['instruction'] for row in rows]} lab/seeds:main:test", done.stderr
