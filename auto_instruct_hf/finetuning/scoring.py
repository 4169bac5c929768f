"""What a model makes of held-out tasks: the loss of each reference answer, and its own greedy answers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset
from rapidfuzz.distance import LCSseq

from ..core import FloatArray
from ..novelty import TOKENIZERS, choose_tokenizer, f1
from .budget import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# On a GPU, a token of all answers takes as long as one of a few.
_ANSWERS_PER_BATCH, _ANSWERS_PER_BATCH_ON_GPU = 8, 32


def measure_losses(model: "PreTrainedModel", tasks: Sequence[Tokens]) -> list[float]:
    """Return the sum of the losses of the answer tokens of each task, in nats.

    One task in a forward pass: batches of other sizes would change the last digits.
    """
    import torch

    model.eval()
    found = []
    with torch.no_grad():
        for task in tasks:
            ids = torch.tensor([task.ids], device=model.device)
            # Logits before the answer are the larger part, and are not needed.
            logits = model(input_ids=ids, logits_to_keep=task.num_answer + 1).logits[0, -task.num_answer - 1 : -1]
            answer = ids[0, task.num_prompt :]
            found.append(float(torch.nn.functional.cross_entropy(logits.float(), answer, reduction="sum")))
    return found


def answer_greedily(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", tasks: Dataset, max_new_tokens: int
) -> list[str]:
    """Return the model's answers without sampling; `tasks` has the column `prompt` as in `rows.EXAMPLES`."""
    import torch

    model.eval()
    prompts = tasks["prompt"][:]
    texts = [tokenizer.apply_chat_template(one, add_generation_prompt=True, tokenize=False) for one in prompts]
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    found: list[str] = []
    size = _ANSWERS_PER_BATCH_ON_GPU if model.device.type == "cuda" else _ANSWERS_PER_BATCH
    for start in range(0, len(texts), size):
        batch = tokenizer(texts[start : start + size], return_tensors="pt", padding=True, add_special_tokens=False).to(
            model.device
        )
        with torch.no_grad():
            ids = model.generate(  # type: ignore[operator]  # transformers types it as a module
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=False,
                max_new_tokens=max_new_tokens,
                use_cache=True,
            )
        answers = tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        found += map(str.strip, answers)
    tokenizer.padding_side = side
    return found


def measure_rouge(answers: Sequence[str], references: Sequence[str]) -> FloatArray:
    """Return the ROUGE-L F1 of each answer with its reference."""
    tokenizer = TOKENIZERS[choose_tokenizer(references)]
    pairs = [(tokenizer(one), tokenizer(other)) for one, other in zip(answers, references, strict=True)]
    lcs = np.array([LCSseq.similarity(one, other) for one, other in pairs], dtype=np.int64)
    lengths = np.array([(len(one), len(other)) for one, other in pairs], dtype=np.int64).reshape(-1, 2)
    return f1(lcs, lengths[:, 0], lengths[:, 1])
