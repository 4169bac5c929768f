"""A lock on a build folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import BuildError


@contextmanager
def lock_build(out: Path) -> Iterator[None]:
    """Lock a build folder against other builds and evaluations; create it if it is missing.

    Args:
        out: The folder.

    Yields:
        Nothing.

    Raises:
        BuildError: If another process holds the lock.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise BuildError(f"another build runs in {out}: wait for it, or use another --out") from None
