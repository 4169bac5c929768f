"""Whether outputs belong to their instructions, a module for `evaluate`."""

from typing import Any

import datasets
import evaluate
import numpy as np

from auto_instruct_hf.evaluation.measures import embed_texts, join_prompt, measure_alignment
from auto_instruct_hf.recipe import EmbeddingSettings

_DESCRIPTION = """\
How often an output is nearer, by the cosine of sentence embeddings, to its own instruction and input than to those of a
random row with another instruction: 0.5 is chance. A share s of outputs dealt to other rows at random brings it down by
s times what it is above 0.5. It sees subject matter alone, not whether an answer is right, and little in short outputs.
"""
_INPUTS = """
Args:
    instructions (list of str): rows of one instruction are not compared with each other.
    inputs (list of str): "" where there is none.
    outputs (list of str): the answers.
    prompt_embeddings, output_embeddings (arrays of unit length, optional): None embeds the texts by `model`.
    model (str): a sentence-transformers model.
    num_controls (int): rows that the others are compared with, a random sample where there are more.
    seed (int): decides the controls.
Returns:
    auc in [0, 1], standard_error (as if rows were independent), share_below_chance, own_cosine, other_cosine, num_rows,
    num_controls.
Examples:
    >>> alignment = evaluate.load("auto_instruct_hf/evaluation/alignment")
    >>> alignment.compute(instructions=["Name a planet.", "Name a cheese."], inputs=["", ""],
    ...                   outputs=["Mars is a planet.", "Brie is a cheese."])["auc"]
    1.0
"""


class Alignment(evaluate.Measurement):
    """Whether outputs belong to their instructions."""

    def _info(self) -> Any:
        columns = ("instructions", "inputs", "outputs")
        return evaluate.MeasurementInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({name: datasets.Value("string") for name in columns}),
        )

    def _compute(
        self,
        instructions: list[str],
        inputs: list[str],
        outputs: list[str],
        prompt_embeddings: Any = None,
        output_embeddings: Any = None,
        model: str = EmbeddingSettings.model,
        num_controls: int = 1000,
        seed: int = 42,
    ) -> dict[str, Any]:
        settings = EmbeddingSettings(model=model)
        if prompt_embeddings is None:
            prompt_embeddings = embed_texts(list(map(join_prompt, instructions, inputs)), settings)
        if output_embeddings is None:
            output_embeddings = embed_texts(outputs, settings)
        vectors = np.asarray(prompt_embeddings), np.asarray(output_embeddings)
        return measure_alignment(*vectors, instructions, num_controls=num_controls, seed=seed)
