"""A growing pool of texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core import FloatArray, IntArray
from .pairwise import Pairwise
from .tokens import TOKENIZERS

if TYPE_CHECKING:
    from .compiled import Compiled

# Ours, estimated from the times of rapidfuzz and of the compiler: above this, importing numba and compiling once is
# faster. The second is the same in tokens, for texts longer than instructions.
MAX_PAIRWISE = 20_000
_MAX_PAIRWISE_TOKENS = 400_000
_PART = 512


@dataclass(frozen=True)
class Verdicts:
    """Results of comparing texts with the pool, one value per text."""

    is_novel: npt.NDArray[np.bool_]
    """Whether no similarity is above the threshold."""
    similarity: FloatArray
    """The highest ROUGE-L F1 with a text of the pool; nan for novel texts unless `nearest` is set."""
    nearest: IntArray
    """The position in the pool of the first text with that similarity; -1 if none shares a token or it is unknown."""

    def __len__(self) -> int:
        return len(self.is_novel)


class NoveltyIndex:
    """A growing pool of texts.

    Decisions and similarities are those of `rouge_score` to the bit, whatever the sizes of pool and batches. A pool of
    more than MAX_PAIRWISE texts or _MAX_PAIRWISE_TOKENS tokens is searched by compiled loops: the first use compiles
    them (some seconds; the result is kept beside the package, in NUMBA_CACHE_DIR or in the user's cache, as numba
    decides).

    Args:
        max_similarity: A text whose ROUGE-L F1 with any earlier one is above this is not novel. In (0, 1].
        tokenizer: A name in TOKENIZERS. Only `rouge` decides as `rouge_score` does.
        nearest: Whether to find the nearest text of novel texts too; it is always found for others.
    """

    def __init__(self, max_similarity: float = 0.7, tokenizer: str = "rouge", *, nearest: bool = True) -> None:
        if not 0 < max_similarity <= 1:
            raise ValueError(f"max_similarity must be in (0, 1], it is {max_similarity}")
        if tokenizer not in TOKENIZERS:
            raise ValueError(f"unknown tokenizer {tokenizer!r}: give one of {', '.join(TOKENIZERS)}")
        self.max_similarity = max_similarity
        self._tokenizer = tokenizer
        self._nearest = nearest
        self._small = Pairwise()
        self._large: Compiled | None = None

    def __len__(self) -> int:
        return len(self._small) if self._large is None else len(self._large)

    def add(self, texts: Sequence[str]) -> None:
        """Add texts to the pool unconditionally."""
        self._grow(len(texts))
        for part in self._parts(texts):
            if self._large is None:
                self._small.add(self._tokenize(part))
            else:
                self._large.add(part)

    def add_novel(self, texts: Sequence[str]) -> Verdicts:
        """Judge texts one after the other, admitting each novel one before the next; return one verdict per text."""
        self._grow(len(texts))
        found = []
        for part in self._parts(texts):
            if self._large is None:
                found.append(self._small.add_novel(self._tokenize(part), self.max_similarity))
            else:
                found.append(self._large.add_novel(part, self.max_similarity, self._floor()))
        return self._judge(found)

    def compare(self, texts: Sequence[str]) -> Verdicts:
        """Judge texts against the pool, not each other, and admit none; return one verdict per text."""
        self._grow(len(texts))
        found = []
        for part in self._parts(texts):
            if self._large is None:
                found.append(self._small.search(self._tokenize(part)))
            else:
                found.append(self._large.search(part, self._floor()))
        return self._judge(found)

    def links(self) -> Iterator[IntArray]:
        """Yield (n, 2) pairs of positions that connect, in chains, the same texts as all pairs above the threshold."""
        yield from (self._small.pairs if self._large is None else self._large.links)(self.max_similarity)

    def _floor(self) -> float:
        return 0.0 if self._nearest else self.max_similarity

    def _tokenize(self, texts: Sequence[str]) -> list[list[str]]:
        return list(map(TOKENIZERS[self._tokenizer], texts))

    def _parts(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """Yield the texts in parts small enough to switch engines in time if the texts are long."""
        start = 0
        while start < len(texts):
            size = len(texts) if self._large is not None else _PART
            yield texts[start : start + size]
            start += size
            self._grow(0)

    def _grow(self, more: int) -> None:
        """Switch to the compiled engine if the pool is, or may become, too large for the other."""
        many = len(self) + more > MAX_PAIRWISE or self._small.num_tokens > _MAX_PAIRWISE_TOKENS
        if self._large is None and many:
            from .compiled import Compiled

            self._large = Compiled(self._tokenizer, self._floor())
            self._large.add(self._small.texts())
            self._small = Pairwise()

    def _judge(self, found: list[tuple[FloatArray, IntArray]]) -> Verdicts:
        similarity = np.concatenate([np.zeros(0), *(best for best, _ in found)])
        nearest = np.concatenate([np.zeros(0, dtype=np.int64), *(position for _, position in found)])
        is_novel = ~(similarity > self.max_similarity)
        if not self._nearest:
            similarity[is_novel], nearest[is_novel] = np.nan, -1
        return Verdicts(is_novel, similarity, nearest)
