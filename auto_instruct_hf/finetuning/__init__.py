"""Does it train? Fine-tune a small model on a dataset and on others at an equal budget (extra `finetune`)."""

from .finetune import ON_CPU, ON_GPU, FinetuningSize, finetune

__all__ = ["ON_CPU", "ON_GPU", "FinetuningSize", "finetune"]
