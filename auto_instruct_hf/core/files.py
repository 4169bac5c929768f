"""Write files atomically, verify them by a checksum; lock a build folder."""

import hashlib
import json
import os
import secrets
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
    if path.is_file() and path.read_bytes() == content:
        return
    with new_file(path) as fresh:
        fresh.write_bytes(content)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a file name that no other process has; if a file is there at the end, flush it and rename it to `path`."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield fresh
        if fresh.exists():
            with fresh.open("rb") as stream:
                os.fsync(stream.fileno())  # a power failure leaves the old content or the new
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def seal(path: Path) -> None:
    """Flush a file to the disk, and write the checksum of its content beside it."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    write_changed(Path(f"{path}.sha256"), hash_file(path).encode())


def is_intact(path: Path) -> bool:
    """Return whether a file has the checksum it was sealed with: a power failure or a disk can damage it."""
    checksum = Path(f"{path}.sha256")
    return path.is_file() and checksum.is_file() and checksum.read_bytes() == hash_file(path).encode()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def to_json(report: Mapping[str, object]) -> bytes:
    """Return a report as UTF-8 JSON, indented."""
    return json.dumps(report, indent=2, ensure_ascii=False).encode()
