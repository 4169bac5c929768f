"""The packaged SmolLM2-135M-Instruct as a model to train: read from its GGUF file once, then kept as safetensors."""

import os
import shutil
import tempfile
from pathlib import Path

from ..core import default_folder, is_intact, seal
from ..errors import WeightsError
from ..teacher import find_packaged_weights

PACKAGED = "SmolLM2-135M-Instruct"
_WEIGHTS, _DONE = "model.safetensors", "config.json"


def packaged_model_folder(cache_dir: Path | None = None) -> Path:
    """Return the folder of the packaged model and its tokenizer, which `from_pretrained` reads without a network.

    The first call converts the weights (some 25 seconds, 1.2 GB of memory, 0.5 GB on disk); later ones verify them by a
    checksum. `cache_dir` is the parent folder; None: that of `core.apply`. Raise a WeightsError if the package with the
    weights is not installed.
    """
    weights = find_packaged_weights()
    folder = (cache_dir or default_folder()) / f"{PACKAGED}-float32"
    if (folder / _DONE).is_file() and is_intact(folder / _WEIGHTS):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as fresh:
        _convert(weights, Path(fresh))
        seal(Path(fresh) / _WEIGHTS)
        if not is_intact(folder / _WEIGHTS):
            shutil.rmtree(folder, ignore_errors=True)  # damaged
        try:
            os.rename(fresh, folder)
        except OSError as error:
            if not is_intact(folder / _WEIGHTS):  # another process was not first either
                raise WeightsError(f"the model cannot be kept in {folder}: {error}") from None
        else:
            Path(fresh).mkdir()  # for the context manager to remove
    return folder


def _convert(weights: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # The weights are dequantized; transformers would refuse to save what it still takes for a quantized model.
    for name, value in (("hf_quantizer", None), ("is_quantized", False)):
        setattr(model, name, value)
    del model.config.quantization_config
    model.save_pretrained(folder)
