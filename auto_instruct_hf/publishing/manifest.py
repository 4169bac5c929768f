"""The manifest of a build: what belongs to its `dataset` folder, so that a push sends that and nothing else."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq

from ..core import to_json, write_changed
from ..errors import HubError


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` beside a `dataset` folder: size, SHA-256 and (of Parquet files) rows of each file in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    content = {path.relative_to(folder).as_posix(): _describe(path) for path in files}
    write_changed(folder.with_name("manifest.json"), to_json({"files": content}))


def read_manifest(folder: Path) -> dict[str, Path]:
    """Verify a `dataset` folder against its manifest.

    Args:
        folder: The folder; the manifest is beside it.

    Returns:
        The files of the manifest by their path in the folder. Other files that lie there are not among them.

    Raises:
        HubError: If there is no manifest, or a file is missing, has another content, or is a link.
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
        elif _describe(file, with_rows=False)["sha256"] != description.get("sha256"):
            faults.append(f"{name} has changed")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise HubError(
            f"{folder} is not as it was built: {', '.join(faults[:3])}{more}. Run the build again, it sends no request"
        )
    return {name: folder / name for name in expected}


def _describe(path: Path, *, with_rows: bool = True) -> dict[str, object]:
    with path.open("rb") as stream:
        found: dict[str, object] = {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
    found["bytes"] = path.stat().st_size
    if with_rows and path.suffix == ".parquet":
        found["rows"] = pq.read_metadata(path).num_rows
    return found
