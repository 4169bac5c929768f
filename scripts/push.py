"""Publish a build on the Hub: `auto-instruct push`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("push")
