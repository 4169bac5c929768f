"""Embeddings by ONNX Runtime: the transformer is exported once; tokeniser and pooling stay sentence-transformers'."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BuildError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


_REMEDY = "pip install 'auto-instruct-hf[onnx]', or take torch"


def use_onnx(model: "SentenceTransformer", exported: Path) -> None:
    """Let ONNX Runtime compute a model's transformer, in float32 on the CPU.

    Args:
        model: Its first module is a text transformer; changed in place.
        exported: The file to export to, read where it is there.

    Raises:
        BuildError: If ONNX Runtime is not installed, or the model cannot be exported.
    """
    try:
        import onnxruntime
    except ImportError:
        raise BuildError(f"embedding.backend is onnx, and onnxruntime is not installed: {_REMEDY}") from None
    transformer: Any = model[0]
    if not exported.exists():
        _export(transformer, exported)
    options = onnxruntime.SessionOptions()
    # Threads that wait in a loop take the cores from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def forward(features: dict[str, Any], **_: Any) -> dict[str, Any]:
        import torch

        (embeddings,) = session.run(None, {name: features[name].numpy() for name in names})
        return {**features, transformer.module_output_name: torch.from_numpy(embeddings)}

    transformer.forward = forward


def _export(transformer: Any, path: Path) -> None:
    import torch

    class LastLayer(torch.nn.Module):
        def forward(self, *inputs: Any) -> Any:
            return transformer.auto_model(**dict(zip(names, inputs, strict=True)))[0]

    found = transformer.preprocess(["a text of some words", "another"])
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in found]
    new = path.with_suffix(f".{os.getpid()}")
    wrapped = LastLayer()
    wrapped.inner = transformer.auto_model
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                wrapped.eval(),
                tuple(found[name] for name in names),
                str(new),
                input_names=names,
                output_names=["embeddings"],
                dynamic_axes={name: {0: "rows", 1: "tokens"} for name in [*names, "embeddings"]},
                dynamo=False,
            )
    except Exception as error:  # the exporter raises errors of many kinds
        new.unlink(missing_ok=True)
        raise BuildError(f"the embedding model cannot be exported for ONNX Runtime ({error}): {_REMEDY}") from error
    new.replace(path)
