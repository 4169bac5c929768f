"""A chat model of a few thousand parameters, made on the spot."""

from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_tokenizer() -> Any:
    """Return a tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<eos>", "<pad>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    one = Tokenizer(models.BPE({token: number for number, token in enumerate(vocabulary)}, []))
    one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    one.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=one, eos_token="<eos>", pad_token="<pad>", chat_template=TEMPLATE)


def make_model(tokenizer: Any, width: int = 8) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(
        vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **sizes
    )
    return LlamaForCausalLM(config)


def save_model(folder: Path, width: int = 8, seed: int = 0) -> Path:
    """Save model and tokenizer as `from_pretrained` reads them."""
    import torch

    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    make_model(tokenizer, width).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
