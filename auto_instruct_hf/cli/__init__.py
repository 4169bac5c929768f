"""The command `auto-instruct`; heavy libraries are imported inside the commands, so that `--help` is quick."""

from .app import main, run_command

__all__ = ["main", "run_command"]
