"""The memory of this process: what it holds, and what it held at most since it was last asked."""

import resource
import sys
from pathlib import Path

_MAXRSS_A_MB = 2**20 if sys.platform == "darwin" else 2**10


def resident() -> float:
    """Return the resident memory in MB, and have its highest counted from here, where Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return highest()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def highest() -> float:
    """Return the highest resident memory in MB, since `resident` was called or since the start."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_A_MB
