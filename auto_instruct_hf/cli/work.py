"""`auto-instruct work`: a shard of a phase of a build, for any scheduler; and the engine that a build runs on."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import exit_status, say

if TYPE_CHECKING:
    from ..core import Engine


def work_command(
    out: Annotated[Path, typer.Argument(help="Folder of a build that `build --stop-at PHASE` has stopped.")],
    phase: Annotated[str, typer.Option(help="The phase: curate, decontaminate, embed or extend.")],
    shard: Annotated[str, typer.Option(help="Which part of the phase: 3/16 is the third of 16.")] = "1/1",
) -> None:
    """Compute a shard of a phase of a build; the same build command then continues from there.

    Shards run side by side, here or on any machine that sees the folder. A shard that was stopped computes only what is
    missing. Needs no key and no teacher.
    """
    with exit_status():
        from ..engines import parse_shard, run_shard

        report = run_shard(out, phase, parse_shard(shard))
        say(f"{phase}, shard {shard}: {report.computed:,} of its {report.in_shard:,} units computed now.")
        say(
            f"{report.missing:,} of all {report.total:,} units are missing."
            if report.missing
            else f"All {report.total:,} units are there: run the build again, without --stop-at {phase}."
        )


def show_work(listed: str, out: Path, phase: str) -> None:
    """Print how to compute the phase that a build stopped at."""
    say(f"{listed}. Run, side by side on any machines that see {out}, as many shards as you like:")
    for number in (1, 2):
        say(f"    auto-instruct work {out} --phase {phase} --shard {number}/2")
    say(f"Then run this build again without --stop-at {phase}: it computes what is missing and continues.")


def choose_engine(
    name: str, ray_address: str | None, num_workers: int | None, gpus_per_worker: float, stop_at: str | None
) -> "AbstractContextManager[Engine | None]":
    """Return a context with the engine of the options of `build`; raise RecipeError if they contradict each other."""
    from ..engines import RayEngine, WorkList
    from ..errors import RecipeError

    if name not in ("local", "ray"):
        raise RecipeError(f"--engine {name}: name local or ray")
    if name == "ray" and stop_at:
        raise RecipeError("--stop-at is for work without Ray: leave --engine out")
    if name == "ray":
        return RayEngine(ray_address, num_workers=num_workers, gpus_per_worker=gpus_per_worker)
    if ray_address or num_workers or gpus_per_worker:
        raise RecipeError("--ray-address, --workers and --gpus-per-worker are for --engine ray")
    return nullcontext(WorkList(stop_at) if stop_at else None)
