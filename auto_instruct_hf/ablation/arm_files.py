"""The arms of an ablation as files, to train on."""

import logging
from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset, DatasetDict

from ..core import CHAT, INSTANCES, fingerprint, hash_file, new_file, without_bars, write_changed
from ..errors import SourceError
from ..recipe import Recipe
from ..sampling import add_messages

SELF_INSTRUCT, ATTRIBUTES, FULL = ARMS = ("self-instruct", "attributes", "full")
_LOG = logging.getLogger(__name__)
_FOLDER, _BUILD = "arms", "build.txt"


def write_arms(out: Path, pools: Mapping[str, Dataset], samples: Mapping[str, Dataset], recipe: Recipe) -> None:
    """Write the sample of each arm to `out/arms/ARM.parquet`: columns as `schema.INSTANCES` and `schema.CHAT`.

    Those of an earlier ablation are removed. `out` holds the build of the arms. `pools` have what each was sampled
    from: it shows which prompts have several outputs.
    """
    folder = out / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    left_by_kills = folder.glob(".*.parquet.*")
    for path in (folder / _BUILD, *(folder / f"{arm}.parquet" for arm in ARMS), *left_by_kills):
        path.unlink(missing_ok=True)
    for arm, sample in samples.items():
        rows, pool = (DatasetDict(train=part.select_columns(list(INSTANCES))) for part in (sample, pools[arm]))
        chats = add_messages(rows, settings=recipe.chat, instances=pool, cache_dir=out / "cache")["train"]
        with new_file(folder / f"{arm}.parquet") as fresh, without_bars():
            chats.to_parquet(fresh)
    write_changed(folder / _BUILD, _hash_build(out).encode())


def read_arms(out: Path) -> dict[str, Dataset]:
    """Read the arms that an ablation left in a folder, in the order of ARMS.

    Returns {} if there are none, or, with a warning, if the build in the folder is not the one they belong to.
    """
    folder = out / _FOLDER
    paths = {arm: path for arm in ARMS if (path := folder / f"{arm}.parquet").is_file()}
    belongs_to = folder / _BUILD
    if paths and belongs_to.is_file() and belongs_to.read_text() != _hash_build(out):
        _LOG.warning(
            "the arms in %s are not of the build in %s, so they are not read: run the ablation again", folder, out
        )
        return {}
    found = {}
    for arm, path in paths.items():
        with without_bars():
            found[arm] = Dataset.from_parquet(str(path))
        if missing := {*INSTANCES, *CHAT} - set(found[arm].column_names):
            raise SourceError(f"{path} lacks the column {min(missing)!r}: run the ablation again")
    return found


def _hash_build(out: Path) -> str:
    """Return a hash of the rows of a build: equal rows give equal files."""
    return fingerprint(*(hash_file(path) for path in sorted(out.glob("dataset/data/*/*.parquet"))))
