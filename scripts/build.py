"""Build an instruction-tuning dataset: `auto-instruct build`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("build")
