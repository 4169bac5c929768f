"""How many requests each round of a bootstrap has, from the counts of the rounds before."""

import math
from dataclasses import dataclass
from typing import Any

from ..recipe import BootstrapSettings

# Ours: the first round. A later one is at most as large as all before it, so that its prompts show recent examples.
_FIRST_REQUESTS = 4


@dataclass
class _Counts:
    """Of the requests for one kind of task in one round; `usable` instructions are valid and new."""

    requests: int = 0
    usable: int = 0


class Rounds:
    """The rounds of a bootstrap, which end with the target and its share of classification.

    A round asks for what is missing if its limit allows, by the acceptance so far, and one standard deviation more, so
    that it is often the last.

    Args:
        target: Number of instructions to keep.
        clf_share: Share of these that are from requests for classification tasks.
        per_request: Instructions that a request asks for.
        settings: Limits of rounds, and when to stop.
    """

    def __init__(self, target: int, clf_share: float, per_request: int, settings: BootstrapSettings) -> None:
        num_clf = math.floor(target * clf_share + 0.5)
        self._target = target
        self._quotas = {False: target - num_clf, True: num_clf}
        self._clf_share = clf_share
        self._per_request = per_request
        self._settings = settings
        self._kept = {False: 0, True: 0}
        self._counts: list[dict[bool, _Counts]] = []
        self.facts: list[dict[str, Any]] = []
        """Of each closed round: its number, requests, candidates, and admitted instructions."""

    @property
    def num_kept(self) -> int:
        """The number of admitted instructions."""
        return sum(self._kept.values())

    def is_done(self) -> bool:
        """Return whether the target is reached."""
        return self.num_kept >= self._target

    def plan(self) -> list[bool]:
        """Begin a round; return for each of its requests whether it is for classification."""
        sizes = {kind: self._count_missing(kind) for kind in (False, True)}
        sent = sum(item["requests"] for item in self.facts)
        limit = min(max(sent, _FIRST_REQUESTS), self._settings.requests_per_round)
        if (total := sum(sizes.values())) > limit:
            num_clf = min(max(self._balance(limit), limit - sizes[False], 0), sizes[True], limit)
            sizes, total = {False: limit - num_clf, True: num_clf}, limit
        self._counts.append({kind: _Counts(size) for kind, size in sizes.items()})
        # Evenly spaced: any run of requests has the share.
        places = [number * sizes[True] // total for number in range(total + 1)]
        return [places[number + 1] > places[number] for number in range(total)]

    def admit(self, is_classification: bool) -> bool:
        """Count a usable instruction of the current round; return whether it is needed."""
        self._counts[-1][is_classification].usable += 1
        is_needed = self._kept[is_classification] < self._quotas[is_classification]
        self._kept[is_classification] += is_needed
        return is_needed

    def close(self, candidates: int) -> None:
        """End the current round, in which there were so many candidates."""
        before = sum(item["admitted"] for item in self.facts)
        self.facts.append(
            {
                "round": len(self.facts),
                "requests": sum(one.requests for one in self._counts[-1].values()),
                "candidates": candidates,
                "admitted": self.num_kept - before,
            }
        )

    def is_stalled(self) -> bool:
        """Return whether the acceptance rate is too low to reach the target."""
        requests, candidates, admitted = self._count_recent()
        too_few = admitted == 0 or admitted < self._settings.min_acceptance * candidates
        return requests >= self._settings.patience and too_few

    def describe_stall(self) -> str:
        """Return the counts of a stalled bootstrap and the remedy."""
        requests, candidates, admitted = self._count_recent()
        return (
            f"{self.num_kept:,} of {self._target:,} instructions: of the {candidates:,} candidates of the last "
            f"{requests:,} requests {admitted:,} were new and valid (bootstrap.min_acceptance is "
            f"{self._settings.min_acceptance:.0%}). "
            "Use more or other seeds, other prompts or a stronger teacher"
        )

    def _count_missing(self, kind: bool) -> int:
        """Return how many requests probably bring the instructions of a kind that are missing."""
        missing, acceptance = self._quotas[kind] - self._kept[kind], self._acceptance(kind)
        return math.ceil((missing + math.sqrt(missing * (1 - acceptance))) / acceptance / self._per_request)

    def _balance(self, size: int) -> int:
        """Return how many of so many requests are to be for classification: after them, its share should be right."""
        share, clf_yield, other_yield = self._clf_share, self._acceptance(True), self._acceptance(False)
        lacking = (share * self.num_kept - self._kept[True]) / self._per_request + size * share * other_yield
        return math.floor(lacking / (clf_yield * (1 - share) + other_yield * share) + 0.5)

    def _acceptance(self, kind: bool) -> float:
        """Return the share of usable instructions among those asked for lately, as if one request more were usable."""
        usable, requests = self._per_request, 1
        for counts in reversed(self._counts):
            if requests > self._settings.patience:
                break
            usable, requests = usable + counts[kind].usable, requests + counts[kind].requests
        return min(usable / requests / self._per_request, 1.0)

    def _count_recent(self) -> tuple[int, int, int]:
        """Return requests, candidates and admissions of the last rounds with at least `patience` requests."""
        requests = candidates = admitted = 0
        for item in reversed(self.facts):
            if requests >= self._settings.patience:
                break
            requests, candidates = requests + item["requests"], candidates + item["candidates"]
            admitted += item["admitted"]
        return requests, candidates, admitted


def simulate_rounds(
    target: int, clf_share: float, per_request: int, settings: BootstrapSettings, acceptance: float
) -> int:
    """Return the number of requests of a bootstrap if this share of what they ask for is usable, in (0, 1]."""
    rounds, usable = Rounds(target, clf_share, per_request, settings), acceptance * per_request
    sent = {False: 0, True: 0}
    while not rounds.is_done():
        for kind in rounds.plan():
            for _ in range(math.floor((sent[kind] + 1) * usable) - math.floor(sent[kind] * usable)):
                rounds.admit(kind)
            sent[kind] += 1
        rounds.close(0)
    return sum(sent.values())
