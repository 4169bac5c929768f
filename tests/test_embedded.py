"""The default run needs no key and no network: the real small model must start, answer, and end with its parent."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from auto_instruct_hf import Teacher
from auto_instruct_hf.core.packaged_weights import WeightsError, find_weights
from auto_instruct_hf.errors import TeacherError
from auto_instruct_hf.prompts.prompt import load_prompts
from auto_instruct_hf.teacher import Request
from auto_instruct_hf.teacher.embedded import embedded_server, start_embedded_server

PROMPTS = load_prompts("small")


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_the_packaged_model_answers_by_the_schema(tmp_path: Path) -> None:
    with Teacher("embedded", journal=tmp_path / "journal.sqlite") as teacher:
        requests = [
            Request(PROMPTS["classify"], PROMPTS["classify"].messages(instruction="Is this mail spam or not spam?")),
            Request(PROMPTS["output"], PROMPTS["output"].messages(instruction="Name a fruit.", input="", strategy="")),
        ]
        kind, answer = teacher.ask(requests)
        assert kind.content == {"is_classification": True}
        assert answer.content is not None
        assert answer.content["output"].strip()
        assert teacher.journal.usage()[0].input_tokens > 50
        assert teacher.spent().dollars == 0


def test_server_asks_for_its_key() -> None:
    import openai

    address, _, stop = start_embedded_server()
    try:
        assert address.startswith("http://127.0.0.1:")
        client = openai.OpenAI(base_url=address, api_key="another", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}])
    finally:
        stop()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_server_ends_with_its_parent_even_by_sigkill() -> None:
    code = (
        "import os, signal, subprocess, sys\n"
        "from auto_instruct_hf.teacher.embedded import start_embedded_server\n"
        "started = []\n"
        "start = subprocess.Popen\n"
        "subprocess.Popen = lambda *a, **k: started.append(start(*a, **k)) or started[-1]\n"
        "start_embedded_server()\n"
        "print(started[0].pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    deadline = time.monotonic() + 5
    while is_running(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_missing_or_wrong_weights_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="nowhere-to-be-found with model weights is not installed"):
        find_weights("nowhere-to-be-found", ".gguf", "")
    with pytest.raises(WeightsError, match=r"without its \.gguf file"):
        find_weights("pytest", ".gguf", "")
    with pytest.raises(WeightsError, match="is not the expected file"):
        find_weights("pytest", "__init__.py", "0" * 64)
    monkeypatch.setattr(embedded_server, "_WEIGHTS_PACKAGE", "nowhere-to-be-found")
    with pytest.raises(TeacherError, match="--no-deps"):
        start_embedded_server()
