"""Let people rate a build in the browser: `auto-instruct rate`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("rate")
