"""Sentence embeddings of instructions, by any sentence-transformers model, each text embedded once."""

import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Container, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, List, Value

from ..core import SQLITE_FAILURES, Batch, Columns, Vectors, apply, default_folder
from ..recipe import EmbeddingSettings
from .encoders import Encode, identify, make_encoder

_LOG = logging.getLogger(__name__)
_TEXTS_PER_BATCH = 4096  # bounds the memory that a vector takes several times
_TEXTS_PER_COMMIT = 512
# NORMAL: a power failure costs the last texts, not the file.
_SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)
"""

EMBEDDED_COLUMNS = Features({"instruction_id": Value("string"), "embedding": List(Value("float32"))})
"""One row per instruction; the embedding has unit length."""


def embed(dataset: Dataset, *, settings: EmbeddingSettings | None = None, cache_dir: Path | None = None) -> Dataset:
    """Embed instructions, reusing the vectors that the cache folder holds.

    Args:
        dataset: Columns `instruction_id` and `instruction`.
        settings: The model, its prompt and backend, and the tokens of a batch.
        cache_dir: Folder of the cache; None: as in `core.apply`.

    Returns:
        A dataset with the columns of `EMBEDDED_COLUMNS`, in the same order.
    """
    return apply(
        dataset.select_columns(["instruction_id", "instruction"]),
        embed_batch,
        phase="embed",
        features=EMBEDDED_COLUMNS,
        depends_on=identify(settings or EmbeddingSettings()),
        resources={"encode": open_encoder(settings, cache_dir)},
        make_resources=partial(_open_reader, settings=settings or EmbeddingSettings()),
        batch_size=_TEXTS_PER_BATCH,
        show_progress=True,
        cache_dir=cache_dir,
        on_unit=partial(_store_unit, store=_store(settings or EmbeddingSettings(), cache_dir or default_folder())),
    )


def open_encoder(settings: EmbeddingSettings | None = None, cache_dir: Path | None = None) -> Encode:
    """Return a function that embeds texts and reuses the vectors that the cache folder holds, those of `embed` too.

    The vectors have unit length, shape (texts, dimensions). The model is loaded with the first new text. `cache_dir`
    defaults to the folder of `core.apply`.
    """
    settings, folder = settings or EmbeddingSettings(), cache_dir or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return partial(encode_new, encode=make_encoder(settings, folder), store=_store(settings, folder))


def _open_reader(folder: Path, settings: EmbeddingSettings) -> dict[str, Encode]:
    """Return the resources of a worker, which reads the store and leaves writing to the process that gathers its units.

    On a network file system an SQLite file must not have several writers.
    """
    encode = partial(encode_unstored, encode=make_encoder(settings, folder), store=_store(settings, folder))
    return {"encode": encode}


def _store(settings: EmbeddingSettings, folder: Path) -> Path:
    return folder / f"vectors-{identify(settings)}.sqlite"


def embed_batch(batch: Batch, *, encode: Encode) -> Columns:
    """Embed a batch with the columns `instruction_id` and `instruction`; the result has those of `EMBEDDED_COLUMNS`."""
    return {"instruction_id": batch["instruction_id"], "embedding": list(encode(batch["instruction"]))}


def encode_new(texts: list[str], *, encode: Encode, store: Path) -> Vectors:
    """Return the vectors of texts, shape (texts, dimensions); encode and store those that the store lacks.

    The store is an SQLite file of one model. Several processes may use it; the first vector of a text is kept. A
    corrupt store is replaced; all texts are encoded if it is locked or cannot be written. Without texts the shape is
    (0, 0).
    """
    vectors = np.zeros((0, 0), dtype=np.float32)
    for start in range(0, len(texts), _TEXTS_PER_BATCH):
        part = _encode_part(texts[start : start + _TEXTS_PER_BATCH], encode, store)
        if not start:
            vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
        vectors[start : start + len(part)] = part
    return vectors


def _encode_part(texts: list[str], encode: Encode, store: Path) -> Vectors:
    try:
        return _encode_new(texts, encode, store)
    except sqlite3.OperationalError as error:  # locked for long, read-only, a full disk: not corrupt
        _LOG.warning("%s cannot be used (%s): all texts are embedded", store, error)
        return encode(texts)
    except SQLITE_FAILURES as error:
        _LOG.warning("%s is corrupt (%s): its texts are embedded again", store, error)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{store}{suffix}").unlink(missing_ok=True)
        return _encode_new(texts, encode, store)


def _encode_new(texts: list[str], encode: Encode, store: Path) -> Vectors:
    keys = _make_keys(texts)
    with closing(sqlite3.connect(store, timeout=60)) as connection:
        connection.executescript(_SCHEMA)
        found = _read(connection, keys)
        new = []
        for part, vectors in _encode_missing(dict(zip(keys, texts, strict=True)), found, encode):
            _write(connection, part, vectors)
            new += part
        found |= _read(connection, new)
    return _stack(found, keys)


def encode_unstored(texts: list[str], *, encode: Encode, store: Path) -> Vectors:
    """Return the same vectors as `encode_new` without writing to the store, which nobody writes to meanwhile."""
    keys, found = _make_keys(texts), {}
    if store.exists():
        with (
            suppress(*SQLITE_FAILURES),  # damaged: all texts are encoded
            closing(sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection,
        ):
            found = {key: vector for key in keys if (vector := _find(connection, key))}
    for part, vectors in _encode_missing(dict(zip(keys, texts, strict=True)), dict(found), encode):
        found |= dict(zip(part, vectors, strict=True))
    return _stack(found, keys)


def _store_unit(batch: Batch, unit: pa.Table, *, store: Path) -> None:
    """Write the vectors of a unit that a worker computed to the store; it is a cache: without it nothing is lost."""
    vectors = [np.asarray(vector.values, dtype="<f4").tobytes() for vector in unit["embedding"]]
    try:
        with closing(sqlite3.connect(store, timeout=60)) as connection:
            connection.executescript(_SCHEMA)
            _write(connection, _make_keys(batch["instruction"]), vectors)
    except SQLITE_FAILURES as error:
        _LOG.warning("%s cannot be written (%s): later phases may embed texts again", store, error)


def _encode_missing(
    texts: dict[bytes, str], found: Container[bytes], encode: Encode
) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Yield keys of texts that were not found, and their vectors. How they share batches affects the last bits."""
    missing = {key: text for key, text in texts.items() if key not in found}
    new = sorted(missing, key=lambda key: (len(missing[key]), key))  # similar lengths together: less padding
    for start in range(0, len(new), _TEXTS_PER_COMMIT):
        part = new[start : start + _TEXTS_PER_COMMIT]
        yield part, [vector.astype("<f4").tobytes() for vector in encode([missing[key] for key in part])]


