"""Choose the instances of a build to rate; the choice is kept with the ratings."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import Dataset

from ...core import INSTANCES
from ...errors import RatingError
from ...sampling import pick
from ..questions import QUESTIONS
from .app import RatingAppError, RatingQuestion, RatingStore

SIZE = 50
SEED = 42


def open_store(path: Path) -> RatingStore:
    """Open or create a file of ratings with the four questions.

    Args:
        path: The file.

    Returns:
        The store.

    Raises:
        RatingError: If it cannot be opened, is not a file of ratings, or has a later format.
    """
    try:
        return RatingStore(path, [RatingQuestion(one.name, one.text, one.needs_strategy) for one in QUESTIONS])
    except RatingAppError as error:
        raise RatingError(str(error)) from None


def name_dataset(out: Path) -> str:
    """Return the title of a build, or the name of its folder."""
    try:
        return str(json.loads((out / "dataset" / "report.json").read_text(encoding="utf-8"))["title"])
    except (OSError, ValueError, KeyError, TypeError):
        return out.resolve().name


def read_instances(out: Path) -> Dataset:
    """Read every curated instance of a build once, of all splits.

    Args:
        out: Folder of the build.

    Returns:
        Columns as `schema.CLUSTERED`, and `messages`.

    Raises:
        RatingError: If there is no build in the folder.
    """
    files = sorted((out / "dataset" / "data" / "instances").glob("*.parquet"))
    if not files:
        raise RatingError(f"{out} holds no built dataset (dataset/data/instances): build one with scripts/build.py")
    return Dataset(pyarrow.concat_tables(pyarrow.parquet.read_table(file) for file in files))


def fix_items(store: RatingStore, out: Path, size: int | None = None, seed: int | None = None) -> int:
    """Choose the instances to rate, or more of them; those chosen before stay.

    Args:
        store: Where they are kept, independent of later changes of the build.
        out: Folder of the build.
        size: Their number. None: as before, at first SIZE. Further ones are sampled from the other instructions.
        seed: Random seed. None: as before, at first SEED.

    Returns:
        Their number; fewer than `size` if the build has fewer instructions.

    Raises:
        RatingError: If `size` is smaller than before, `seed` differs, or there is no build.
    """
    there, before = store.items(), store.seed()
    if before is not None and seed not in (None, before):
        raise RatingError(
            f"{store.path} holds a sample with seed {before}, not {seed}: leave out the seed, or move the file away"
        )
    if size is not None and size < len(there):
        raise RatingError(
            f"{store.path} holds {len(there)} instances, more than {size}: leave out the size, or move the file away"
        )
    more = (size or len(there) or SIZE) - len(there)
    if more:
        rated = {row["instruction_id"] for row in there}
        instances = read_instances(out)
        rest = [row for row, one in enumerate(instances["instruction_id"][:]) if one not in rated]
        if rest:
            seed = before if before is not None else SEED if seed is None else seed
            picked = pick(instances.select(rest), more, seed)
            store.add_items(picked.select_columns(list(INSTANCES)).to_list(), seed)
    return len(store.items())
