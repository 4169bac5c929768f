"""Does it train? Fine-tune a small model on a dataset and on others at an equal budget (extra `finetune`)."""

from .finetune import ON_CPU, ON_GPU, FinetuningSize, finetune
from .tables import FinetuningTable, describe_training, finetuning_markdown, list_tables, tabulate_losses

__all__ = [
    "ON_CPU",
    "ON_GPU",
    "FinetuningSize",
    "FinetuningTable",
    "describe_training",
    "finetune",
    "finetuning_markdown",
    "list_tables",
    "tabulate_losses",
]
