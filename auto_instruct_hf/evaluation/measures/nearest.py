"""ROUGE-L F1 of texts with the nearest text of their own set, or of another set."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ...core import FloatArray
from ...novelty import TOKENIZERS, NoveltyIndex, choose_tokenizer
from .lengths import Figures, describe_values

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
        tokenizer: A name in `novelty.TOKENIZERS`; `auto`: as `novelty.choose_tokenizer` chooses.
        num_rows: Size of the random sample of texts that are compared with all others; None: all texts.
        seed: Seed of the sample; the order of the texts does not change it.

    Returns:
        One value per compared text, in the order of the texts; a sample is in random order.
    """
    tokenizer = choose_tokenizer(texts) if tokenizer == "auto" else tokenizer
    times = Counter(texts)
    chosen = list(texts)
    if num_rows is not None and num_rows < len(texts):
        ordered = sorted(texts)
        chosen = [ordered[row] for row in np.random.default_rng(seed).permutation(len(texts))[:num_rows]]
    # Copies are found by counting: a pool with many of them is slow.
    own = list(dict.fromkeys(chosen))
    # A text that enters a pool is compared with the texts before it. Entering them in reverse order as well compares
    # all pairs, since the measure is symmetric to the bit.
    before = NoveltyIndex(_ADMITS_ALL, tokenizer).add_novel(own).similarity
    after = NoveltyIndex(_ADMITS_ALL, tokenizer).add_novel(own[::-1]).similarity[::-1]
    best = np.maximum(before, after)
    if rest := times.keys() - set(own):
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
) -> Figures:
    """Measure how near each text is to the nearest other text of the set.

    Args:
        texts: Any texts.
        tokenizer: As for `find_nearest`.
        num_rows: As for `find_nearest`.
        seed: As for `find_nearest`.
        threshold: In [0, 1].

    Returns:
        `num_texts`; `rouge_l`, the highest F1 of each compared text as `describe_values` returns it, its `count` being
        the size of the sample; `histogram`, the number of texts in each of 20 bins of [0, 1], upper edges inclusive;
        `share_above`, the share of compared texts above `threshold` (None without texts); `threshold`.
    """
    return _describe(find_nearest(texts, tokenizer=tokenizer, num_rows=num_rows, seed=seed), len(texts), threshold)


def measure_overlap(
    texts: Sequence[str], others: Sequence[str], *, tokenizer: str = "auto", threshold: float = THRESHOLD
) -> Figures:
    """Measure how near each text is to the nearest text of another set, by ROUGE-L F1 without stemming.

    Args:
        texts: Any texts.
        others: The other set: the seeds, a benchmark, another split.
        tokenizer: A name in `novelty.TOKENIZERS`; `auto`: as `novelty.choose_tokenizer` chooses for both sets.
        threshold: In [0, 1].

    Returns:
        `num_texts`; `num_references`; `rouge_l`, the distribution of the highest F1 of each text; its `histogram`;
        `share_above` the `threshold`.
    """
    tokenizer = choose_tokenizer([*texts, *others]) if tokenizer == "auto" else tokenizer
    index = NoveltyIndex(_ADMITS_ALL, tokenizer)
    index.add(list(dict.fromkeys(others)))
    own = list(dict.fromkeys(texts))
    best = dict(zip(own, index.compare(own).similarity.tolist(), strict=True))
    found = np.array([best[text] for text in texts], dtype=np.float64)
    return {**_describe(found, len(texts), threshold), "num_references": len(others)}


def _describe(found: FloatArray, num_texts: int, threshold: float) -> Figures:
    # Slightly less, so that a value on an edge falls into the lower bin however it was rounded.
    bins = np.clip(np.ceil(found * _PARTS - 1e-9).astype(int) - 1, 0, _PARTS - 1)
    return {
        "num_texts": num_texts,
        "rouge_l": describe_values(found),
        "histogram": np.bincount(bins, minlength=_PARTS).tolist(),
        "share_above": float((found > threshold).mean()) if len(found) else None,
        "threshold": threshold,
    }
