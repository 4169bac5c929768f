"""The arms: what is trained on instead of, or beside, the dataset."""

from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset

from ..ablation import ARMS, read_arms
from ..errors import RecipeError, SourceError
from ..evaluation import read_built
from ..generation import read_seeds
from .rows import is_build, read_examples, to_examples

SEEDS, DATASET, SHUFFLED = "seeds", "dataset", "shuffled"
_FULL = ARMS[-1]
DESCRIPTIONS = {
    SEEDS: "the seed tasks alone",
    ARMS[0]: "input and output in one request, as Self-Instruct",
    ARMS[1]: "attributes, sampled without clusters",
    _FULL: "the full recipe",
    DATASET: "the dataset",
    SHUFFLED: "control: the same rows, each with the output of another",
}


def read_seed_tasks(source: str | Path, seeds: str | None) -> Dataset | None:
    """Read the seed tasks of a build: those named, else the bundled ones if it was made from them; None: unknown."""
    if seeds is not None:
        return read_seeds(seeds)
    return read_seeds() if is_build(source) and read_built(Path(source)).report["seeds"]["is_bundled"] else None


def collect_arms(
    source: str | Path, seeds: Dataset | None, others: Mapping[str, str]
) -> tuple[dict[str, Dataset], str]:
    """Read the rows of each arm.

    Args:
        source: The dataset, as for `read_examples`; in a folder of an ablation its arms are read.
        seeds: The seed tasks; None: there is no such arm.
        others: Name -> source of further arms.

    Returns:
        Columns as `rows.EXAMPLES` by arm, in the order of DESCRIPTIONS, `others` last, without the control; and the
        name of the arm that the others are compared with.

    Raises:
        RecipeError: If a name is taken.
        SourceError: If an arm is empty.
    """
    if taken := sorted({*DESCRIPTIONS, "untouched"} & set(others)):
        raise RecipeError(f"--arm {taken[0]}=...: that name is taken; the arms are {', '.join(DESCRIPTIONS)}")
    arms = {SEEDS: to_examples(seeds)} if seeds is not None else {}
    ablated = read_arms(Path(source))
    arms |= {name: to_examples(rows) for name, rows in ablated.items()}
    main = _FULL if _FULL in ablated else DATASET
    if main == DATASET:
        arms[DATASET] = read_examples(source)
    arms |= {name: read_examples(other) for name, other in others.items()}
    if empty := [name for name, rows in arms.items() if not len(rows)]:
        raise SourceError(f"the arm {empty[0]} has no rows to train on")
    return arms, main