def _write(connection: sqlite3.Connection, keys: list[bytes], vectors: list[bytes]) -> None:
    packed = [_checksum(key, vector) + vector for key, vector in zip(keys, vectors, strict=True)]
    with connection:
        connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", zip(keys, packed, strict=True))


def _make_keys(texts: list[str]) -> list[bytes]:
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]


def _stack(vectors: dict[bytes, bytes], keys: list[bytes]) -> Vectors:
    return np.stack([np.frombuffer(vectors[key], dtype="<f4") for key in keys]).astype(np.float32)


def _checksum(key: bytes, vector: bytes) -> bytes:
    """Return the checksum of a vector, with its key: a damaged index leads to the vector of another text."""
    return zlib.crc32(key + vector).to_bytes(4, "little")


def _read(connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
    """Return the stored vectors by key; delete those with a wrong checksum, which SQLite does not detect."""
    found: dict[bytes, bytes] = {}
    with connection:
        for key in keys:
            vector = _find(connection, key)
            if vector:
                found[key] = vector
            elif vector is not None:
                connection.execute("DELETE FROM vectors WHERE key = ?", (key,))
    return found


def _find(connection: sqlite3.Connection, key: bytes) -> bytes | None:
    """Return the stored vector of a key; None if there is none, b"" if it has a wrong checksum."""
    for (packed,) in connection.execute("SELECT vector FROM vectors WHERE key = ?", (key,)):
        return packed[4:] if packed[:4] == _checksum(key, packed[4:]) else b""
    return None
