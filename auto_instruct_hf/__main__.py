"""`python -m auto_instruct_hf` is `auto-instruct`."""

from .cli import main

main()
