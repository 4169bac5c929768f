"""Compare the recipe with parts of it: `auto-instruct ablate`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("ablate")
