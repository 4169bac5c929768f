"""Whether outputs belong to their instructions, a module for `evaluate`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from auto_instruct_hf.evaluation.measurement import make_measurement
from auto_instruct_hf.evaluation.measures import Figures, embed_texts, join_prompt, measure_alignment
from auto_instruct_hf.recipe import EmbeddingSettings


def _align_texts(
    instructions: Sequence[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    prompt_embeddings: npt.ArrayLike | None = None,
    output_embeddings: npt.ArrayLike | None = None,
    model: str = EmbeddingSettings.model,
    num_controls: int = 1000,
    seed: int = 42,
) -> Figures:
    """Measure how often an output is nearer to its own instruction and input than to those of a random other row.

    Texts are compared by the cosine of sentence embeddings; 0.5 is chance. It measures subject matter only, not whether
    an answer is right, and says little of short outputs.

    Args:
        instructions: Rows of one instruction are not compared with each other.
        inputs: "" if there is none.
        outputs: The answers.
        prompt_embeddings: Of instructions and inputs, of unit length; None: computed by `model`.
        output_embeddings: Of unit length; None: computed by `model`.
        model: A sentence-transformers model.
        num_controls: Maximum number of rows that the others are compared with, a random sample.
        seed: Seed of that sample.

    Returns:
        `auc` in [0, 1], its `standard_error` as if rows were independent, `share_below_chance`, `own_cosine`,
        `other_cosine`, `num_rows`, `num_controls`.
    """
    settings = EmbeddingSettings(model=model)
    if prompt_embeddings is None:
        prompt_embeddings = embed_texts(list(map(join_prompt, instructions, inputs)), settings)
    if output_embeddings is None:
        output_embeddings = embed_texts(outputs, settings)
    vectors = np.asarray(prompt_embeddings), np.asarray(output_embeddings)
    return measure_alignment(*vectors, instructions, num_controls=num_controls, seed=seed)


Alignment = make_measurement(
    "alignment",
    _align_texts,
    ("instructions", "inputs", "outputs"),
    example="""\
    >>> alignment.compute(instructions=["Name a planet.", "Name a cheese."], inputs=["", ""],
    ...                   outputs=["Mars is a planet.", "Brie is a cheese."])["auc"]
    1.0
""",
)
