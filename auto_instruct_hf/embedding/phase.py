"""Sentence embeddings of instructions, by any sentence-transformers model, each text embedded once."""

import hashlib
import logging
import sqlite3
import zlib
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
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
        batch_size=_TEXTS_PER_BATCH,
        show_progress=True,
        cache_dir=cache_dir,
    )


def open_encoder(settings: EmbeddingSettings | None = None, cache_dir: Path | None = None) -> Encode:
    """Return a function that embeds texts and reuses the vectors that the cache folder holds, those of `embed` too.

    The vectors have unit length, shape (texts, dimensions). The model is loaded with the first new text. `cache_dir`
    defaults to the folder of `core.apply`.
    """
    settings, folder = settings or EmbeddingSettings(), cache_dir or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / f"vectors-{identify(settings)}.sqlite"
    return partial(encode_new, encode=make_encoder(settings, folder), store=store)


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
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    with closing(sqlite3.connect(store, timeout=60)) as connection:
        connection.executescript(_SCHEMA)
        found = _read(connection, keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        new = sorted(missing, key=lambda key: (len(missing[key]), key))  # similar lengths together: less padding
        for start in range(0, len(new), _TEXTS_PER_COMMIT):
            part = new[start : start + _TEXTS_PER_COMMIT]
            vectors = [vector.astype("<f4").tobytes() for vector in encode([missing[key] for key in part])]
            packed = [_checksum(key, vector) + vector for key, vector in zip(part, vectors, strict=True)]
            with connection:
                connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", zip(part, packed, strict=True))
        found |= _read(connection, new)
    return np.stack([np.frombuffer(found[key], dtype="<f4") for key in keys]).astype(np.float32)


def _checksum(key: bytes, vector: bytes) -> bytes:
    """Return the checksum of a vector, with its key: a damaged index leads to the vector of another text."""
    return zlib.crc32(key + vector).to_bytes(4, "little")


def _read(connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
    """Return the stored vectors by key; delete those with a wrong checksum, which SQLite does not detect."""
    found: dict[bytes, bytes] = {}
    with connection:
        for key in keys:
            for (packed,) in connection.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchall():
                if packed[:4] == _checksum(key, packed[4:]):
                    found[key] = packed[4:]
                else:
                    connection.execute("DELETE FROM vectors WHERE key = ?", (key,))
    return found
