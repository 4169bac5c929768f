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

from ..core import Batch, Columns, Vectors, apply, default_folder
from ..recipe import EmbeddingSettings
from .encoders import Encode, identify, make_encoder

_LOG = logging.getLogger(__name__)
# Texts per transaction: what is lost if the process is killed.
_COMMIT = 512
_BATCH = 4096
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
_SELECT = "SELECT key, vector FROM vectors WHERE key IN ({})"
_KEYS = 500  # a statement; SQLite takes 999 everywhere

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
    settings, folder = settings or EmbeddingSettings(), cache_dir or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    identity = identify(settings)
    store = folder / f"vectors-{identity}.sqlite"
    return apply(
        dataset.select_columns(["instruction_id", "instruction"]),
        embed_batch,
        phase="embed",
        features=EMBEDDED_COLUMNS,
        depends_on=identity,
        resources={"encode": partial(encode_new, encode=make_encoder(settings, folder), store=store)},
        batch_size=_BATCH,
        show_progress=True,
        cache_dir=folder,
    )


def embed_batch(batch: Batch, *, encode: Encode) -> Columns:
    """Embed a batch of instructions.

    Args:
        batch: Columns `instruction_id` and `instruction`.
        encode: Texts to vectors, float32 of shape (texts, dimensions).

    Returns:
        Columns as `EMBEDDED_COLUMNS`.
    """
    return {"instruction_id": batch["instruction_id"], "embedding": list(encode(batch["instruction"]))}


def encode_new(texts: list[str], *, encode: Encode, store: Path) -> Vectors:
    """Return the vectors of texts; encode and store those that are missing in the store.

    Several processes may use one store; the first vector of a text is kept. A corrupt store is replaced.

    Args:
        texts: In any order; duplicates are allowed.
        encode: Texts to vectors.
        store: An SQLite file; its name identifies the model.

    Returns:
        Shape (texts, dimensions), in the order of the texts.
    """
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    try:
        return _encode_new(texts, keys, encode, store)
    except sqlite3.OperationalError as error:  # locked for long, read-only, a full disk: not broken
        _LOG.warning("%s cannot be used (%s): all texts are embedded", store, error)
    except sqlite3.DatabaseError as error:
        _LOG.warning("%s is broken (%s): its texts are embedded anew", store, error)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{store}{suffix}").unlink(missing_ok=True)
        return _encode_new(texts, keys, encode, store)
    return encode(texts)


def _encode_new(texts: list[str], keys: list[bytes], encode: Encode, store: Path) -> Vectors:
    with closing(sqlite3.connect(store, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a power failure costs the last texts, not the file
        connection.execute(_TABLE)
        found = _read(connection, keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        new = sorted(missing, key=lambda key: (len(missing[key]), key))  # like lengths together: less padding
        for start in range(0, len(new), _COMMIT):
            part = new[start : start + _COMMIT]
            vectors = encode([missing[key] for key in part])
            rows = [(key, _pack(vector)) for key, vector in zip(part, vectors, strict=True)]
            with connection:
                connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
        found |= _read(connection, new)
    return np.stack([np.frombuffer(found[key], dtype="<f4") for key in keys]).astype(np.float32)


def _pack(vector: Vectors) -> bytes:
    content = vector.astype("<f4").tobytes()
    return zlib.crc32(content).to_bytes(4, "little") + content


def _read(connection: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for start in range(0, len(keys), _KEYS):
        part = keys[start : start + _KEYS]
        for key, packed in connection.execute(_SELECT.format(", ".join("?" * len(part))), part).fetchall():
            if zlib.crc32(packed[4:]).to_bytes(4, "little") == packed[:4]:
                found[key] = packed[4:]
            else:  # SQLite notices a broken page, not a broken value
                connection.execute("DELETE FROM vectors WHERE key = ?", (key,))
    connection.commit()
    return found
