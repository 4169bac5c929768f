"""The manifest of a build: what belongs to its `dataset` folder, so that nothing else and nothing damaged is used."""

import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

import pyarrow.parquet as pq

from ..errors import SourceError
from .files import hash_file, to_json, write_changed


def make_manifest(folder: Path, names: Iterable[str] | None = None) -> bytes:
    """Return the content of a manifest: size, SHA-256 and (of Parquet files) rows of files in a `dataset` folder.

    `names` are the paths of the files below the folder; None: all.
    """
    if names is None:
        names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return to_json({"files": {name: _describe(folder / name) for name in sorted(names)}})


def write_manifest(folder: Path, content: bytes) -> None:
    """Write `manifest.json` beside a `dataset` folder."""
    write_changed(folder.with_name("manifest.json"), content)


def _describe(path: Path) -> dict[str, object]:
    return {"sha256": hash_file(path), **_measure(path)}


def _measure(path: Path) -> dict[str, object]:
    found: dict[str, object] = {"bytes": path.stat().st_size}
    if path.suffix == ".parquet":
        found["rows"] = pq.read_metadata(path).num_rows
    return found


def read_manifest(folder: Path, *, only: Collection[str] = (), without: str = "") -> dict[str, Path]:
    """Verify a `dataset` folder against the manifest beside it; return the files of the manifest by their path.

    Only the files `only` are verified (none given: all), and not `without`. Files that the manifest does not name are
    left out. Raises a SourceError if there is no manifest, or a file is missing, has another content, is a link, or
    lies elsewhere.
    """
    path, remedy = folder.with_name("manifest.json"), "Run the build again, it sends no request"
    try:
        expected = json.loads(path.read_bytes())["files"]
        if not isinstance(expected, dict) or not expected:
            raise TypeError
        names = [name for name in only or expected if name != without]
        faults = [fault for name in names if (fault := _find_fault(folder, name, expected[name]))]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise SourceError(f"{path} is missing or damaged. {remedy}") from None
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise SourceError(f"{folder} is not as it was built: {', '.join(faults[:3])}{more}. {remedy}")
    return {name: folder / name for name in expected}


def _find_fault(folder: Path, name: str, expected: dict[str, object]) -> str:
    """Return what is wrong with a file, "" if it is as it was built."""
    file, root = folder / name, os.path.realpath(folder)
    if os.path.realpath(file) != f"{root}{os.sep}{name}":
        return f"{name} is a link or lies elsewhere"
    if not file.is_file():
        return f"{name} is missing"
    is_same = hash_file(file) == expected["sha256"] and expected.items() >= _measure(file).items()
    return "" if is_same else f"{name} has changed"
