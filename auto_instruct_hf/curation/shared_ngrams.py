"""N-grams of words that texts share with references."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..novelty import tokenize_unicode

# Brown et al. 2020 (arXiv:2005.14165), appendix C: the shortest overlap that counts has 8 words.
_MIN_WORDS = 8


def find_shared_runs(texts: Sequence[str], references: Sequence[str], size: int) -> npt.NDArray[np.bool_]:
    """Return whether each text shares consecutive words with at least one reference.

    The rule of Brown et al. 2020 (arXiv:2005.14165, section 4 and appendix C): `size` consecutive words, or a whole
    reference that is shorter. A reference of fewer than 8 words must be the whole text (ours: many texts contain a
    short question by chance). Words are runs of letters and digits of any script, case folded.
    """
    words = [tokenize_unicode(reference) for reference in references]
    whole = {tuple(one) for one in words if one}
    known: dict[int, set[str]] = {}
    for one in words:
        length = min(len(one), size)
        if length >= min(_MIN_WORDS, size):
            known.setdefault(length, set()).update(_ngrams(one, length))
    found = [
        tuple(own) in whole or any(not ngrams.isdisjoint(_ngrams(own, length)) for length, ngrams in known.items())
        for own in map(tokenize_unicode, texts)
    ]
    return np.array(found, dtype=np.bool_)


def _ngrams(words: list[str], length: int) -> Iterator[str]:
    return (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
