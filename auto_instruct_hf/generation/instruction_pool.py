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
# Ours: in a smaller last round, waiting for one reply would take longer than what it asks for.
_MIN_REQUESTS = 8
# Ours: the size of the first round. A later one is at most as large as all before it, to show recent examples.
_FIRST_REQUESTS = 32


class InstructionPool:
    """The state of a bootstrap between rounds.

    Args:
        seeds: Rows with the columns of `schema.SEEDS`.
        target: Number of instructions to admit.
        clf_share: Share of the requests that ask for classification tasks.
        seed: Seed of the examples that are shown.
        settings: Filters and sizes.
        same_examples: Whether all requests of a round show the same examples, for prefix caching.

    Raises:
        BuildError: If all seed instructions are too long to show.
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
        self._examples = [
            {"instruction": row["instruction"], "domain": row["domain"], "classification": row["is_classification"]}
            for row in sorted(seeds, key=lambda row: bool(row["is_classification"]))
            if count_words(row["instruction"]) <= settings.max_words
        ]
        if not self._examples:
            raise BuildError(
                f"all {len(seeds)} seed instructions are longer than {settings.max_words} words: "
                "shorten them, or raise bootstrap.max_words in the recipe"
            )
        self._domains = sorted({row["domain"] for row in seeds} - {""}) or bundled_domains()
        texts = [row["instruction"] for row in seeds]
        tokenizer = choose_tokenizer(texts) if settings.tokenizer == "auto" else settings.tokenizer
        self._index = NoveltyIndex(settings.max_similarity, tokenizer)
        self._index.add(texts)
        self._indexed_ids = list(map(instruction_id, texts))
        self._seen_ids = set(self._indexed_ids)
        self._planned = 0
        self.admitted: list[str] = []
        self.judged: list[dict[str, Any]] = []
        self.rounds: list[dict[str, Any]] = []

    def is_done(self) -> bool:
        """Return whether the target is reached."""
        return len(self.admitted) >= self._target

    def is_stalled(self) -> bool:
        """Return whether the acceptance rate is too low to reach the target."""
        asked, tried, kept = self._count_recent()
        too_few = kept == 0 or kept < self._settings.min_acceptance * tried
        return asked >= self._settings.patience and too_few

    def describe_stall(self) -> str:
        """Return the counts of a stalled bootstrap and the remedy."""
        asked, tried, kept = self._count_recent()
        return (
            f"{len(self.admitted):,} of {self._target:,} instructions: of the {tried:,} candidates of the last "
            f"{asked:,} requests {kept:,} were new and valid (bootstrap.min_acceptance is "
            f"{self._settings.min_acceptance:.0%}). "
            "Use more or other seeds, other prompts or a stronger teacher"
        )

    def plan(self) -> list[dict[str, Any]]:
        """Return the next round's requests."""
        settings = self._settings
        generator = random.Random(f"{self._seed} {len(self.rounds)}")
        asked, _, kept = self._count_recent()
        # Half of what is asked for in the first round; then the yield of the last rounds.
        expected = kept / asked if asked else settings.instructions_per_request / 2
        wanted = math.ceil((self._target - len(self.admitted)) / max(expected, 0.1))
        first = sum(item["requests"] for item in self.rounds)
        size = min(max(wanted, _MIN_REQUESTS), max(first, _FIRST_REQUESTS), settings.requests_per_round)
        shared = [self._choose_examples(generator, kind) for kind in (False, True)] if self._same_examples else None
        requests = []
        for number in range(first, first + size):
            # Evenly spaced: any run of requests has the share.
            kind = math.floor((number + 1) * self._clf_share) > math.floor(number * self._clf_share)
            requests.append(
                {
                    "draw": self._seed * 1_000_000 + number,
                    "classification": kind,
                    "domain": generator.choice(self._domains),
                    "pick": generator.randrange(2**16),
                    "examples": shared[kind] if shared else self._choose_examples(generator, kind),
                }
            )
        self._planned = size
        return requests

    def judge(self, candidates: list[dict[str, Any]]) -> None:
        """Admit what is new among a round's candidates (`instruction`, `rejected`)."""
        before, number = len(self.admitted), len(self.rounds)
        start = {"similarity": 0.0, "most_similar": "", "round": number}
        judged = [{"instruction_id": instruction_id(row["instruction"]), **start, **row} for row in candidates]
        sound = []
        for row in judged:
            if not row["rejected"] and row["instruction_id"] in self._seen_ids:
                row["rejected"] = "repeats an earlier instruction"
            elif not row["rejected"]:
                self._seen_ids.add(row["instruction_id"])
                sound.append(row)
        verdicts = self._index.add_novel([row["instruction"] for row in sound])
        columns = (verdicts.is_novel.tolist(), verdicts.similarity.tolist(), verdicts.nearest.tolist())
        for row, is_novel, similarity, nearest in zip(sound, *columns, strict=True):
            row["similarity"] = similarity
            row["most_similar"] = self._indexed_ids[nearest] if nearest >= 0 else ""
            if not is_novel:
                row["rejected"] = f"ROUGE-L above {self._settings.max_similarity} with an earlier instruction"
                continue
            self._indexed_ids.append(row["instruction_id"])
            if self.is_done():
                row["rejected"] = MORE_THAN_ASKED_FOR
            else:
                self.admitted.append(row["instruction"])
        self.judged += judged
        counts = {"candidates": len(candidates), "admitted": len(self.admitted) - before}
        self.rounds.append({"round": number, "requests": self._planned, **counts})

    def _count_recent(self) -> tuple[int, int, int]:
        """Return requests, candidates and admissions of the last rounds with at least `patience` requests."""
        asked = tried = kept = 0
        for item in reversed(self.rounds):
            if asked >= self._settings.patience:
                break
            asked, tried, kept = asked + item["requests"], tried + item["candidates"], kept + item["admitted"]
        return asked, tried, kept

    def _choose_examples(self, generator: random.Random, is_classification: bool) -> list[dict[str, Any]]:
        settings = self._settings
        labelled = [example for example in self._examples if example["classification"]]
        seeds = labelled if is_classification and labelled else self._examples
        chosen = generator.sample(seeds, min(settings.seed_examples, len(seeds)))
        machine = generator.sample(self.admitted, min(settings.machine_examples, len(self.admitted)))
        examples = chosen + [{"instruction": text, "domain": "", "classification": False} for text in machine]
        generator.shuffle(examples)
        return examples
