"""Evaluate a build, or any instruction dataset: `auto-instruct evaluate`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("evaluate")
