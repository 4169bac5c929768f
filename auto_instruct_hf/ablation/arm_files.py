"""The arms of an ablation as files, to train on."""

from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset, DatasetDict

from ..core import CHAT, INSTANCES, new_file, without_bars
from ..errors import SourceError
from ..recipe import Recipe
from ..sampling import add_messages

SELF_INSTRUCT, ATTRIBUTES, FULL = ARMS = ("self-instruct", "attributes", "full")
_FOLDER = "arms"


def write_arms(out: Path, pools: Mapping[str, Dataset], samples: Mapping[str, Dataset], recipe: Recipe) -> None:
    """Write the sample of each arm to `out/arms/ARM.parquet`: columns as `schema.INSTANCES` and `schema.CHAT`.

    `pools` have what each was sampled from: it shows which prompts have several outputs.
    """
    folder = out / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for arm, sample in samples.items():
        rows, pool = (DatasetDict(train=part.select_columns(list(INSTANCES))) for part in (sample, pools[arm]))
        chats = add_messages(rows, settings=recipe.chat, instances=pool, cache_dir=out / "cache")["train"]
        with new_file(folder / f"{arm}.parquet") as fresh, without_bars():
            chats.to_parquet(fresh)


def read_arms(out: Path) -> dict[str, Dataset]:
    """Read the arms that an ablation left in a folder, in the order of ARMS; {} if there are none."""
    found = {}
    for arm in ARMS:
        path = out / _FOLDER / f"{arm}.parquet"
        if path.is_file():
            with without_bars():
                found[arm] = Dataset.from_parquet(str(path))
            if missing := {*INSTANCES, *CHAT} - set(found[arm].column_names):
                raise SourceError(f"{path} lacks the column {min(missing)!r}: run the ablation again")
    return found
