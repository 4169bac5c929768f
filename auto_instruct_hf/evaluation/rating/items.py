"""Which instances of a build are rated: picked once, and kept with the ratings."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import Dataset

from ...core import INSTANCES
from ...errors import RatingError
from ...sampling import pick
from .store import RatingStore

SIZE = 50
SEED = 42


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
    """Pick the instances that are to be rated, or more of them; those that were picked before stay, as they were.

    Args:
        store: Where they are kept. From the first pick on a changed build changes none of them.
        out: Folder of the build.
        size: How many there are to be. None: those that are there, at first SIZE. The new ones of a larger number are
            picked by themselves, of instructions that are not among the others.
        seed: Decides the picks. None: the one used before, at first SEED.

    Returns:
        How many there are; fewer than `size` where the build has fewer instructions.

    Raises:
        RatingError: If `size` is smaller than what is there, `seed` is another, or there is no build.
    """
    there, before = store.items(), store.seed()
    if before is not None and seed not in (None, before):
        raise RatingError(f"{store.path} holds picks of seed {before}, not {seed}: leave out the seed, or move it away")
    if size is not None and size < len(there):
        raise RatingError(
            f"{store.path} holds {len(there)} instances, more than {size}: leave out the size, or move it away"
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
