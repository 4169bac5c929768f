"""Work lists for any scheduler: a build stops before a phase, and `auto-instruct work` runs shards of its units."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import Units, UnitWorker, Work, list_work, without_bars
from ..errors import BuildError, RecipeError, WorkListed

SHARED_PHASES = ("curate", "decontaminate", "embed", "extend")
"""The phases that can be run by shards: those in batches that ask no teacher."""


@dataclass(frozen=True)
class WorkList:
    """An engine that stops before one of SHARED_PHASES with a WorkListed; other phases are left to this process.

    Raise a RecipeError for any other phase.
    """

    phase: str

    def __post_init__(self) -> None:
        _require_shared(self.phase)

    def run(
        self,
        work: Work,
        units: Units,
        starts: Sequence[int],
        advance: Callable[[int], object],  # noqa: ARG002  # in the protocol
    ) -> None:
        """Raise WorkListed if this is the phase; see `core.Engine`."""
        if work.phase == self.phase:
            raise WorkListed(
                f"the work list of {self.phase} is written: {len(starts):,} of {len(units.starts):,} units of "
                f"{units.batch_size:,} rows are to be computed"
            )


@dataclass(frozen=True)
class ShardReport:
    """Numbers of units: of the shard, those computed now; of the phase, all and those that still have no file."""

    in_shard: int
    computed: int
    total: int
    missing: int


def parse_shard(text: str) -> tuple[int, int]:
    """Parse `3/16`, the third of 16 shards; raise a RecipeError if it is none."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise RecipeError(f"--shard {text}: give NUMBER/COUNT with a number from 1 to the count, such as 3/16")
    return number, count


def run_shard(out: Path, phase: str, shard: tuple[int, int]) -> ShardReport:
    """Compute one shard of the units of a phase of a build; several processes may run the same or other shards.

    Args:
        out: Folder of the build.
        phase: One of SHARED_PHASES, with a work list in the folder.
        shard: Its number, from 1, and the number of shards: of 16, the third has units 3, 19, 35 and so on.

    Returns:
        How many units were computed, and are missing.

    Raises:
        RecipeError: If the phase is not one of SHARED_PHASES.
        BuildError: If the folder has no work list of the phase, or one of another version of the package.
    """
    _require_shared(phase)
    found = list_work(out / "cache", phase)
    if not found:
        raise BuildError(
            f"{out} has no work list of {phase}: run its build with --stop-at {phase} first; if the build is past that "
            "phase, nothing is left to do"
        )
    number, count = shard
    worker = UnitWorker(found[-1])
    units = worker.units
    own = units.starts[number - 1 :: count]
    with without_bars():
        computed = sum(map(worker.compute, units.list_missing(own)))
    missing = sum(not units.path(start).exists() for start in units.starts)
    return ShardReport(len(own), computed, len(units.starts), missing)


def _require_shared(phase: str) -> None:
    if phase not in SHARED_PHASES:
        raise RecipeError(f"{phase!r} is not a phase that shards can run: name one of {', '.join(SHARED_PHASES)}")
