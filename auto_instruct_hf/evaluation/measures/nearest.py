"""How near texts are to each other, or to those of another set, by ROUGE-L F1."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import FloatArray
from ...novelty import TOKENIZERS, NoveltyIndex, choose_tokenizer
from .lengths import describe

# Self-Instruct (arXiv:2212.10560, section 2.2) admits an instruction that is below this against all others.
THRESHOLD = 0.7
_PARTS = 20
_ADMITS_ALL = 1.0  # no F1 is above it


def find_nearest(
    texts: Sequence[str], *, tokenizer: str = "auto", num_rows: int | None = None, seed: int = 42
) -> FloatArray:
    """Find the highest ROUGE-L F1 of each text with any other text of the set, exactly.

    Args:
        texts: Any texts. Those without tokens have 0, even with each other.
        tokenizer: A name in `novelty.TOKENIZERS`; `auto`: as `novelty.choose_tokenizer` says.
        num_rows: Where there are more texts, a random sample of so many is compared with all others; None: all are.
        seed: Decides the sample; the order of the texts does not.

    Returns:
        A value a compared text: in the order of the texts, those of a sample in random order.
    """
    tokenizer = choose_tokenizer(texts) if tokenizer == "auto" else tokenizer
    times = Counter(texts)
    chosen = list(texts)
    if num_rows is not None and num_rows < len(texts):
        ordered = sorted(texts)
        chosen = [ordered[row] for row in np.random.default_rng(seed).permutation(len(texts))[:num_rows]]
    # Copies are told by counting: a pool of many of them is slow.
    own = list(dict.fromkeys(chosen))
    best = _find_nearest_among(own, tokenizer)
    rest = times.keys() - set(own)
    if rest:
        pool = NoveltyIndex(_ADMITS_ALL, tokenizer)
        pool.add(sorted(rest))
        best = np.maximum(best, pool.compare(own).similarity)
    found = dict(zip(own, best.tolist(), strict=True))
    for text in own:
        if times[text] > 1 and TOKENIZERS[tokenizer](text):
            found[text] = 1.0
    return np.array([found[text] for text in chosen], dtype=np.float64)


def measure_nearest(
    texts: Sequence[str],
    *,
    tokenizer: str = "auto",
    num_rows: int | None = None,
    seed: int = 42,
    threshold: float = THRESHOLD,
) -> dict[str, Any]:
    """Measure how near each text is to the other text of the set that is nearest: the set's ROUGE-L with itself.

    Args:
        texts: Any texts.
        tokenizer: As for `find_nearest`.
        num_rows: As for `find_nearest`.
        seed: As for `find_nearest`.
        threshold: In [0, 1].

    Returns:
        `num_texts`; `rouge_l`, the highest F1 of each compared text as `describe` has it, its `count` being the size of
        the sample; `histogram`, how many of them fall in each of 20 parts of [0, 1], the upper edge within;
        `share_above`, of the compared texts those above `threshold` (None without texts); `threshold`.
    """
    return _tell(find_nearest(texts, tokenizer=tokenizer, num_rows=num_rows, seed=seed), len(texts), threshold)


def measure_overlap(
    texts: Sequence[str], references: Sequence[str], *, tokenizer: str = "auto", threshold: float = THRESHOLD
) -> dict[str, Any]:
    """Measure how near each text is to the text of another set that is nearest to it.

    Args:
        texts: Any texts.
        references: The other set: the seeds, a benchmark, another split.
        tokenizer: A name in `novelty.TOKENIZERS`; `auto`: as `novelty.choose_tokenizer` says of both sets.
        threshold: In [0, 1].

    Returns:
        As `measure_nearest`, and `num_references`.
    """
    tokenizer = choose_tokenizer([*texts, *references]) if tokenizer == "auto" else tokenizer
    index = NoveltyIndex(_ADMITS_ALL, tokenizer)
    index.add(list(dict.fromkeys(references)))
    own = list(dict.fromkeys(texts))
    best = dict(zip(own, index.compare(own).similarity.tolist(), strict=True))
    found = np.array([best[text] for text in texts], dtype=np.float64)
    return {**_tell(found, len(texts), threshold), "num_references": len(references)}


def _tell(found: FloatArray, num_texts: int, threshold: float) -> dict[str, Any]:
    return {
        "num_texts": num_texts,
        "rouge_l": describe(found),
        # A hair less, so that a value on an edge falls on its lower side, wherever rounding put it.
        "histogram": np.bincount(
            np.clip(np.ceil(found * _PARTS - 1e-9).astype(int) - 1, 0, _PARTS - 1), minlength=_PARTS
        ).tolist(),
        "share_above": float((found > threshold).mean()) if len(found) else None,
        "threshold": threshold,
    }


def _find_nearest_among(texts: list[str], tokenizer: str) -> FloatArray:
    """Return the highest similarity of each text with another one.

    A text that enters a pool is compared with those before it. Entered the other way round it is compared with the
    rest, and the measure is symmetric to the bit.
    """
    before = NoveltyIndex(_ADMITS_ALL, tokenizer).add_novel(texts).similarity
    after = NoveltyIndex(_ADMITS_ALL, tokenizer).add_novel(texts[::-1]).similarity[::-1]
    return np.maximum(before, after)
