"""The manifest of a build: what belongs to its `dataset` folder, so that a push sends that and nothing else."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from ..core import hash_file, to_json, write_changed
from ..errors import HubError


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` beside a `dataset` folder: size, SHA-256 and (of Parquet files) rows of each file in it."""
    content: dict[str, dict[str, object]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found: dict[str, object] = {"sha256": hash_file(path), "bytes": path.stat().st_size}
            if path.suffix == ".parquet":
                found["rows"] = pq.read_metadata(path).num_rows
            content[path.relative_to(folder).as_posix()] = found
    write_changed(folder.with_name("manifest.json"), to_json({"files": content}))


def read_manifest(folder: Path) -> dict[str, Path]:
    """Verify a `dataset` folder against the manifest beside it; return the files of the manifest by their path.

    Other files in the folder are left out. Raises a HubError if there is no manifest, or a file is missing, has
    another content, or is a link.
    """
    path = folder.with_name("manifest.json")
    try:
        expected = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise HubError(f"{path} is missing or damaged: run the build again, it sends no request") from None
    faults = []
    for name, description in expected.items():
        file = folder / name
        if not file.is_file():
            faults.append(f"{name} is missing")
        elif file.is_symlink() or folder.resolve() not in file.resolve().parents:
            faults.append(f"{name} is a link to elsewhere")
        elif hash_file(file) != description.get("sha256"):
            faults.append(f"{name} has changed")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise HubError(
            f"{folder} is not as it was built: {', '.join(faults[:3])}{more}. Run the build again, it sends no request"
        )
    return {name: folder / name for name in expected}
