"""A push is one commit or none, and each failure says what is safe. Real clients, a stub Hub over real HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_hub import OTHER_TOKEN, TOKEN, Failure, StubHub, serve_hub
from stub_teacher import KEY, serve_stub

REPO = "alice/tasks"
OFFLINE = os.pathsep.join([str(Path(__file__).parent / "offline"), str(Path(__file__).parents[1])])
PUSH = Path(__file__).parents[1] / "scripts" / "push.py"


@pytest.fixture
def hub() -> Iterator[StubHub]:
    with serve_hub() as one:
        yield one


def run(
    code: list[str], hub: StubHub, home: Path, token: str = TOKEN, **values: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "OPENAI_"))}
    environment = clean | hub.env(home, token) | {"PYTHONPATH": OFFLINE} | values
    return subprocess.run(code, env=environment, capture_output=True, text=True, check=False, timeout=120)


def push(hub: StubHub, built: Path, home: Path, *options: str, repo: str = REPO, token: str = TOKEN) -> Any:
    return run([sys.executable, str(PUSH), str(built), repo, *options], hub, home, token)


def load(hub: StubHub, home: Path, *arguments: Any, **options: Any) -> Any:
    """Load in another process with an empty HF_HOME; returns rows by split and the features."""
    code = (
        "import json, sys, datasets\n"
        "datasets.disable_progress_bars()\n"
        "arguments, options = json.loads(sys.argv[1])\n"
        "data = datasets.load_dataset(*arguments, **options)\n"
        "print(json.dumps([{name: list(part) for name, part in data.items()}, repr(data['train'].features)]))"
    )
    done = run([sys.executable, "-c", code, json.dumps([arguments, options])], hub, home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_same_rows_come_back_by_every_way(hub: StubHub, built: Path, tmp_path: Path) -> None:
    done = push(hub, built, tmp_path / "a", "--tag", "v1.0", "--revision", "main")
    assert done.returncode == 0, done.stderr
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
    shown = run([sys.executable, "-c", code[1] + "print(sample, instances)"], hub, tmp_path / "card")
    assert "messages" in shown.stdout, shown.stderr
    assert f'load_dataset("{REPO}")' in repo.find().files["README.md"].decode()


def test_nothing_changed_is_no_commit_and_what_went_away_is_gone(hub: StubHub, built: Path, tmp_path: Path) -> None:
    import shutil

    assert push(hub, built, tmp_path / "a").returncode == 0
    repo = hub.repos[REPO]
    before, sent = len(repo.history()), hub.uploaded
    again = push(hub, built, tmp_path / "b")
    assert again.stdout.startswith("Nothing has changed")
    assert (len(repo.history()), hub.uploaded) == (before, sent)

    grown = tmp_path / "grown"
    shutil.copytree(built / "dataset", grown / "dataset")
    shutil.rmtree(grown / "dataset" / "data" / "instances")
    (grown / "dataset" / "assets" / "verbs.png").unlink()
    repo.add({**repo.find().files, "NOTES.md": b"the owner's"}, "Notes", "alice")
    assert push(hub, grown, tmp_path / "c").returncode == 0
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
    hub: StubHub, built: Path, tmp_path: Path, token: str, repo: str, options: tuple[str, ...], words: str
) -> None:
    failed = push(hub, built, tmp_path, *options, repo=repo, token=token)
    assert failed.returncode == 1
    assert words in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("error: ")
    assert not token or token not in failed.stderr


@pytest.mark.parametrize("name", ["no such name/at all", "tasks", "a/b/c"])
def test_a_name_that_is_none_is_wrong_usage(hub: StubHub, built: Path, tmp_path: Path, name: str) -> None:
    failed = push(hub, built, tmp_path, repo=name)
    assert failed.returncode == 2
    assert "is not a valid repository id" in failed.stderr
    assert not hub.requests


def test_private_stays_private(hub: StubHub, built: Path, tmp_path: Path) -> None:
    assert push(hub, built, tmp_path / "a", "--private").returncode == 0
    assert hub.repos[REPO].private
    hub.add_repo("alice/public", {}, private=False)
    failed = push(hub, built, tmp_path / "b", "--private", repo="alice/public")
    assert failed.returncode == 1
    assert "exists and is public" in failed.stderr


def test_branch_pull_request_and_a_tag_that_stands(hub: StubHub, built: Path, tmp_path: Path) -> None:
    assert push(hub, built, tmp_path / "a", "--revision", "next", "--tag", "v1").returncode == 0
    repo = hub.repos[REPO]
    assert "README.md" in repo.find("next").files
    assert "README.md" not in repo.find().files  # main is as it was
    done = push(hub, built, tmp_path / "b", "--create-pr")
    assert done.returncode == 0, done.stderr
    assert "README.md" in repo.find("refs/pr/1").files
    failed = push(hub, built, tmp_path / "c", "--tag", "v1")
    assert failed.returncode == 1
    assert "the tag already exists on another commit" in failed.stderr
    assert "README.md" not in repo.find().files  # told before anything is committed
    assert push(hub, built, tmp_path / "d", "--create-pr", "--tag", "v2").returncode == 2


def test_a_second_writer_is_not_overwritten(hub: StubHub, built: Path, tmp_path: Path) -> None:
    hub.rival = {"theirs.txt": b"kept"}
    done = push(hub, built, tmp_path)
    assert done.returncode == 0, done.stderr
    assert hub.repos[REPO].find().files["theirs.txt"] == b"kept"
    assert "README.md" in hub.repos[REPO].find().files
    assert sum("/commit/" in path for _, path in hub.requests) == 2  # the first one was refused


def test_an_upload_cut_in_the_middle_is_taken_up_again(hub: StubHub, built: Path, tmp_path: Path) -> None:
    hub.cut_uploads = {1}
    done = push(hub, built, tmp_path)
    assert done.returncode == 0, done.stderr
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
def test_a_fault_that_passes_is_waited_for(hub: StubHub, built: Path, tmp_path: Path, where: str, status: int) -> None:
    hub.failures.append(Failure(where, status=status))
    done = push(hub, built, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(hub.repos[REPO].history()) == 2


def test_a_commit_that_keeps_failing_leaves_the_repository_as_it_was(hub: StubHub, built: Path, tmp_path: Path) -> None:
    hub.failures.append(Failure("/commit/", status=503, times=99))
    failed = push(hub, built, tmp_path / "a")
    assert failed.returncode == 1
    assert "run the same command again" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert len(hub.repos[REPO].history()) == 1
    hub.failures.clear()
    sent = hub.uploaded
    assert push(hub, built, tmp_path / "b").returncode == 0
    assert hub.uploaded == sent  # what was sent is not sent again
    assert len(hub.repos[REPO].history()) == 2


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub: StubHub, built: Path, tmp_path: Path) -> None:
    hub.failures.append(Failure("/commit/", status=0, after=True))
    done = push(hub, built, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Published")
    assert len(hub.repos[REPO].history()) == 2


def test_a_failing_tag_is_told_as_such(hub: StubHub, built: Path, tmp_path: Path) -> None:
    hub.failures.append(Failure("/tag/", status=500, times=99))
    failed = push(hub, built, tmp_path, "--tag", "v1")
    assert failed.returncode == 1
    assert "is published as commit" in failed.stderr
    assert "only the tag v1 is missing" in failed.stderr


def test_the_owners_files_stay(hub: StubHub, built: Path, tmp_path: Path) -> None:
    theirs = {"data/precious.csv": b"x", "assets/logo.png": b"y", "data/default/train-00007-of-00009.parquet": b"ours"}
    hub.add_repo(REPO, theirs)
    (built / "dataset" / ".env").write_text("SECRET")
    try:
        assert push(hub, built, tmp_path).returncode == 0
    finally:
        (built / "dataset" / ".env").unlink()
    files = hub.repos[REPO].find().files
    assert {"data/precious.csv", "assets/logo.png"} <= set(files)
    assert "data/default/train-00007-of-00009.parquet" not in files
    assert ".env" not in files


def test_a_build_of_another_version_is_told(hub: StubHub, built: Path, tmp_path: Path) -> None:
    (tmp_path / "old" / "dataset").mkdir(parents=True)
    for content in ("{}", "[]", "5"):
        (tmp_path / "old" / "dataset" / "report.json").write_text(content)
        failed = push(hub, tmp_path / "old", tmp_path / "home")
        assert failed.returncode == 1
        assert "was built by another version" in failed.stderr


def test_a_killed_push_leaves_the_repository_as_it_was(hub: StubHub, built: Path, tmp_path: Path) -> None:
    hub.upload_rate = 20_000
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.Popen(
        [sys.executable, str(PUSH), str(built), REPO],
        env=clean | hub.env(tmp_path / "a", TOKEN),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not hub.received and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert hub.received
    assert len(hub.repos[REPO].history()) == 1
    hub.upload_rate = 0
    assert push(hub, built, tmp_path / "b").returncode == 0
    assert len(hub.repos[REPO].history()) == 2


def test_no_hub_at_all(built: Path, tmp_path: Path) -> None:
    with serve_hub() as hub:
        pass
    failed = push(hub, built, tmp_path)
    assert failed.returncode == 1
    assert "the connection to alice/tasks failed" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_folder_that_is_no_build(hub: StubHub, tmp_path: Path) -> None:
    failed = push(hub, tmp_path, tmp_path / "home")
    assert failed.returncode == 1
    assert "is not a built dataset" in failed.stderr
    assert not hub.requests


def test_build_and_push_in_one_command(hub: StubHub, tmp_path: Path) -> None:
    build = PUSH.with_name("build.py")
    with serve_stub() as teacher:
        options = ["--teacher", "stub", "--base-url", teacher.url, "--out", str(tmp_path / "out")]
        options += ["--num-instructions", "12", "--license", "cc-by-4.0", "--push", REPO, "--private", "--tag", "v0.1"]
        done = run([sys.executable, str(build), *options], hub, tmp_path / "home", OPENAI_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
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


def test_a_wrong_repository_name_is_told_before_anything_is_spent(hub: StubHub, tmp_path: Path) -> None:
    build = PUSH.with_name("build.py")
    with serve_stub() as teacher:
        options = ["--teacher", "stub", "--base-url", teacher.url, "--out", str(tmp_path / "out"), "--push", "a b/c"]
        failed = run([sys.executable, str(build), *options], hub, tmp_path / "home", OPENAI_API_KEY=KEY)
    assert failed.returncode == 2
    assert "is not a valid repository id" in failed.stderr
    assert not teacher.answered


def test_seeds_come_from_the_hub(hub: StubHub, tmp_path: Path) -> None:
    rows = [{"instruction": f"Explain matter {n} to me", "output": "So."} for n in range(3)]
    hub.add_repo("lab/seeds", {"seeds.jsonl": "\n".join(map(json.dumps, rows)).encode()})
    code = (
        "from auto_instruct_hf import read_seeds\n"
        "seeds = read_seeds('lab/seeds')\n"
        "print(seeds['instruction'][:], seeds.info.dataset_name)"
    )
    done = run([sys.executable, "-c", code], hub, tmp_path)
    assert done.stdout.strip() == f"{[row['instruction'] for row in rows]} lab/seeds", done.stderr
