"""A lock on the folder of a build."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import BuildError


@contextmanager
def only_build(out: Path) -> Iterator[None]:
    """Hold a folder against other builds, and evaluations, for the time of a block."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise BuildError(f"another build runs in {out}: wait for it, or use another --out") from None
