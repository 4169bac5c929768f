"""Faults made by program in good rows, to measure which kinds a judge catches.

A fault is made only where the row is then truly wrong, as far as a program can tell. What reads the texts reads
English: in other languages, figures, sentences and limits of words are rarely or never changed.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...core import make_id, normalise
from ..questions import DatasetRow
from .limits import ITEM, count_answer_words, find_word_limit
from .parts import CODE, COMPUTED, FIGURE, shorten

OTHER_OUTPUT = "other output"
Changes = dict[str, str]
"""New texts by column."""
_RESULT, _DENIED = re.compile(r"[=≈]\s*(?:\*\*)?[£$€]?$"), re.compile(r"(?:n['\u2019]t|\bnot) (?:\w+ )?$")
_MIN_GARBLED, _MIN_LIMITED = 6, 12  # words
_TRIES = 20
# Words of instructions in general, which say nothing of a task's subject.
_COMMON = re.compile(
    "about|above|after|again|answer|being|below|choose|describe|example|explain|first|following|given|input|instruction"
    "|least|literally|might|other|output|point|question|rather|sentence|short|should|start|state|still|their|there|these"
    "|thing|think|those|three|under|using|which|while|whole|without|words|would|write|writing"
)


class Pool:
    """All rows of a dataset, as donors of outputs, inputs, strategies and labels; their order does not matter."""

    def __init__(self, rows: Sequence[DatasetRow]) -> None:
        donors = sorted(rows, key=lambda row: str(row["instance_id"]))
        self._by_kind = {kind: [row for row in donors if row["is_classification"] == kind] for kind in (False, True)}
        self._labels: dict[str, dict[str, str]] = {}
        for row in self._by_kind[True]:
            self._labels.setdefault(row["instruction_id"], {}).setdefault(simplify_answer(row["output"]), row["output"])

    def others(self, row: DatasetRow, start: int) -> Iterator[DatasetRow]:
        """Yield all rows of other instructions of the same kind, from the one at `start`, modulo their number, on."""
        donors = self._by_kind[row["is_classification"]]
        for place in range(len(donors)):
            donor = donors[(start + place) % len(donors)]
            if donor["instruction_id"] != row["instruction_id"]:
                yield donor

    def other_labels(self, row: DatasetRow) -> list[str]:
        """Return the other outputs of a classification task, sorted."""
        labels = self._labels.get(row["instruction_id"], {})
        return sorted(text for key, text in labels.items() if key != simplify_answer(row["output"]))


class Source:
    """What a fault is made with: the pool, and random numbers of its own."""

    def __init__(self, pool: Pool, *seeds: int) -> None:
        self.pool = pool
        self.generator = np.random.default_rng(seeds)

    def others(self, row: DatasetRow) -> Iterator[DatasetRow]:
        """Yield all rows of other instructions of the same kind, from a random one on."""
        return self.pool.others(row, int(self.generator.integers(2**32)))

    def pick(self, options: Sequence[str]) -> str:
        """Return one of the options."""
        return options[int(self.generator.integers(len(options)))]


@dataclass(frozen=True)
class Fault:
    """A kind of fault: `make` returns the changed texts of a row, None where it does not apply.

    `meaning` describes it in reports. It is caught if one of `questions` is answered no.
    """

    meaning: str
    questions: tuple[str, ...]
    make: Callable[[DatasetRow, Source], Changes | None] = field(repr=False)
    doubt: str = ""
    """Why a few of these rows may be right all the same."""


def make_fault(name: str, row: DatasetRow, pool: Pool, seed: int) -> DatasetRow | None:
    """Return a row with a fault of FAULTS, None where it does not apply; the row, the pool and the seed decide it.

    The rows have the columns `verdicts.READ` and `instruction_id`.
    """
    changes = FAULTS[name].make(row, Source(pool, seed, int(make_id(name, row["instance_id"]), 16)))
    return {**row, **changes} if changes and any(row[column] != text for column, text in changes.items()) else None


def simplify_answer(text: str) -> str:
    """Return a text without case and punctuation, so that "Yes." and "yes" are equal."""
    return re.sub(r"\W+", " ", normalise(text)).strip() or text


def _list_words(text: str) -> set[str]:
    """Return the words of five letters or more that name a subject, each by its first five: its forms are one."""
    return {word[:5] for word in re.findall(r"[^\W\d_]{5,}", text.lower()) if not _COMMON.fullmatch(word)}


def _swap_output(row: DatasetRow, source: Source) -> Changes | None:
    own = simplify_answer(row["output"])
    outputs = (donor["output"] for donor in source.others(row))
    return next(({"output": text} for text in outputs if simplify_answer(text) != own), None)


def _swap_label(row: DatasetRow, source: Source) -> Changes | None:
    labels = source.pool.other_labels(row) if row["is_classification"] else []
    return {"output": source.pick(labels)} if labels else None


def _swap_input(row: DatasetRow, source: Source) -> Changes | None:
    """Take the input of a task that shares no longer word with this one: another could suit both.

    Not in classification, whose label may happen to be right for the other input.
    """
    if row["is_classification"] or not row["input"]:
        return None
    own, own_input = _list_words(row["instruction"]), simplify_answer(row["input"])
    for donor in source.others(row):
        if (
            donor["input"]
            and simplify_answer(donor["input"]) != own_input
            and not own & _list_words(donor["instruction"])
        ):
            return {"input": donor["input"]}
    return None


def _swap_strategy(row: DatasetRow, source: Source) -> Changes | None:
    """Take a strategy that names something of its own task which this row lacks: a general one may suit both."""
    if row["is_classification"] or not row["attribute"]:
        return None
    own = _list_words(" ".join(row[name] for name in ("instruction", "attribute", "input", "output")))
    for donor in source.others(row):
        words = _list_words(donor["attribute"])
        if words & _list_words(donor["instruction"]) and not words & own:
            return {"attribute": donor["attribute"]}
    return None


def _garble_instruction(row: DatasetRow, source: Source) -> Changes | None:
    """Shuffle the words until at most a third of the pairs of neighbors are left."""
    words = row["instruction"].split()
    pairs = set(itertools.pairwise(words))
    if len(words) < _MIN_GARBLED or len(set(words)) < _MIN_GARBLED:
        return None
    for _ in range(_TRIES):
        shuffled = [words[place] for place in source.generator.permutation(len(words))]
        if sum(pair in pairs for pair in itertools.pairwise(shuffled)) <= len(words) / 3:
            return {"instruction": " ".join(shuffled)}
    return None


def _break_limit(row: DatasetRow, source: Source) -> Changes | None:
    """Move the limit of words in the instruction so far that the output, unchanged, breaks it by two thirds."""
    limit, words = find_word_limit(row["instruction"]), count_answer_words(row["output"])
    if limit is None or words < _MIN_LIMITED or row["is_classification"]:
        return None
    is_maximum = limit.low is None or (limit.high is not None and source.pick("01") == "0")
    # In steps of five, as people write limits.
    aim = max(5, int(words * 0.6) // 5 * 5) if is_maximum else -(-int(words / 0.6) // 5) * 5
    bound = limit.spans[-1 if is_maximum else 0][2]
    text = row["instruction"]
    for start, end, value in reversed(limit.spans):
        text = f"{text[:start]}{max(1, round(value * aim / bound))}{text[end:]}"
    return {"instruction": text}


def _change_figure(row: DatasetRow, source: Source) -> Changes | None:
    """Change a figure that the task gives or asks to compute: one that the output invented could have any value."""
    output = row["output"]
    if row["is_classification"] or CODE.search(output):
        return None
    given = {match[0] for name in ("instruction", "input") for match in FIGURE.finditer(row[name]) if len(match[0]) > 1}
    marks = {place for match in ITEM.finditer(output) for place in range(*match.span())}
    is_computed = COMPUTED.search(row["instruction"]) is not None
    changed = []
    for match in FIGURE.finditer(output):
        before, figure = output[: match.start()], match[0]
        is_free = match.start() in marks or _DENIED.search(before) or not re.search("[1-9]", figure)
        if not is_free and (is_computed or figure in given or _RESULT.search(before)):
            changed.append(before + _alter(figure, source) + output[match.end() :])
    return {"output": source.pick(changed)} if changed else None


def _alter(figure: str, source: Source) -> str:
    """Return a figure of the same form: a year 3 to 30 off, any other with a first digit one to three off."""
    if re.fullmatch(r"1\d{3}|20\d\d", figure):
        return str(int(figure) + int(source.pick(["-1", "1"])) * int(source.generator.integers(3, 31)))
    place = next(at for at, letter in enumerate(figure) if letter in "123456789")
    old = int(figure[place])
    digits = [str(digit) for digit in range(max(1, old - 3), min(9, old + 3) + 1) if digit != old]
    return figure[:place] + source.pick(digits) + figure[place + 1 :]


def _drop_part(row: DatasetRow, source: Source) -> Changes | None:
    if row["is_classification"] or CODE.search(row["output"]):
        return None
    outputs = [text for text in shorten(row["instruction"], row["input"], row["output"]) if text]
    return {"output": source.pick(outputs)} if outputs else None


FAULTS = {
    OTHER_OUTPUT: Fault("the output is that of another instruction", ("output_correct",), _swap_output),
    "changed figure": Fault(
        "a figure that the task gives or asks for is another",
        ("output_correct",),
        _change_figure,
        "a figure in passing may not matter",
    ),
    "dropped sentence": Fault(
        "a sentence, line or list item that the task needs is gone",
        ("output_correct",),
        _drop_part,
        "the working may still show a result whose sentence is gone",
    ),
    "broken limit": Fault("the instruction sets another limit of words", ("output_correct",), _break_limit),
    "swapped label": Fault(
        "the label is another of the same task",
        ("output_correct",),
        _swap_label,
        "on a border, another label can be defended",
    ),
    "other input": Fault("the input is that of another instruction", ("input_fits", "output_correct"), _swap_input),
    "other strategy": Fault(
        "the strategy is that of another instruction",
        ("strategy_valid", "output_follows_strategy"),
        _swap_strategy,
        "a general strategy may suit by chance",
    ),
    "garbled instruction": Fault("the words of the instruction are shuffled", ("valid_task",), _garble_instruction),
}
"""The kinds of faults by name."""
