"""The teacher as a named actor of Ray, which asks for all workers: one journal, one limit, one budget."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import datasets

from ..core import Work
from ..teacher import NOT_YET, Reply, Request, SharedAsk, Teacher

if TYPE_CHECKING:
    from ray.actor import ActorHandle

    Actor = ActorHandle[Any]

NAMESPACE = "auto-instruct"
_ASKS_AT_ONCE = 64
_CLOSE_SECONDS = 30.0


class ActorAsk:
    """Asks through the named actor with the teacher; `is_final` turns False with a request to be asked again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_final = True

    @cached_property
    def _teacher(self) -> "Actor":
        import ray

        return ray.get_actor(self._name, namespace=NAMESPACE)

    def __call__(self, requests: Sequence[Request]) -> list[Reply]:
        """Return one reply a request, as `Teacher.ask`."""
        import ray

        replies: list[Reply] = ray.get(self._teacher.ask.remote(list(requests)))
        self.is_final = self.is_final and not any(reply.error.startswith(NOT_YET) for reply in replies)
        return replies


class _AskingActor:
    """Has the teacher of a phase for all workers: one journal, one limit, one budget."""

    def __init__(self, arguments: Mapping[str, Any], phase: str) -> None:
        datasets.disable_progress_bars()
        self._teacher = Teacher(**arguments)
        self._phase = self._teacher.phase(phase)
        self._phase.__enter__()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        return self._teacher.ask(requests)

    def close(self) -> None:
        self._phase.__exit__(None, None, None)
        self._teacher.close()


@contextmanager
def asking(work: Work) -> Iterator[str | None]:
    """Start the actor with the teacher on this machine; yield its name, or None if the phase asks none.

    If it is killed, it comes back, and calls are repeated: what the journal has is not asked again.
    """
    share = work.make_resources
    if not isinstance(share, SharedAsk):
        yield None
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    place = f"{share.arguments['journal']} {share.arguments['model']} {share.phase}"
    name = f"teacher-{share.phase}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
    here = ray.get_runtime_context().get_node_id()
    options = ray.remote(_AskingActor).options(
        name=name,
        namespace=NAMESPACE,  # a caller that started Ray has another
        num_cpus=0,
        max_concurrency=_ASKS_AT_ONCE,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
    )
    actor = cast("Actor", options.remote(share.arguments, share.phase))
    try:
        yield name
        ray.get(actor.close.remote(), timeout=_CLOSE_SECONDS)
    finally:
        ray.kill(actor)
