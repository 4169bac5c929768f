"""Read rows from a file or a dataset on the Hub."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from datasets import DatasetDict, load_dataset

from ..errors import RecipeError, SourceError
from .table_files import FORMATS, Row, first_line, is_table, list_rows, name_format, read_file, read_text
from .transform import without_bars

_FLAGS = dict.fromkeys(("yes", "true", "1", "1.0"), True) | dict.fromkeys(("no", "false", "0", "0.0", "nan", ""), False)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def read_rows(
    source: str | Path,
    what: str,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    splits: Sequence[str] = ("train",),
    may_join: bool = False,
) -> list[Row]:
    """Read the rows of a file, of a folder (see `read_file`) or of a dataset on the Hub, without changing them.

    `what` names the rows in error messages, in the plural. On the Hub, `split` is read; if it is None, the first of
    `splits` that exists, else the only split, else all splits if `may_join`. A SourceError says where reading failed.
    """
    path, formats = Path(source), ", ".join(FORMATS)
    if path.is_file() and not name_format(path):
        raise SourceError(f"{path} ends in {path.suffix or 'nothing'}: {what} are read from {formats}")
    if is_table(path):
        return read_file(path)
    if path.exists():
        raise SourceError(
            f"{source} is not a file: give one of {formats}, a folder of Parquet files or of a saved dataset, or the "
            "id of a dataset on the Hub"
        )
    if not _HUB_ID.fullmatch(str(source)) or name_format(path):
        raise SourceError(
            f"no such file of {what}: {source}. Give a file, or the id of a dataset on the Hub (user/name)"
        )
    try:
        with without_bars():
            loaded = load_dataset(str(source), config, split=split, revision=revision)
    except Exception as error:  # the clients below raise many kinds of errors; each is reported in one line
        raise SourceError(f"cannot load the {what} {source} from the Hub: {first_line(error)}") from None
    if not isinstance(loaded, DatasetDict):
        loaded = DatasetDict({"": loaded})
    names = [name for name in splits if name in loaded][:1] or list(loaded)
    if len(names) > 1 and not may_join:
        missing = " and no ".join(splits)
        raise SourceError(f"{source} has the splits {', '.join(loaded)} and no {missing}: name the one to read")
    return [row for name in names for row in list_rows(loaded[name])]


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, stripped, without blank ones."""
    return [line.strip() for line in read_text(path).split("\n") if line.strip()]


def to_flag(value: object) -> bool | None:
    """Parse a yes or no as people write it ("Yes", "no", "true", "0"; None and "" mean no); None if it is neither."""
    return _FLAGS.get("" if value is None else str(value).strip().lower())


def parse_columns(pairs: Iterable[str] | None) -> dict[str, str]:
    """Parse the values of `--column`, such as `instruction=prompt`: column of this package -> column of the file."""
    found = list(pairs or ())
    for pair in found:
        if "=" not in pair:
            raise RecipeError(f"--column is {pair!r}; it should be like instruction=prompt")
    return dict(pair.split("=", 1) for pair in found)
