"""Variety of words in a set of texts: distinct n-grams, and the verbs and nouns of instructions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from ...core import root_verb_and_object
from ...novelty import TOKENIZERS, choose_tokenizer
from .evenness import measure_evenness
from .lengths import Figures

_MAX_N = 4
_NUM_SHOWN = 20  # as many verbs as figure 3 of Self-Instruct (arXiv:2212.10560) shows


def measure_distinct(texts: Sequence[str], *, tokenizer: str = "auto", max_n: int = _MAX_N) -> Figures:
    """Measure distinct-n (Li et al. 2016, arXiv:1510.03055) over the whole set.

    It falls as a set grows, whatever it holds: compare sets of the same size.

    Args:
        texts: Any texts.
        tokenizer: A name in `novelty.TOKENIZERS`; `auto`: as `novelty.choose_tokenizer` chooses.
        max_n: The largest n.

    Returns:
        `num_tokens`, and for each n from 1 `distinct_n`: the number of different n-grams divided by that of all
        n-grams, in (0, 1]; no n-gram spans two texts. None where there is no n-gram.
    """
    tokenize = TOKENIZERS[choose_tokenizer(texts) if tokenizer == "auto" else tokenizer]
    codes: dict[str, int] = {}
    rows = [[codes.setdefault(token, len(codes)) for token in tokenize(text)] for text in texts]
    tokens = np.fromiter(chain.from_iterable(rows), dtype=np.int64)
    of_text = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    found: Figures = {"num_tokens": len(tokens)}
    grams = tokens
    for n in range(1, max_n + 1):
        if n > 1:  # an n-gram is the number of its first n - 1 tokens, and the next token
            inside = of_text[: len(of_text) - n + 1] == of_text[n - 1 :]
            grams = np.where(inside, grams[: len(inside)] * max(len(codes), 1) + tokens[n - 1 :], -1)
        there, numbers = np.unique(grams, return_inverse=True)
        grams = numbers.reshape(-1)  # small again, so that the next product fits in 64 bits
        different, total = int((there >= 0).sum()), len(tokens) if n == 1 else int(inside.sum())
        found[f"distinct_{n}"] = different / total if total else None
    return found


def measure_verb_nouns(instructions: Iterable[str]) -> Figures:
    """Measure how varied the root verbs of English instructions and their direct objects are.

    Figure 3 of Self-Instruct (arXiv:2212.10560) shows them; they are found by the rules of `verb_objects`.

    Args:
        instructions: English texts; others have neither.

    Returns:
        `num_texts`; `share_with_verb` and `share_with_both` (None without texts); `num_verbs` and `num_pairs` (distinct
        ones); `effective_verbs` and `effective_pairs`: the number of equally frequent ones with the same entropy (Hill
        number of order 1), 0 without any; `top_verbs`: the 20 most frequent with their counts; `share_of_top_verbs`:
        their share of all verbs.
    """
    found = [root_verb_and_object(text) for text in instructions]
    verbs = Counter(verb for verb, _ in found if verb)
    pairs = Counter(pair for pair in found if all(pair))
    top = sorted(verbs.items(), key=lambda item: (-item[1], item[0]))[:_NUM_SHOWN]
    return {
        "num_texts": len(found),
        "share_with_verb": verbs.total() / len(found) if found else None,
        "share_with_both": pairs.total() / len(found) if found else None,
        "num_verbs": len(verbs),
        "num_pairs": len(pairs),
        "effective_verbs": measure_evenness(list(verbs.elements()))["effective_number"],
        "effective_pairs": measure_evenness(list(pairs.elements()))["effective_number"],
        "top_verbs": dict(top),
        "share_of_top_verbs": sum(count for _, count in top) / verbs.total() if verbs else None,
    }
