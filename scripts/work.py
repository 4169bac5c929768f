"""Compute a shard of a phase of a build: `auto-instruct work`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("work")
