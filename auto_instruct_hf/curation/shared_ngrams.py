"""Runs of words that texts have in common with others."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..novelty import tokenize_unicode

# Brown et al. 2020 (arXiv:2005.14165), appendix C: the shortest run that counts as an overlap has 8 words.
_SHORTEST_RUN = 8

BoolArray = npt.NDArray[np.bool_]


def find_shared_runs(texts: Sequence[str], references: Sequence[str], size: int) -> BoolArray:
    """Find the texts that share a run of words with a reference.

    The rule of Brown et al. 2020 (arXiv:2005.14165, section 4 and appendix C): `size` words in a row, or a whole
    reference that is shorter. One of fewer than 8 words must be the whole text as well (ours: a short question stands
    in many texts by chance). Words are runs of letters and digits of any script, case folded.

    Args:
        texts: Any texts.
        references: What they are compared with.
        size: Words in a run.

    Returns:
        Whether each text shares a run with at least one reference.
    """
    words = [tokenize_unicode(reference) for reference in references]
    whole = {tuple(one) for one in words if one}
    runs: dict[int, set[str]] = {}
    for one in words:
        length = min(len(one), size)
        if length >= min(_SHORTEST_RUN, size):
            runs.setdefault(length, set()).update(_runs(one, length))
    return np.array([_holds(tokenize_unicode(text), runs, whole) for text in texts], dtype=np.bool_)


def _holds(words: list[str], runs: dict[int, set[str]], whole: set[tuple[str, ...]]) -> bool:
    shares = any(not known.isdisjoint(_runs(words, length)) for length, known in runs.items())
    return shares or tuple(words) in whole


def _runs(words: list[str], length: int) -> Iterator[str]:
    return (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
