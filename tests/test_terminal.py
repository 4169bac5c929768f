"""What models and servers write never reaches a terminal as it is: the bytes of real commands hold no control codes."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from stub_hub import TOKEN
from stub_instances import patch_embedding, patch_plots, run_command
from stub_teacher import KEY, serve_stub

from auto_instruct_hf.cli.console import complain, print_table, say

# The title of the window, a cleared screen, a color in the 8-bit form, text from right to left, a line written over.
OBEYED = "\x1b]0;owned\x07\x1b[2J\x08\r\x9b31m\u202e\u2066"
KEPT = "\x9b31m\u202e\u2066"  # in replies that are used: those with other control characters are not
CODES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ROOT = Path(__file__).parents[1]
RECIPE = """
bootstrap: {requests_per_round: 4}
filters: {skip: [control characters]}
clustering: {num_clusters: 2, n_neighbors: 100}
teacher: {max_retries: 1, max_failing: 1}
"""


def add_codes(value: Any) -> Any:
    """Add control codes to all texts of an answer."""
    if isinstance(value, dict):
        return {name: add_codes(one) for name, one in value.items()}
    if isinstance(value, list):
        return [add_codes(one) for one in value]
    return f"{value} {KEPT}" if isinstance(value, str) and value != "None" else value


def hostile(handler: Any) -> Any:
    """Return a handler of the stub teacher with control codes in all that it says."""

    class Hostile(handler):  # type: ignore[misc]
        def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            if status != 200:
                body = {"error": {"message": f"{OBEYED} {body}", "type": OBEYED, "code": OBEYED}}
            elif isinstance(body, dict):
                message = body["choices"][0]["message"]
                if message.get("refusal"):
                    message["refusal"] += OBEYED
                else:
                    try:
                        message["content"] = json.dumps(add_codes(json.loads(message["content"])), ensure_ascii=False)
                    except ValueError:  # a broken reply
                        message["content"] += OBEYED
            super()._send(status, body, headers)

    return Hostile


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command with the key of the stub; return what it printed, which holds no control codes."""
    patch_embedding(monkeypatch)
    patch_plots(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("JUDGE_API_KEY", KEY)

    def run_and_check(*arguments: object) -> str:
        said = run_command(*arguments).output + "".join(capfd.readouterr())
        assert not CODES.search(said), said
        assert "Traceback" not in said
        return said

    return run_and_check


def test_replies_are_shown_without_their_control_codes(tmp_path: Path, run: Callable[..., str]) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    faults = {"poison": 0.1, "refused": 0.2, "broken": 0.1, "garbage": 0.1}
    out = tmp_path / "out"
    with serve_stub(hostile, faults=faults, poison=400) as stub:
        options = ("--teacher", "stub", "--base-url", stub.url, "--recipe", tmp_path / "recipe.yaml", "--out", out)
        assert "[reply]" in run("build", *options, "--preview", 3)
        assert "30 rows drawn" in run("build", *options, "--num-instructions", 12, "--num-samples", 30)
        judge = ("--judge", "stub", "--judge-base-url", stub.url, "--size", 6, "--no-embeddings", *options[4:6])
        assert "shares of yes" in run("evaluate", out, *judge)
    assert "failed in" in run("journal", out)
    assert "20 found" in run("journal", out, "--grep", KEPT)
    with sqlite3.connect(out / "journal.sqlite") as journal:
        rows = journal.execute("SELECT key, error FROM replies").fetchall()
    shown = {error.partition(":")[0]: key for key, error in rows}
    assert {"", "no answer", "refused"} <= set(shown)
    for key in shown.values():
        assert "--- reply" in run("journal", out, "--show", key)


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_refusals_are_told_without_their_control_codes(tmp_path: Path, run: Callable[..., str], status: int) -> None:
    (tmp_path / "recipe.yaml").write_text("teacher: {max_retries: 0}\n")
    with serve_stub(hostile, down=status) as stub:
        options = ("--teacher", "stub", "--base-url", stub.url, "--recipe", tmp_path / "recipe.yaml")
        assert f"Error code: {status}" in run("build", *options, "--out", tmp_path / "out")


@contextmanager
def hostile_hub(status: int) -> Iterator[str]:
    """Serve a Hub that answers everything with a status and control codes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.dumps({"error": f"no {OBEYED}", "errors": [{"message": OBEYED}]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-HF-Warning", "topic; \x9b31m")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_POST  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [400, 403])
def test_words_of_a_hub_are_told_without_their_control_codes(built: Path, tmp_path: Path, status: int) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    with hostile_hub(status) as url:
        done = subprocess.run(
            [sys.executable, "-m", "auto_instruct_hf", "push", str(built), "alice/tasks"],
            env=clean | {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
        )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert "error: " in said
    assert not CODES.search(said), said


def test_one_function_prints_everything(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a{OBEYED}:smile:[bold]\ud800")
    complain(OBEYED)
    print_table(OBEYED, (OBEYED, "b"), [(OBEYED, OBEYED)])
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].endswith(":smile:[bold]\ufffd")
    assert not CODES.search(shown.out + shown.err)


def test_what_libraries_print_is_printable() -> None:
    code = (
        "import logging, sys, warnings\n"
        "from auto_instruct_hf.cli.console import exit_status\n"
        "library = logging.getLogger('a library with a handler of its own')\n"
        "library.addHandler(logging.StreamHandler())\n"
        "with exit_status():\n"
        "    library.error('it said %s', sys.argv[1])\n"
        "    warnings.warn(sys.argv[1])\n"
        "    raise RuntimeError(sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, OBEYED], cwd=ROOT, capture_output=True, check=False)
    said = done.stderr.decode()
    for words in ("it said", "UserWarning", "RuntimeError"):
        assert words in said
    assert not CODES.search(said), said
