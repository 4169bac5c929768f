"""Train a small model on a build, its seeds and a control, and measure what each brings: `auto-instruct finetune`."""

from auto_instruct_hf.cli import run_command

if __name__ == "__main__":
    run_command("finetune")
