"""Embeddings by ONNX Runtime: the transformer is exported once; tokenizer and pooling stay sentence-transformers'."""

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..core import is_intact, seal
from ..errors import BuildError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_REMEDY = "pip install 'auto-instruct-hf[onnx]', or use torch"


def use_onnx(model: "SentenceTransformer", exported: Path, *, in_8_bits: bool = False) -> None:
    """Run a model's first module, a text transformer, with ONNX Runtime on the CPU; `model` is changed in place.

    The exported file is written if it does not exist or is damaged. `in_8_bits`: weights are quantized per channel,
    activations dynamically; else float32. Raise a BuildError if ONNX Runtime is not installed, or the model cannot be
    exported.
    """
    try:
        import onnxruntime
    except ImportError:
        raise BuildError(f"embedding.backend is onnx, and onnxruntime is not installed: {_REMEDY}") from None
    import torch

    transformer: Any = model[0]
    if not is_intact(exported):
        try:
            with TemporaryDirectory(dir=exported.parent) as folder:
                _export(transformer, Path(folder), in_8_bits).replace(exported)
            seal(exported)
        except Exception as error:  # the exporter raises errors of many kinds
            raise BuildError(f"the embedding model cannot be exported for ONNX Runtime ({error}): {_REMEDY}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # batches run side by side instead: see `encoders`
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def forward(features: "dict[str, torch.Tensor]", **_: object) -> "dict[str, torch.Tensor]":
        (embeddings,) = session.run(None, {name: features[name].numpy() for name in names})
        return {**features, transformer.module_output_name: torch.from_numpy(embeddings)}

    transformer.forward = forward


def _export(transformer: Any, folder: Path, in_8_bits: bool) -> Path:
    import torch

    class LastLayer(torch.nn.Module):
        def forward(self, *inputs: "torch.Tensor") -> "torch.Tensor":
            return transformer.auto_model(**dict(zip(names, inputs, strict=True)))[0]  # type: ignore[no-any-return]  # untyped

    found = transformer.preprocess(["a text of some words", "another"])
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in found]
    exported, quantized = folder / "float32.onnx", folder / "int8.onnx"
    wrapped = LastLayer()
    wrapped.inner = transformer.auto_model
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped.eval(),
            tuple(found[name] for name in names),
            str(exported),
            input_names=names,
            output_names=["embeddings"],
            dynamic_axes={name: {0: "rows", 1: "tokens"} for name in [*names, "embeddings"]},
            dynamo=False,
        )
    if not in_8_bits:
        return exported
    from onnxruntime.quantization import QuantType, quantize_dynamic

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises a preprocessing step that has no effect here
    try:
        quantize_dynamic(str(exported), str(quantized), per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logging.disable(level)
    return quantized
