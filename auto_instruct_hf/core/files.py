"""Write files atomically, seal them with a checksum; lock a build folder."""

import hashlib
import json
import os
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


def write_changed(path: Path, content: bytes) -> bool:
    """Atomically write a file if its content changed; return whether it did."""
    if path.is_file() and path.read_bytes() == content:
        return False
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())  # a power failure leaves the old content or the new
    fresh.replace(path)
    return True


def seal(path: Path) -> None:
    """Write a file to the disk for good, and the checksum of its content beside it."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    write_changed(_checksum_of(path), _hash(path))


def is_intact(path: Path) -> bool:
    """Return whether a file has the content that it was sealed with: a power failure or a disk can damage it."""
    return path.is_file() and _checksum_of(path).is_file() and _checksum_of(path).read_bytes() == _hash(path)


def _checksum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _hash(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest().encode()


def to_json(report: Mapping[str, object]) -> bytes:
    """Return a report as UTF-8 JSON, indented."""
    return json.dumps(report, indent=2, ensure_ascii=False).encode()
