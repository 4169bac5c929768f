"""Units on Ray: actors that keep their model compute them."""

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import datasets

from ..core import Units, UnitWorker, Work
from ..errors import AutoInstructError, BuildError, RecipeError
from ..teacher import SharedAsk
from .ray_teacher import NAMESPACE, ActorAsk, asking

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    Actor = ActorHandle[Any]

_TASK_RETRIES = 3  # a unit that kills its worker each time must end
_CONNECT_SECONDS = 10.0
_WAITING_CPUS = 0.1  # of a shared cluster, for a worker that waits for replies
_GPU_PHASES = ("embed",)  # those whose workers load a model with torch
_CLIENT_REFUSED = (
    "ray:// is not supported: the teacher, its key and its journal would move to the head of the cluster. Run the "
    "build on a machine of the cluster, with --ray-address auto"
)


class RayEngine:
    """An engine that computes units on Ray, for `core.running_on`. Ray starts with the first units; `with` closes it.

    Args:
        address: A running cluster that this machine is part of, as `ray.init` takes it (`auto`, `host:port`, not
            `ray://`); None: start Ray on this machine, reachable from this machine only.
        num_workers: Workers at a time, no more than fit at the start of a phase; None: as many as fit, one per core.
        gpus_per_worker: GPUs of each worker that embeds, fractions too; other workers use none.

    The package, and the cache folder under the same path, must be on all machines. Workers retry a unit three times if
    they are killed. The teacher asks from this machine: key and journal do not leave it, except for the memory of Ray.

    Raises:
        RecipeError: If Ray is not installed, or the address is one of `ray://`.
        BuildError: From `run`, if the cluster cannot be reached or has no room for a worker, or workers die again and
            again.
    """

    def __init__(
        self, address: str | None = None, *, num_workers: int | None = None, gpus_per_worker: float = 0.0
    ) -> None:
        if find_spec("ray") is None:
            raise RecipeError("the engine ray needs Ray: pip install 'auto-instruct-hf[ray]'")
        if (address or "").startswith("ray://"):
            raise RecipeError(_CLIENT_REFUSED)
        self._address, self._num_workers, self._gpus = address, num_workers, gpus_per_worker
        self._is_started = False
        self._options: dict[str, float] = {}
        self._workers: list[Actor] = []

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; stop Ray if this engine started it."""
        if self._is_started:
            import ray

            ray.shutdown()
            self._is_started, self._workers = False, []

    def run(self, work: Work, units: Units, starts: Sequence[int], advance: Callable[[int], object]) -> None:
        """Compute units on workers; see `core.Engine`. One unit alone is left to this process."""
        if len(starts) < 2:
            return
        self._start()
        from ray.exceptions import RayActorError, RayError, RayTaskError
        from ray.util import ActorPool

        try:
            is_asking = isinstance(work.make_resources, SharedAsk)
            folder = str(units.folder.resolve())
            with asking(work) as teacher, self._working(work.phase, len(starts), is_asking=is_asking) as workers:
                pool = ActorPool(workers)
                submitted = pool.map_unordered(
                    lambda worker, start: worker.compute.remote(folder, teacher, start), list(starts)
                )
                for start, is_done in submitted:
                    if is_done:
                        advance(units.count_rows(start))
        except RayTaskError as error:
            raise _unwrap(error) from None
        except RayActorError as error:
            raise BuildError(
                f"a unit of {work.phase} killed its worker {_TASK_RETRIES + 1} times ({_first_line(error)}): if memory "
                "is short, use fewer workers; the units so far are kept"
            ) from None
        except RayError as error:
            raise BuildError(f"Ray failed in {work.phase} ({_first_line(error)}): the units so far are kept") from None

    def _start(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if self._address is None:  # despite its name, on all systems: Ray listens on 127.0.0.1 only
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        import ray
        from ray.util.client import ray as client

        is_auto_client = self._address == "auto" and os.environ.get("RAY_ADDRESS", "").startswith("ray://")
        if is_auto_client or client.is_connected():  # type: ignore[no-untyped-call]  # untyped; the caller may connect
            raise RecipeError(_CLIENT_REFUSED)
        if ray.is_initialized():
            return
        _require_listener(self._address or "")
        try:
            ray.init(
                address=self._address or "local",
                namespace=NAMESPACE,
                include_dashboard=False if self._address is None else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # of many kinds: each is reported in one line
            raise BuildError(f"cannot reach Ray at {self._address or 'this machine'} ({_first_line(error)})") from None
        self._is_started = True

    @contextmanager
    def _working(self, phase: str, count: int, *, is_asking: bool) -> "Iterator[list[Actor]]":
        """Start at most `count` workers and stop them at the end; on a Ray of our own, the next phase has the same."""
        import ray

        is_alone = self._is_started and self._address is None
        gpus = self._gpus if phase in _GPU_PHASES else 0.0
        cpus = _WAITING_CPUS if is_asking and not is_alone else 1.0
        needs = {name: need for name, need in (("CPU", cpus), ("GPU", gpus)) if need}
        _require_room(phase, needs)
        options = {"num_cpus": needs["CPU"], "num_gpus": gpus, "max_restarts": -1, "max_task_retries": _TASK_RETRIES}
        if options != self._options:
            self._stop_workers()
            self._options = options
        # Of a shared cluster what others left: the workers of earlier phases are stopped.
        resources = ray.cluster_resources if is_alone else ray.available_resources
        free: dict[str, float] = resources()  # type: ignore[no-untyped-call]  # untyped
        fitting = min(int(free.get(name, 0.0) / need) for name, need in needs.items())
        # More than fit would be given units and wait.
        chosen = self._num_workers or int(free.get("CPU", 1))
        number = max(1, min(chosen, fitting, count))
        worker = ray.remote(_Worker).options(**options)
        self._workers += [cast("Actor", worker.remote()) for _ in range(number - len(self._workers))]
        is_reusable = False
        try:
            yield self._workers[:number]
            is_reusable = is_alone
        finally:
            if is_reusable:
                for one in self._workers[:number]:
                    one.forget.remote()
            else:
                self._stop_workers()

    def _stop_workers(self) -> None:
        import ray

        for one in self._workers:
            ray.kill(one)
        self._workers = []


class _Worker:
    """Computes units in a process of its own."""

    def __init__(self) -> None:
        import ray

        self.forget()
        if not ray.get_gpu_ids():  # Ray leaves all GPUs visible, and torch would use the first
            os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def forget(self) -> None:
        """Give up the model of a phase that ended."""
        self._worker: UnitWorker | None = None
        self._ask: ActorAsk | None = None

    def compute(self, folder: str, teacher: str | None, start: int) -> tuple[int, bool]:
        """Compute a unit of a folder, if its phase asks through the actor `teacher`; return whether it is written."""
        if self._worker is None:
            datasets.disable_progress_bars()
            self._ask = ActorAsk(teacher) if teacher else None
            self._worker = UnitWorker(Path(folder), self._make_resources if teacher else None)
        if self._ask is None:
            return start, self._worker.compute(start)
        self._ask.is_final = True
        return start, self._worker.compute(start, lambda: self._ask is None or self._ask.is_final)

    def _make_resources(self, _: Path) -> Mapping[str, object]:
        return {"ask": self._ask}


def _require_room(phase: str, needs: Mapping[str, float]) -> None:
    """Raise BuildError if no machine of the cluster is large enough for a worker: Ray would wait for one forever."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # untyped
    if not any(all(one.get(name, 0.0) >= need for name, need in needs.items()) for one in machines):
        needed = ", ".join(f"{need:g} {name}" for name, need in needs.items())
        found = ", ".join(f"{max(one.get(name, 0.0) for one in machines):g} {name}" for name in needs)
        raise BuildError(
            f"a worker of {phase} needs {needed}, and the machines of the Ray cluster have at most {found}: lower "
            "--gpus-per-worker, or add a machine that has them"
        )


def _require_listener(address: str) -> None:
    """Raise BuildError if nobody listens at HOST:PORT: Ray itself tries for minutes."""
    match = re.fullmatch(r"([^/]+):(\d+)", address)
    try:
        if match:
            socket.create_connection((match[1], int(match[2])), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BuildError(f"cannot reach Ray at {address} ({_first_line(error)})") from None


def _unwrap(error: Any) -> Exception:
    """Return the error that a worker, or an actor it called, raised; one line where it is not of this package."""
    from ray.exceptions import RayTaskError

    while isinstance(error, RayTaskError):
        error = error.cause
    if isinstance(error, AutoInstructError):
        return error
    return BuildError(f"a worker failed ({_first_line(error)}): the units so far are kept")


def _first_line(error: object) -> str:
    line = next(iter(str(error).strip().splitlines()), "")[:200]
    return f"{type(error).__name__}: {line}"
