"""Write files atomically."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_changed(path: Path, content: bytes) -> bool:
    """Write a file whole, unless it holds just that; return whether it did not."""
    if path.is_file() and path.read_bytes() == content:
        return False
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
    return True


def to_json(report: Mapping[str, Any]) -> bytes:
    """Return figures as they stand in a file."""
    return json.dumps(report, indent=2, ensure_ascii=False).encode()
