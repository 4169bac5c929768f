"""Read the `dataset` folder of a build: its report, its recipe and its rows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import Dataset, DatasetDict

from ..core import CHAT, read_manifest, to_table
from ..errors import RecipeError, SourceError
from ..recipe import Recipe
from .questions import DatasetRow

_CHUNK = 10_000


@dataclass(frozen=True)
class BuiltFolder:
    """The `dataset` folder of a build."""

    path: Path
    report: DatasetRow
    """The published report, as `publishing` writes it."""
    recipe: Recipe

    def read_splits(self, config: str) -> DatasetDict:
        """Read a config, `default` or `instances`; splits in the order in which they were written."""
        folder, found = self.path / "data" / config, DatasetDict()
        for split in self.report["configs"][config]:
            files = sorted(folder.glob(f"{split}-*.parquet"))
            if not files:
                raise SourceError(f"{folder} has no file of {split}: run the build again, it sends no request twice")
            try:
                found[split] = Dataset(pyarrow.concat_tables(map(pyarrow.parquet.read_table, files)))
            except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
                raise SourceError(f"{folder} cannot be read: {error}") from None
        return found


def read_built(out: Path) -> BuiltFolder:
    """Read the report and the recipe of the build in a folder; rows are read on demand.

    Raises SourceError if there is no build in the folder, it was built by another version, or a file but the card is
    not as it was built.
    """
    folder = out / "dataset"
    if folder.is_dir():
        read_manifest(folder, without="README.md")
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        recipe = Recipe.from_yaml(folder / "recipe.yaml")
        if not {"configs", "title", "seeds", "teacher"} <= set(report):
            raise RecipeError("report.json lacks a part")
    except (OSError, ValueError, TypeError):
        raise SourceError(
            f"{out} holds no built dataset (dataset/report.json, recipe.yaml and data): build one with "
            "`auto-instruct build`, or give a file or the id of a dataset on the Hub"
        ) from None
    except RecipeError as error:
        remedy = f"run the build again, it sends no request twice ({error})"
        raise SourceError(f"{out} was built by another version: {remedy}") from None
    return BuiltFolder(folder, report, recipe)


def digest_splits(instances: Mapping[str, Dataset], sample: Mapping[str, Dataset]) -> str:
    """Return a hash of the rows of all instances, in any order, and of the ids in each split of the sample."""
    names = sorted(set(next(iter(instances.values())).column_names) - set(CHAT))
    whole = sorted(digest for part in instances.values() for digest in _digest_rows(part, names))
    drawn = [name.encode() + b"".join(_digest_rows(part, ["instance_id"])) for name, part in sorted(sample.items())]
    return hashlib.sha256(b"\n".join([b"".join(whole), *drawn])).hexdigest()[:16]


def _digest_rows(rows: Dataset, names: Sequence[str]) -> list[bytes]:
    parts = to_table(rows, names).to_batches(max_chunksize=_CHUNK)
    found = (row for part in parts for row in zip(*(part[name].to_pylist() for name in names), strict=True))
    return sorted(hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).digest() for row in found)
