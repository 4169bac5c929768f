"""Measurements of wording: distinct n-grams, root verbs and their objects, and ROUGE-L to the nearest text."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from ...core import root_verb_and_object
from ...novelty import TOKENIZERS, NoveltyIndex, choose_tokenizer
from .distributions import Figures, describe_values, measure_evenness

# Self-Instruct (arXiv:2212.10560, section 2.2) admits an instruction that is below this against all others.
_THRESHOLD = 0.7
_NUM_BINS = 20
_ADMITS_ALL = 1.0  # no F1 is above it
_NUM_SHOWN = 20  # as many verbs as figure 3 of Self-Instruct shows


def measure_distinct(texts: Sequence[str], *, tokenizer: str = "auto", max_n: int = 4) -> Figures:
    """Measure distinct-n over the whole set (Li et al. 2016, arXiv:1510.03055), for n from 1 to `max_n`.

    `num_tokens`, and for each n `distinct_n`: the number of different n-grams divided by that of all, in (0, 1], None
    if there is none; no n-gram spans two texts. It falls as a set grows: compare sets of the same size. `tokenizer` is
    a name in `novelty.TOKENIZERS`, or `auto` as `novelty.choose_tokenizer` chooses.
    """
    tokenize = TOKENIZERS[choose_tokenizer(texts) if tokenizer == "auto" else tokenizer]
    codes: dict[str, int] = {}
    rows = [[codes.setdefault(token, len(codes)) for token in tokenize(text)] for text in texts]
    tokens = np.fromiter(chain.from_iterable(rows), dtype=np.int64)
    text_of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    found: Figures = {"num_tokens": len(tokens)}
    grams = np.zeros(len(tokens), dtype=np.int64)
    for n in range(1, max_n + 1):  # an n-gram is the number of its first n - 1 tokens, and the next token
        inside = text_of[: len(tokens) - n + 1] == text_of[n - 1 :]
        grams = np.where(inside, grams[: len(inside)] * len(codes) + tokens[n - 1 :], -1)
        kinds, grams = np.unique(grams, return_inverse=True)  # small again: the next product fits in 64 bits
        total = int(inside.sum())
        found[f"distinct_{n}"] = int((kinds >= 0).sum()) / total if total else None
    return found


def measure_verb_nouns(instructions: Iterable[str]) -> Figures:
    """Measure how varied the root verbs of English instructions and their direct objects are.

    Figure 3 of Self-Instruct (arXiv:2212.10560) shows them; they are found by the rules of `verb_objects`.

    Args:
        instructions: English texts; others have neither.

    Returns:
        `num_texts`; `share_with_verb` and `share_with_both` (None without texts); `num_verbs` and `num_pairs` (distinct
        ones); `effective_verbs` and `effective_pairs`: the number of equally frequent ones with the same entropy (Hill
        number of order 1); `top_verbs`: the 20 most frequent with their counts, and `share_of_top_verbs`.
    """
    found = [root_verb_and_object(text) for text in instructions]
    verbs = Counter(verb for verb, _ in found if verb)
    pairs = Counter(pair for pair in found if all(pair))
    top = dict(sorted(verbs.items(), key=lambda item: (-item[1], item[0]))[:_NUM_SHOWN])
    return {
        "num_texts": len(found),
        "share_with_verb": verbs.total() / len(found) if found else None,
        "share_with_both": pairs.total() / len(found) if found else None,
        "num_verbs": len(verbs),
        "num_pairs": len(pairs),
        "effective_verbs": measure_evenness(list(verbs.elements()))["effective_number"],
        "effective_pairs": measure_evenness(list(pairs.elements()))["effective_number"],
        "top_verbs": top,
        "share_of_top_verbs": sum(top.values()) / verbs.total() if verbs else None,
    }


def measure_nearest(
    texts: Sequence[str],
    *,
    tokenizer: str = "auto",
    num_rows: int | None = None,
    seed: int = 42,
    threshold: float = _THRESHOLD,
) -> Figures:
    """Measure the ROUGE-L F1 of each text with the nearest other text of the set, exactly; 0 for texts without tokens.

    `num_texts`; `rouge_l`, the distribution of the F1 over the compared texts, a random sample of `num_rows` or all;
    `histogram`, their number in each of 20 bins of [0, 1], upper edges inclusive; `share_above` the `threshold` in
    [0, 1], None without texts. The order of the texts does not matter; `tokenizer` is as for `measure_distinct`.
    """
    tokenizer = choose_tokenizer(texts) if tokenizer == "auto" else tokenizer
    times, chosen = Counter(texts), list(texts)
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
    is_copy = [times[text] > 1 and bool(TOKENIZERS[tokenizer](text)) for text in own]
    found = dict(zip(own, np.where(is_copy, 1.0, best).tolist(), strict=True))
    return _describe([found[text] for text in chosen], len(texts), threshold)


def measure_overlap(
    texts: Sequence[str], others: Sequence[str], *, tokenizer: str = "auto", threshold: float = _THRESHOLD
) -> Figures:
    """Measure the ROUGE-L F1 (without stemming) of each text with the nearest text of another set.

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
    return {**_describe([best[text] for text in texts], len(texts), threshold), "num_references": len(others)}


def _describe(values: Sequence[float], num_texts: int, threshold: float) -> Figures:
    found = np.array(values, dtype=np.float64)
    # Slightly less, so that a value on an edge falls into the lower bin however it was rounded.
    bins = np.clip(np.ceil(found * _NUM_BINS - 1e-9).astype(int) - 1, 0, _NUM_BINS - 1)
    return {
        "num_texts": num_texts,
        "rouge_l": describe_values(found),
        "histogram": np.bincount(bins, minlength=_NUM_BINS).tolist(),
        "share_above": float((found > threshold).mean()) if len(found) else None,
        "threshold": threshold,
    }
