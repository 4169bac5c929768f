"""The pool of a bootstrap: plan the requests of a round, admit its new instructions."""

import math
import random
from array import array
from typing import Any

from datasets import Features, Value

from ..core import INSTRUCTIONS, RowTable, count_words, instruction_id, with_rejected
from ..embedding import Encode
from ..errors import BuildError
from ..novelty import CosineIndex, NoveltyIndex, choose_tokenizer
from ..recipe import BootstrapSettings
from .rounds import Rounds

MORE_THAN_ASKED_FOR = "more than asked for"
_Row = dict[str, Any]
_EXAMPLES = Features({"instruction": Value("string"), "domain": Value("string"), "classification": Value("bool")})


class InstructionPool:
    """The state of a bootstrap between rounds.

    Args:
        seeds: Rows with the columns of `schema.SEEDS`.
        target: Number of instructions to admit.
        clf_share: Share of these that are from requests for classification tasks.
        seed: Seed of the examples that are shown.
        settings: Filters and sizes.
        per_request: Instructions that a request asks for.
        same_examples: Whether all requests of a round show the same examples, for prefix caching.
        encode: Embeds texts; needed for `settings.max_cosine` only.

    Raises:
        BuildError: If all seed instructions are too long to show.
    """

    def __init__(
        self,
        seeds: list[_Row],
        target: int,
        clf_share: float,
        seed: int,
        settings: BootstrapSettings,
        *,
        per_request: int,
        same_examples: bool = False,
        encode: Encode | None = None,
    ) -> None:
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
        named = settings.domains if settings.domains is not None else [row["domain"] for row in seeds]
        self._domains: list[str] = sorted(set(named) - {""})
        texts = [row["instruction"] for row in seeds]
        tokenizer = choose_tokenizer(texts) if settings.tokenizer == "auto" else settings.tokenizer
        self._words = NoveltyIndex(settings.max_similarity, tokenizer, nearest=settings.nearest)
        self._words.add(texts)
        self._meanings, self._encode = CosineIndex(settings.max_cosine or 1.0), encode
        if encode:
            self._meanings.add(encode(texts))
        # The ids of the texts in both indexes, as numbers.
        self._word_ids = array("Q", (int(instruction_id(text), 16) for text in texts))
        self._meaning_ids = self._word_ids[:]
        self._seen_ids = set(self._word_ids)
        self._num_planned = {False: 0, True: 0}
        self.rounds = Rounds(target, clf_share, per_request, settings)
        self.admitted = RowTable(_EXAMPLES)
        """Examples: `instruction`, `domain` and `classification`, the latter two as its request said."""
        self.judged = RowTable(with_rejected(INSTRUCTIONS))
        """All candidates, with the reason why one is not admitted."""

    def plan(self) -> list[_Row]:
        """Return the next round's requests."""
        number = len(self.rounds.facts)
        generator = random.Random(f"{self._seed} {number}")
        shared = [self._choose_examples(generator, kind) for kind in (False, True)] if self._same_examples else None
        requests = []
        for kind in self.rounds.plan():
            requests.append(
                {
                    "draw": self._seed * 1_000_000 + sum(self._num_planned.values()),
                    "classification": kind,
                    "domain": self._choose_domain(kind),
                    "pick": generator.randrange(2**16),
                    "examples": shared[kind] if shared else self._choose_examples(generator, kind),
                }
            )
            self._num_planned[kind] += 1
        return requests

    def judge(self, candidates: list[_Row]) -> None:
        """Admit what is new among a round's candidates (`instruction`, `classification`, `domain`, `rejected`)."""
        nearest = {"similarity": 0.0, "most_similar": "", "cosine": 0.0, "nearest": ""}
        judged = [
            {"instruction_id": instruction_id(row["instruction"]), "round": len(self.rounds.facts), **nearest, **row}
            for row in candidates
        ]
        sound = []
        for row in judged:
            number = int(row["instruction_id"], 16)
            if not row["rejected"] and number in self._seen_ids:
                row["rejected"] = "repeats an earlier instruction"
            elif not row["rejected"]:
                self._seen_ids.add(number)
                sound.append(row)
        for row in self._keep_new_meanings(self._keep_new_words(sound)):
            if not self.rounds.admit(row["classification"]):
                row["rejected"] = MORE_THAN_ASKED_FOR
        self.admitted.extend([row for row in judged if not row["rejected"]])
        self.judged.extend(judged)
        self.rounds.close(len(candidates))

    def _keep_new_words(self, rows: list[_Row]) -> list[_Row]:
        """Add the highest ROUGE-L to rows, reject those that are too similar, and return the others."""
        verdicts = self._words.add_novel([row["instruction"] for row in rows])
        columns = (verdicts.is_novel.tolist(), verdicts.similarity.tolist(), verdicts.nearest.tolist())
        for row, is_novel, similarity, nearest in zip(rows, *columns, strict=True):
            row["similarity"] = None if math.isnan(similarity) else similarity  # unknown without `nearest`
            row["most_similar"] = _name(self._word_ids[nearest]) if nearest >= 0 else ""
            if is_novel:
                self._word_ids.append(int(row["instruction_id"], 16))
            else:
                row["rejected"] = f"ROUGE-L above {self._settings.max_similarity} with an earlier instruction"
        return [row for row in rows if not row["rejected"]]

    def _keep_new_meanings(self, rows: list[_Row]) -> list[_Row]:
        """Add the highest cosine to rows, reject those that are too near, and return the others."""
        if not rows or not self._encode:
            return rows
        verdicts = self._meanings.add_novel(self._encode([row["instruction"] for row in rows]))
        columns = (verdicts.is_novel.tolist(), verdicts.similarity.tolist(), verdicts.nearest.tolist())
        for row, is_novel, cosine, nearest in zip(rows, *columns, strict=True):
            row.update(cosine=cosine, nearest=_name(self._meaning_ids[nearest]))
            if is_novel:
                self._meaning_ids.append(int(row["instruction_id"], 16))
            else:
                row["rejected"] = f"cosine above {self._settings.max_cosine} with an earlier instruction"
        return [row for row in rows if not row["rejected"]]

    def _choose_domain(self, kind: bool) -> str:
        """Return the domain of the next request for a kind of task: in random order, each once before one repeats."""
        if not self._domains:
            return ""
        cycle, place = divmod(self._num_planned[kind], len(self._domains))
        order = random.Random(f"domains {self._seed} {kind} {cycle}")
        return order.sample(self._domains, len(self._domains))[place]

    def _choose_examples(self, generator: random.Random, is_classification: bool) -> list[_Row]:
        settings = self._settings
        labelled = [example for example in self._examples if example["classification"]]
        seeds = labelled if is_classification and labelled else self._examples
        chosen = generator.sample(seeds, min(settings.seed_examples, len(seeds)))
        rows = generator.sample(range(len(self.admitted)), min(settings.machine_examples, len(self.admitted)))
        chosen += [self.admitted[row] for row in rows]
        generator.shuffle(chosen)
        return chosen


def _name(number: int) -> str:
    """Return the id of an instruction."""
    return f"{number:016x}"
