"""Commands in processes that a test can kill: forked from a server that has imported the package already."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess, SpawnProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# What a build imports before its first request and after its last: most of the time of a process of its own.
_CONTEXT.set_forkserver_preload(["auto_instruct_hf.pipeline", "openai", "sentence_transformers", "umap", __name__])


def call(function: Callable[..., object], *arguments: object) -> SpawnProcess:
    """Start a function of a module, in a new process that imports only what it needs."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    return process


def start(arguments: list[str], log: Path, **environment: str) -> ForkServerProcess:
    """Start `auto-instruct` with these arguments; what it prints goes to `log`."""
    process = _CONTEXT.Process(target=_run, args=(arguments, str(log), environment))
    process.start()
    return process


def _run(arguments: list[str], log: str, environment: dict[str, str]) -> None:
    with open(log, "wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if a shell started the tests in the background
    from auto_instruct_hf.cli.app import app

    app(arguments)
