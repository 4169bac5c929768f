"""Tasks that no arm is trained on, and the rows that must leave the arms because they are near to one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from datasets import Dataset

from ..core import make_id, normalise
from ..curation import EvaluationSet, decontaminate_batch
from ..embedding import open_encoder, require_model
from ..errors import BuildError, SourceError, WeightsError
from ..novelty import CosineIndex, choose_tokenizer, knows_script, near_copies
from ..recipe import EmbeddingSettings, SplittingSettings
from ..settings import DecontaminationSettings
from .rows import read_examples

SELF_INSTRUCT_TASKS = "self-instruct"
# The 252 user-oriented instructions of Self-Instruct (arXiv:2212.10560, section 4.4).
_NAMED = {SELF_INSTRUCT_TASKS: "HuggingFaceH4/self-instruct-eval"}
# As for two splits of a build.
_MAX_SIMILARITY, _MAX_COSINE = SplittingSettings.max_similarity, SplittingSettings.max_cosine or 1.0
_IN_MEANING = f"cosine above {_MAX_COSINE} with the held-out tasks"


def read_held_out(source: str | Path, seeds: Dataset | None) -> tuple[Dataset, int]:
    """Read held-out tasks, without those that are near to a seed of the build.

    Args:
        source: As for `read_examples`, or SELF_INSTRUCT_TASKS.
        seeds: The seeds that the build was made from; None: unknown.

    Returns:
        Columns as `rows.EXAMPLES`, and the number of tasks that were left out.

    Raises:
        SourceError: If it has no task, or none is left: the seeds cannot test what was made from them.
    """
    tasks = read_examples(_NAMED.get(str(source), source), None)
    if not len(tasks):
        raise SourceError(f"{source} has no task with an answer: name others with --held-out")
    if seeds is None:
        return tasks, 0
    instructions = tasks["instruction"][:]
    tokenizer = choose_tokenizer(instructions)
    novel = near_copies(instructions, seeds["instruction"][:], _MAX_SIMILARITY, tokenizer).is_novel
    known = set(map(normalise, seeds["instruction"][:]))  # texts of other scripts have no ROUGE-L
    kept = [row for row, text in enumerate(instructions) if novel[row] and normalise(text) not in known]
    if not kept:
        raise SourceError(
            f"every task of {source} is a seed of the build, or near to one: seeds cannot test what was made from "
            "them. Name other tasks with --held-out"
        )
    return tasks.select(kept), len(tasks) - len(kept)


def pick_tasks(tasks: Dataset, size: int | None) -> Dataset:
    """Return `size` tasks (None: all) at random, the same ones whatever the order of the rows."""
    keys = [make_id(*texts) for texts in zip(tasks["instruction"][:], tasks["input"][:], strict=True)]
    return tasks.select(sorted(range(len(tasks)), key=keys.__getitem__)[:size])


def drop_near(
    arms: Mapping[str, Dataset],
    tasks: Sequence[Dataset],
    *,
    embedding: EmbeddingSettings | None = None,
    cache_dir: Path | None = None,
) -> tuple[dict[str, Dataset], dict[str, dict[str, int]], str]:
    """Drop the rows of arms that are near to a held-out task.

    Near is: a ROUGE-L above 0.7 or 13 words in a row in common, of the instruction, the input or both together, as in
    decontamination; or a cosine of the instructions above that across splits.

    Args:
        arms: Columns as `rows.EXAMPLES`.
        tasks: All sets of held-out tasks, columns likewise.
        embedding: The model for cosines.
        cache_dir: Folder of the vectors; None: as in `core.apply`.

    Returns:
        The arms, the number of dropped rows by arm and reason, and why meanings were not compared ("": they were).
    """
    instructions = sorted({text for part in tasks for text in part["instruction"]})
    texts = set(instructions)
    for part in tasks:
        shown = zip(part["instruction"], part["input"], strict=True)
        texts |= {f"{task}\n\n{given}".strip() for task, given in shown}
    held_out = [EvaluationSet("the held-out tasks", "instruction", tuple(sorted(texts)))]
    is_near, uncompared = _open_cosines(instructions, embedding or EmbeddingSettings(), cache_dir)
    kept, dropped = {}, {}
    for name, rows in arms.items():
        batch = {column: rows[column][:] for column in ("instruction", "input")}
        reasons = [
            decontaminate_batch(batch, evaluation=held_out, settings=DecontaminationSettings(method=method))["rejected"]
            for method in ("rouge", "ngram")
        ]
        reasons.append([_IN_MEANING if near else "" for near in is_near(batch["instruction"])])
        first = [next(filter(None, found), "") for found in zip(*reasons, strict=True)]
        dropped[name] = dict(Counter(filter(None, first)))
        kept[name] = rows.select([row for row, reason in enumerate(first) if not reason])
    return kept, dropped, uncompared


def _open_cosines(
    instructions: list[str], embedding: EmbeddingSettings, cache_dir: Path | None
) -> tuple[Callable[[list[str]], list[bool]], str]:
    """Return a function that finds texts near to an instruction in meaning, and why it cannot ("": it can)."""
    try:
        require_model(embedding)
    except (BuildError, WeightsError) as error:
        return lambda texts: [False] * len(texts), str(error)
    if not knows_script(embedding, instructions):
        return lambda texts: [False] * len(texts), f"{embedding.model} does not know the script"
    encode, index = open_encoder(embedding, cache_dir), CosineIndex(_MAX_COSINE)
    index.add(encode(instructions))
    return lambda texts: (~index.compare(encode(texts)).is_novel).tolist() if texts else [], ""
