"""The pool of a bootstrap: plan the requests of a round, admit its new instructions."""

import math
import random
from typing import Any

from ..core import count_words, instruction_id
from ..errors import BuildError
from ..novelty import NoveltyIndex, choose_tokenizer
from ..recipe import BootstrapSettings
from .seeds import bundled_domains

MORE_THAN_ASKED_FOR = "more than asked for"
# Ours: a last round must not be so small that the wait for one reply outweighs what it asks for.
_MIN_REQUESTS = 8
# Ours: the first round of all. No later one asks for more than all before it, so that the pool leads what is asked.
_FIRST_REQUESTS = 32


class InstructionPool:
    """The state of a bootstrap between rounds.

    Args:
        seeds: Rows with the columns of `schema.SEEDS`.
        target: How many instructions to admit.
        clf_share: Share of the requests that ask for classification tasks.
        seed: Decides which examples are shown.
        settings: Filters and sizes.
        same_examples: Show one set of examples in all requests of a round: their common start is then cached by the
            server. Otherwise each request has its own.
    """

    def __init__(
        self,
        seeds: list[dict[str, Any]],
        target: int,
        clf_share: float,
        seed: int,
        settings: BootstrapSettings,
        *,
        same_examples: bool,
    ) -> None:
        self._target = target
        self._clf_share = clf_share
        self._seed = seed
        self._settings = settings
        self._same_examples = same_examples
        shown = [row for row in seeds if count_words(row["instruction"]) <= settings.max_words]
        if not shown:
            raise BuildError(
                f"all {len(seeds)} seed instructions are longer than {settings.max_words} words: "
                "shorten them, or raise bootstrap.max_words in the recipe"
            )
        self._open_seeds = [_example(row) for row in shown if not row["is_classification"]]
        self._clf_seeds = [_example(row) for row in shown if row["is_classification"]]
        self._domains = sorted({row["domain"] for row in seeds} - {""}) or bundled_domains()
        texts = [row["instruction"] for row in seeds]
        tokenizer = choose_tokenizer(texts) if settings.tokenizer == "auto" else settings.tokenizer
        self._index = NoveltyIndex(settings.max_similarity, tokenizer)
        self._index.add(texts)
        self._pool_ids = list(map(instruction_id, texts))
        self._ids = set(self._pool_ids)
        self._planned = 0
        self.admitted: list[str] = []
        self.judged: list[dict[str, Any]] = []
        self.rounds: list[dict[str, Any]] = []

    def is_done(self) -> bool:
        """Return whether the target is reached."""
        return len(self.admitted) >= self._target

    def is_stalled(self) -> bool:
        """Return whether so few of the last candidates were kept that the target is out of reach."""
        asked, tried, kept = self._recently()
        too_few = kept == 0 or kept < self._settings.min_acceptance * tried
        return asked >= self._settings.patience and too_few

    def describe_stall(self) -> str:
        """Return what to tell the user of a stalled bootstrap."""
        asked, tried, kept = self._recently()
        return (
            f"{len(self.admitted):,} of {self._target:,} instructions: of the {tried:,} candidates of the last "
            f"{asked:,} requests {kept:,} were new and sound (bootstrap.min_acceptance is "
            f"{self._settings.min_acceptance:.0%}). "
            "More or other seeds, other prompts or a stronger teacher would go further"
        )

    def plan(self) -> list[dict[str, Any]]:
        """Return the next round's requests."""
        settings = self._settings
        generator = random.Random(f"{self._seed} {len(self.rounds)}")
        asked, _, kept = self._recently()
        # At first a guess of one in two; then what the last rounds gave.
        expected = kept / asked if asked else settings.instructions_per_request / 2
        wanted = math.ceil((self._target - len(self.admitted)) / max(expected, 0.1))
        first = sum(item["requests"] for item in self.rounds)
        size = min(max(wanted, _MIN_REQUESTS), max(first, _FIRST_REQUESTS), settings.requests_per_round)
        shared = [self._examples(generator, kind) for kind in (False, True)] if self._same_examples else None
        requests = []
        for number in range(first, first + size):
            # Evenly spread: as many as the share says among any run of requests.
            kind = math.floor((number + 1) * self._clf_share) > math.floor(number * self._clf_share)
            requests.append(
                {
                    "draw": self._seed * 1_000_000 + number,
                    "classification": kind,
                    "domain": generator.choice(self._domains),
                    "pick": generator.randrange(2**16),
                    "examples": shared[kind] if shared else self._examples(generator, kind),
                }
            )
        self._planned = size
        return requests

    def judge(self, candidates: list[dict[str, Any]]) -> None:
        """Admit what is new among a round's candidates."""
        before = len(self.admitted)
        for row in candidates:
            if not row["rejected"] and instruction_id(row["instruction"]) in self._ids:
                row["rejected"] = "repeats an earlier instruction"
            if not row["rejected"]:
                self._ids.add(instruction_id(row["instruction"]))
        sound = [row for row in candidates if not row["rejected"]]
        verdicts = self._index.add_novel([row["instruction"] for row in sound])
        columns = (verdicts.is_novel.tolist(), verdicts.similarity.tolist(), verdicts.nearest.tolist())
        for row, is_novel, similarity, nearest in zip(sound, *columns, strict=True):
            row["similarity"] = similarity
            row["most_similar"] = self._pool_ids[nearest] if nearest >= 0 else ""
            if is_novel:
                self._pool_ids.append(instruction_id(row["instruction"]))
            if not is_novel:
                row["rejected"] = f"ROUGE-L above {self._settings.max_similarity} with an earlier instruction"
            elif len(self.admitted) == self._target:
                row["rejected"] = MORE_THAN_ASKED_FOR
            else:
                self.admitted.append(row["instruction"])
        number = len(self.rounds)
        self.judged += [
            {
                "instruction_id": instruction_id(row["instruction"]),
                "instruction": row["instruction"],
                "similarity": row.get("similarity", 0.0),
                "most_similar": row.get("most_similar", ""),
                "round": number,
                "rejected": row["rejected"],
            }
            for row in candidates
        ]
        self.rounds.append(
            {
                "round": number,
                "requests": self._planned,
                "candidates": len(candidates),
                "admitted": len(self.admitted) - before,
            }
        )

    def _recently(self) -> tuple[int, int, int]:
        """Return requests, candidates and admissions of the last rounds that together hold `patience` requests."""
        asked = tried = kept = 0
        for item in reversed(self.rounds):
            if asked >= self._settings.patience:
                break
            asked, tried, kept = asked + item["requests"], tried + item["candidates"], kept + item["admitted"]
        return asked, tried, kept

    def _examples(self, generator: random.Random, is_classification: bool) -> list[dict[str, Any]]:
        settings = self._settings
        seeds = self._open_seeds + self._clf_seeds
        if is_classification and self._clf_seeds:
            seeds = self._clf_seeds
        chosen = generator.sample(seeds, min(settings.seed_examples, len(seeds)))
        machine = generator.sample(self.admitted, min(settings.machine_examples, len(self.admitted)))
        examples = chosen + [{"instruction": text, "domain": "", "classification": False} for text in machine]
        generator.shuffle(examples)
        return examples


def _example(seed_row: dict[str, Any]) -> dict[str, Any]:
    is_classification = seed_row["is_classification"]
    return {**{name: seed_row[name] for name in ("instruction", "domain")}, "classification": is_classification}
