"""Texts for the benchmark of novelty: large sets made from small real ones, and sets that are hard on purpose."""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from auto_instruct_hf.novelty.index import NoveltyIndex
from auto_instruct_hf.novelty.tokens import tokenize

HOW = """\
A text is made by crossing two to five real ones at a word that both have (words of at least 1 % of the texts), then
putting another word for 85 % of its other words, drawn by a Zipf-Mandelbrot law (rank + 20)^-1 from the real
words and new ones, 40,000 + 2 n^0.75 in all; 4 % are an earlier text with one to three words changed.
Cut at 150 words."""
_COPIES, _SWAPPED, _LONGEST = 0.04, 0.85, 150
_ONSETS, _RHYMES = "b c d f g l m n p r s t v br st tr pl", "a e i o u an er or il"
_SYLLABLES = [onset + rhyme for onset in _ONSETS.split() for rhyme in _RHYMES.split()]


def make_texts(source: Sequence[str], number: int, seed: int = 0) -> list[str]:
    """Return so many texts as `HOW` says."""
    draw = random.Random(seed)
    rows = [text.split() for text in source]
    count = Counter(word for row in rows for word in set(map(_core, row)) if word)
    common = {word for word, rows_with in count.items() if rows_with >= max(3, len(rows) / 100)}
    rare = Counter(word for row in rows for word in map(_core, row) if word and word not in common)
    words = _extend([word for word, _ in rare.most_common()], 40_000 + int(2 * number**0.75), draw)
    weights = list(accumulate(1 / (np.arange(len(words)) + 20.0)))
    stock = iter(())
    cuts: dict[str, list[tuple[int, int]]] = {}
    for row, text in enumerate(rows):
        for at, word in enumerate(text):
            if at and _core(word) in common:
                cuts.setdefault(_core(word), []).append((row, at))
    made: list[str] = []

    def another() -> str:
        nonlocal stock
        word = next(stock, None)
        if word is None:
            stock = iter(draw.choices(words, cum_weights=weights, k=100_000))
            word = next(stock)
        return word

    while len(made) < number:
        if made and draw.random() < _COPIES:
            text = draw.choice(made).split()
            for _ in range(draw.randint(1, 3)):
                text[draw.randrange(len(text))] = another()
        else:
            text = list(draw.choice(rows))
            for _ in range(draw.randint(1, 4)):
                places = [at for at, word in enumerate(text) if at and _core(word) in cuts]
                if places:
                    at = draw.choice(places)
                    row, start = draw.choice(cuts[_core(text[at])])
                    text = text[:at] + rows[row][start:]
            text = text[:_LONGEST]
            for at, word in enumerate(text):
                core = _core(word)
                if core and core not in common and draw.random() < _SWAPPED:
                    text[at] = word.lower().replace(core, another())
        made.append(" ".join(text))
    return made


def describe(texts: Sequence[str]) -> str:
    """Return the figures by which made texts are held against real ones, of the first thousand."""
    first = list(texts[:1000])
    tokens = [tokenize(text) for text in first]
    lengths = np.array([len(text) for text in tokens])
    count = Counter(token for text in tokens for token in text)
    share = sum(times for _, times in count.most_common(100)) / count.total()
    once = sum(times == 1 for times in count.values()) / len(count)
    verdicts = NoveltyIndex(0.7).add_novel(first)
    return (
        f"tokens a text {lengths.mean():.1f} (5 %, 50 %, 95 %: {_quantiles(lengths)}); distinct tokens {len(count)}, "
        f"met once {once:.0%}, share of the 100 most frequent {share:.0%}; highest similarity "
        f"{_quantiles(verdicts.similarity)}, above 0.7 {1 - verdicts.is_novel.mean():.1%}"
    )


def _core(word: str) -> str:
    tokens = re.findall("[a-z0-9]+", word.lower())
    return tokens[0] if len(tokens) == 1 else ""


def _extend(words: list[str], size: int, draw: random.Random) -> list[str]:
    known = dict.fromkeys(words)
    while len(known) < size:
        known["".join(draw.choices(_SYLLABLES, k=draw.choice((2, 3, 3, 4))))] = None
    return list(known)


def _quantiles(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in np.percentile(values, [5, 50, 95]))


def _all_near_copies(number: int, draw: random.Random) -> list[str]:
    words = [f"w{n}" for n in range(30)]
    texts = []
    for n in range(number):
        text = list(words)
        text[draw.randrange(30)] = f"x{n}"
        texts.append(" ".join(text))
    return texts


def _one_start(number: int, draw: random.Random) -> list[str]:
    start = "please write a short and clear text of your own on"
    return [f"{start} {' '.join(f'w{draw.randrange(20_000)}' for _ in range(10))}" for _ in range(number)]


def _one_length(number: int, draw: random.Random) -> list[str]:
    words = [f"w{int(draw.paretovariate(0.6))}" for _ in range(200_000)]
    return [" ".join(draw.choices(words, k=20)) for _ in range(number)]


def _three_words(number: int, draw: random.Random) -> list[str]:
    return [" ".join(f"w{draw.randrange(2000)}" for _ in range(3)) for _ in range(number)]


def _few_words(number: int, draw: random.Random) -> list[str]:
    return [" ".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=12)) for _ in range(number)]


def _long(number: int, draw: random.Random) -> list[str]:
    words = [f"w{int(draw.paretovariate(0.6)) % 50_000}" for _ in range(1_000_000)]
    texts = []
    for _ in range(number // 100):
        at = draw.randrange(990_000)
        texts.append(" ".join(words[at : at + 10_000]))
    return texts


HARD: dict[str, Callable[[int, random.Random], list[str]]] = {
    "all near copies of one text": _all_near_copies,
    "one start of ten words": _one_start,
    "all of 20 words, Zipf": _one_length,
    "all of three words": _three_words,
    "12 words of an alphabet of 26": _few_words,
    "10,000 words, a hundredth as many": _long,
    "one text": lambda number, _: ["write a short and clear text of your own on this"] * number,
}
