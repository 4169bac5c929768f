"""Show the journal of a build: `auto-instruct journal`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("journal")
