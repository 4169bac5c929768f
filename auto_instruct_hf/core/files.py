"""Write files atomically; lock a build folder."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import BuildError


@contextmanager
def lock_build(out: Path) -> Iterator[None]:
    """Lock a build folder against other builds and evaluations; create it if it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise BuildError(f"another build runs in {out}: wait for it, or use another --out") from None


def write_changed(path: Path, content: bytes) -> None:
    """Atomically write a file if its content changed."""
    if not path.is_file() or path.read_bytes() != content:
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(content)
        fresh.replace(path)


def to_json(report: Mapping[str, object]) -> bytes:
    """Return a report as UTF-8 JSON, indented."""
    return json.dumps(report, indent=2, ensure_ascii=False).encode()
