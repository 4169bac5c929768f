"""Write files atomically."""

import json
from collections.abc import Mapping
from pathlib import Path


def write_changed(path: Path, content: bytes) -> bool:
    """Atomically write a file if its content changed; return whether it did."""
    if path.is_file() and path.read_bytes() == content:
        return False
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
    return True


def to_json(report: Mapping[str, object]) -> bytes:
    """Return a report as UTF-8 JSON, indented."""
    return json.dumps(report, indent=2, ensure_ascii=False).encode()
