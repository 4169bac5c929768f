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
    asked: int = 0
    usable: int = 0


class Rounds:
    """The rounds of a bootstrap, which end with the target and its share of classification.

    A round asks for what is missing if its limit allows, by the acceptance so far, and one standard deviation more, so
    that it is often the last; its requests ask for fewer instructions where fewer are missing.

    Args:
        target: Number of instructions to keep.
        clf_share: Share of these that are from requests for classification tasks.
        per_request: The most instructions that a request asks for.
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
        """Of each closed round: its number, requests, instructions asked for, candidates, and admitted ones."""

    @property
    def num_kept(self) -> int:
        """The number of admitted instructions."""
        return sum(self._kept.values())

    def is_done(self) -> bool:
        """Return whether the target is reached."""
        return self.num_kept >= self._target

    def plan(self) -> list[tuple[bool, int]]:
        """Begin a round; return for each request whether it is for classification, and for how many instructions."""
        asks = {kind: self._count_missing(kind) for kind in (False, True)}
        sizes = {kind: math.ceil(ask / self._per_request) for kind, ask in asks.items()}
        sent = sum(item["requests"] for item in self.facts)
        limit = min(max(sent, _FIRST_REQUESTS), self._settings.requests_per_round)
        items = {kind: math.ceil(ask / max(sizes[kind], 1)) for kind, ask in asks.items()}
        if (total := sum(sizes.values())) > limit:
            num_clf = min(max(self._balance(limit), limit - sizes[False]), sizes[True])
            sizes, total = {False: limit - num_clf, True: num_clf}, limit
            items = dict.fromkeys(sizes, self._per_request)
        self._counts.append({kind: _Counts(size, size * items[kind]) for kind, size in sizes.items()})
        # Evenly spaced: any run of requests has the share.
        places = [number * sizes[True] // total for number in range(total + 1)]
        kinds = [places[number + 1] > places[number] for number in range(total)]
        return [(kind, items[kind]) for kind in kinds]

    def admit(self, is_classification: bool) -> bool:
        """Count a usable instruction of the current round; return whether it is needed."""
        self._counts[-1][is_classification].usable += 1
        is_needed = self._kept[is_classification] < self._quotas[is_classification]
        self._kept[is_classification] += is_needed
        return is_needed

    def close(self, candidates: int) -> None:
        """End the current round, in which there were so many candidates."""
        counts = self._counts[-1].values()
        before = sum(item["admitted"] for item in self.facts)
        self.facts.append(
            {
                "round": len(self.facts),
                "requests": sum(one.requests for one in counts),
                "asked": sum(one.asked for one in counts),
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
        """Return how many instructions to ask for, so that those of a kind that are missing probably come."""
        missing, acceptance = self._quotas[kind] - self._kept[kind], self._acceptance(kind)
        return math.ceil((missing + math.sqrt(missing * (1 - acceptance))) / acceptance)

    def _balance(self, size: int) -> int:
        """Return how many of so many requests are to be for classification: after them, its share should be right."""
        share, clf_yield, other_yield = self._clf_share, self._acceptance(True), self._acceptance(False)
        lacking = (share * self.num_kept - self._kept[True]) / self._per_request + size * share * other_yield
        return math.floor(lacking / (clf_yield * (1 - share) + other_yield * share) + 0.5)

    def _acceptance(self, kind: bool) -> float:
        """Return the share of usable instructions among those asked for lately, as if one request more were usable."""
        asked = usable = self._per_request
        requests = 0
        for counts in reversed(self._counts):
            if requests >= self._settings.patience:
                break
            requests += counts[kind].requests
            asked, usable = asked + counts[kind].asked, usable + counts[kind].usable
        return min(usable / asked, 1.0)

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
) -> list[int]:
    """Return for how many instructions each request of a bootstrap asks if this share of them is usable, in (0, 1]."""
    rounds = Rounds(target, clf_share, per_request, settings)
    requests: list[int] = []
    while not rounds.is_done():
        planned = rounds.plan()
        for kind, count in planned:
            for _ in range(math.ceil(acceptance * count)):
                rounds.admit(kind)
        rounds.close(sum(count for _, count in planned))
        requests += [count for _, count in planned]
    return requests
