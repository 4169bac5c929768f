"""A push is one commit or none, and each failure says what is safe. Real clients, a stub Hub over real HTTP."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow.parquet as pq
import pytest
import yaml
from stub_hub import OTHER_TOKEN, TOKEN, Failure, StubHub, serve_hub
from stub_teacher import KEY, serve_stub
from typer.testing import CliRunner, Result

from auto_instruct_hf.cli.app import app
from auto_instruct_hf.core import make_manifest, write_manifest
from auto_instruct_hf.errors import SourceError
from auto_instruct_hf.evaluation.report.reading import read_build
from auto_instruct_hf.publishing import add_evaluation
from auto_instruct_hf.publishing.hub import push_files

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


def publish(built: Path, *options: str, repo: str = REPO) -> Result:
    done = push(built, *options, repo=repo)
    assert done.exit_code == 0, done.stderr
    return done


def fail(built: Path, *options: str, repo: str = REPO, token: str = TOKEN) -> str:
    """Push with exit status 1; return the one line of the error."""
    failed = push(built, *options, repo=repo, token=token)
    assert failed.exit_code == 1
    assert "Traceback" not in failed.stderr
    last: str = failed.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last


def test_the_same_rows_load_from_folder_branch_tag_and_stream(hub: StubHub, built: Path, tmp_path: Path) -> None:
    done = publish(built, "--tag", "v1.0", "--revision", "main")
    assert done.stdout.startswith("Published: ")
    assert TOKEN not in done.stdout + done.stderr
    repo = hub.repos[REPO]
    assert len(repo.history()) == 2  # the Hub's own first one, and ours
    assert repo.find("v1.0") == repo.history()[0]
    card = repo.find().files["README.md"].decode()
    assert f'load_dataset("{REPO}")' in card
    example = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert example
    folder = str(built / "dataset")
    calls: list[tuple[list[str], dict[str, Any]]] = [([folder, "default"], {}), ([REPO, "default"], {})]
    calls += [([REPO], {"revision": "v1.0"}), ([REPO], {"streaming": True})]
    calls += [([folder, "instances"], {}), ([REPO, "instances"], {})]
    code = (
        "import json, sys, datasets\n"
        "for arguments, options in json.loads(sys.argv[1]):\n"
        "    data = datasets.load_dataset(*arguments, **options)\n"
        "    print(json.dumps([{name: list(part) for name, part in data.items()}, repr(data['train'].features)]))\n"
    )
    shown = run(f"{code}{example[1]}print(sample, instances)", hub, tmp_path, json.dumps(calls))
    lines = shown.stdout.splitlines()
    assert "messages" in "".join(lines[6:]), shown.stderr
    default, instances = lines[:4], lines[4:6]
    assert json.loads(default[0])[0]["train"]
    assert len(set(default)) == len(set(instances)) == 1
    assert default[0] != instances[0]


def test_nothing_changed_is_no_commit(hub: StubHub, built: Path) -> None:
    publish(built)
    repo = hub.repos[REPO]
    before = len(repo.history()), hub.uploaded
    assert publish(built).stdout.startswith("Nothing has changed")
    assert (len(repo.history()), hub.uploaded) == before


def test_files_of_an_earlier_push_are_deleted(hub: StubHub, built: Path, tmp_path: Path) -> None:
    publish(built)
    repo, before = hub.repos[REPO], len(hub.repos[REPO].history())
    smaller = tmp_path / "smaller"
    shutil.copytree(built / "dataset", smaller / "dataset")
    (smaller / "dataset" / "assets" / "verbs.png").unlink()
    write_manifest(smaller / "dataset", make_manifest(smaller / "dataset"))
    larger = {"data/instances/validation-00000-of-00001.parquet": b"rows", "NOTES.md": b"the owner's"}
    repo.add({**repo.find().files, **larger}, "Larger", "alice")
    publish(smaller)
    files = repo.find().files
    assert not [name for name in files if "validation" in name or name.endswith("verbs.png")]
    assert "data/default/train-00000-of-00001.parquet" in files
    assert files["NOTES.md"] == b"the owner's"
    assert len(repo.history()) == before + 2


@pytest.mark.parametrize(
    ("token", "repo", "words"),
    [
        ("hf_wrong", REPO, "the Hub rejects the token"),
        ("", REPO, "no token: set HF_TOKEN"),
        (OTHER_TOKEN, "alice/other", "cannot write to alice/other"),
    ],
)
def test_a_rejected_token_is_one_line(hub: StubHub, built: Path, token: str, repo: str, words: str) -> None:
    message = fail(built, repo=repo, token=token)
    assert words in message
    assert not token or token not in message


@pytest.mark.parametrize("name", ["no such name/at all", "tasks", "a/b/c"])
def test_an_invalid_repository_id_is_wrong_usage(hub: StubHub, built: Path, name: str) -> None:
    failed = push(built, repo=name)
    assert failed.exit_code == 2
    assert "is not a valid repository id" in failed.stderr
    assert not hub.requests


def test_private_stays_private(hub: StubHub, built: Path) -> None:
    publish(built, "--private")
    assert hub.repos[REPO].private
    hub.add_repo("alice/public", {}, private=False)
    assert "exists and is public" in fail(built, "--private", repo="alice/public")


def test_branch_pull_request_and_existing_tag(hub: StubHub, built: Path) -> None:
    publish(built, "--revision", "next", "--tag", "v1")
    repo = hub.repos[REPO]
    assert "README.md" in repo.find("next").files
    assert "README.md" not in repo.find().files
    publish(built, "--create-pr")
    assert "README.md" in repo.find("refs/pr/1").files
    assert "the tag already exists on another commit" in fail(built, "--tag", "v1")
    assert "README.md" not in repo.find().files  # rejected before the commit
    assert push(built, "--create-pr", "--tag", "v2").exit_code == 2


def test_the_commit_of_another_writer_is_kept(hub: StubHub, built: Path) -> None:
    hub.rival = {"theirs.txt": b"kept"}
    publish(built)
    files = hub.repos[REPO].find().files
    assert files["theirs.txt"] == b"kept"
    assert "README.md" in files
    assert sum("/commit/" in path for _, path in hub.requests) == 2  # the first one was rejected


@pytest.mark.parametrize(
    "failure",
    [
        Failure("/commit/", status=503),
        Failure("/commit/", status=429),
        Failure("/commit/", status=0),
        Failure("/commit/", status=0, after=True),  # a commit whose response is lost
        Failure("/repos/create", status=503),
        Failure("/api/datasets/alice/tasks$", status=500),
        None,  # an upload cut in the middle
    ],
)
def test_a_transient_error_is_retried_and_gives_one_commit(hub: StubHub, built: Path, failure: Failure | None) -> None:
    if failure:
        hub.failures.append(replace(failure))
    else:
        hub.cut_uploads = {1}
    assert publish(built).stdout.startswith("Published")
    assert len(hub.repos[REPO].history()) == 2


def test_a_commit_that_keeps_failing_changes_nothing(hub: StubHub, built: Path) -> None:
    hub.failures.append(Failure("/commit/", status=503, times=99))
    assert "run the same command again" in fail(built)
    assert len(hub.repos[REPO].history()) == 1
    hub.failures.clear()
    sent = hub.uploaded
    publish(built)
    assert hub.uploaded == sent  # no file is sent twice
    assert len(hub.repos[REPO].history()) == 2


def test_a_failing_tag_is_reported_as_such(hub: StubHub, built: Path) -> None:
    hub.failures.append(Failure("/tag/", status=500, times=99))
    message = fail(built, "--tag", "v1")
    assert "is published as commit" in message
    assert "only the tag v1 is missing" in message


def test_the_owners_files_stay(hub: StubHub, built: Path) -> None:
    theirs = {"data/precious.csv": b"x", "assets/logo.png": b"y", "data/default/train-00007-of-00009.parquet": b"ours"}
    hub.add_repo(REPO, theirs)
    (built / "dataset" / ".env").write_text("SECRET")
    try:
        publish(built)
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


def test_a_build_without_columns_of_later_versions_is_pushed_and_evaluated(
    hub: StubHub, built: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(built, old)
    later = ("teacher", "prompt", "completion")
    for path in (old / "dataset" / "data").rglob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(list(later)), path)
    report = json.loads((old / "dataset" / "report.json").read_text())
    for name in later:
        del report["columns"][name]
    del report["chat_strategy"], report["has_system"]
    (old / "dataset" / "report.json").write_text(json.dumps(report))
    recipe = yaml.safe_load((old / "dataset" / "recipe.yaml").read_text())
    del recipe["chat"], recipe["judge"]["preferences"]
    (old / "dataset" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    write_manifest(old / "dataset", make_manifest(old / "dataset"))
    assert read_build(old).digest() == read_build(built).digest()
    add_evaluation(old, {})
    publish(old)
    card = hub.repos[REPO].find().files["README.md"].decode()
    assert 'select_columns("messages")' in card
    assert "completion" not in card.partition("```python")[2].partition("## How it was made")[0]


SHARDS = ["data/default/train-00000-of-00001.parquet", "data/instances/train-00000-of-00001.parquet"]


def exchange(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def link_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder.with_name("manifest.json")
    content = json.loads(path.read_text())
    change(content["files"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: exchange(*(folder / name for name in SHARDS)), "train-00000-of-00001.parquet has changed"),
        (lambda folder: link_folder(folder / "data"), "is a link or lies elsewhere"),
        (lambda folder: (folder / SHARDS[0]).write_bytes(bytes((folder / SHARDS[0]).stat().st_size)), "has changed"),
        (
            lambda folder: change_manifest(folder, lambda files: files.pop(SHARDS[0])),
            "names 0 of 4 rows of data/default",
        ),
        (lambda folder: change_manifest(folder, lambda files: files[SHARDS[0]].update(rows=3)), "has changed"),
        (lambda folder: change_manifest(folder, lambda files: files.clear()), "manifest.json is missing or damaged"),
        (lambda folder: folder.with_name("manifest.json").unlink(), "manifest.json is missing or damaged"),
        *(
            (
                lambda folder, name=name: change_manifest(folder, lambda files: files.update({name: {}})),
                "lies elsewhere",
            )
            for name in ("../journal.sqlite", "/etc/hostname", "data/../README.md", "./README.md", "data//README.md")
        ),
    ],
)
def test_a_folder_that_is_not_as_it_was_built_is_refused_before_any_request(
    hub: StubHub, built: Path, tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    damage(copy / "dataset")
    assert words in fail(copy)
    assert not hub.requests


def test_an_evaluation_adds_no_file_and_no_damage_to_the_manifest(hub: StubHub, built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    figures = json.loads((built / "dataset" / "report.json").read_text()).get("evaluation", {})
    (copy / "dataset" / "notes.txt").write_text("private")
    (copy / "dataset" / "README.md").write_text("edited by hand")
    add_evaluation(copy, figures)
    publish(copy)
    assert "notes.txt" not in hub.repos[REPO].find().files
    (copy / "dataset" / SHARDS[0]).unlink()
    with pytest.raises(SourceError, match=r"train-00000-of-00001.parquet is missing"):
        add_evaluation(copy, figures)


@pytest.mark.parametrize("content", ["{}", "[]", "5"])
def test_a_build_of_another_version_is_rejected(hub: StubHub, tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "report.json").write_text(content)
    assert "was built by another version" in fail(tmp_path)


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
    publish(built)
    assert len(hub.repos[REPO].history()) == 2


def test_an_unreachable_hub_is_one_line(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_hub() as hub:
        point_at(hub, monkeypatch)
    assert "the connection to alice/tasks failed" in fail(built)


def test_a_folder_without_a_build_is_rejected(hub: StubHub, tmp_path: Path) -> None:
    assert "is not a built dataset" in fail(tmp_path)
    assert not hub.requests


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Callable[..., Result]]]:
    """Return a folder and a function that builds in it and pushes; only the first call asks the teacher."""
    out = tmp_path_factory.mktemp("push") / "out"
    with serve_stub() as teacher:
        options = ("--teacher", "stub", "--base-url", teacher.url, "--out", str(out), "--num-instructions", "12")
        yield out, partial(call, "build", *options, "--push", REPO, HF_TOKEN=TOKEN, OPENAI_API_KEY=KEY)


def test_build_and_push_in_one_command(hub: StubHub, finished: tuple[Path, Callable[..., Result]]) -> None:
    out, build = finished
    done = build("--license", "cc-by-4.0", "--private", "--tag", "v0.1")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"Published: {hub.url}/datasets/{REPO}")
    repo = hub.repos[REPO]
    assert repo.private
    files = repo.find("v0.1").files
    assert {"README.md", "recipe.yaml", "report.json", "assets/map.png"} <= set(files)
    assert b"license: cc-by-4.0" in files["README.md"]
    written = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
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
        (REPO, TOKEN, "write", ("--title", "caf\udce9"), 2, "write it in UTF-8"),
        (REPO, TOKEN, "write", ("--description", "absent.md"), 2, "absent.md"),
    ],
)
def test_what_a_push_would_fail_on_is_reported_before_any_request(
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


def test_a_push_that_fails_after_the_build_says_how_to_continue(
    hub: StubHub, finished: tuple[Path, Callable[..., Result]]
) -> None:
    out, build = finished
    hub.failures.append(Failure("/commit/", status=503, times=99))
    failed = build()
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


def test_many_shards_are_uploaded_in_parts_once_and_committed_together(hub: StubHub, tmp_path: Path) -> None:
    hub.failures.append(Failure("/commit/", status=503))
    files = {f"data/default/train-{n:05d}-of-00250.parquet": tmp_path / f"{n}.parquet" for n in range(250)}
    for number, path in enumerate(files.values()):
        path.write_bytes(b"PAR1" + number.to_bytes(4, "big"))
    options = {"private": False, "revision": None, "tag": None, "create_pr": False, "token": TOKEN}
    pushed = push_files(files, REPO, "data/.*", **options)
    assert len(hub.repos[REPO].find().files) >= 250
    assert hub.repos[REPO].history()[0].oid.startswith(pushed.commit)
    assert sum(method == "PUT" for method, _ in hub.requests) == hub.uploads == 250
    assert sum("/commit/" in path for _, path in hub.requests) == 2
