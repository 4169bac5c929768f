"""What every phase uses: the cached map, columns and their types, texts, row readers, files."""

from .arrays import FloatArray, IntArray, Vectors
from .files import hash_file, lock_build, to_json, write_changed
from .filter_words import any_of, load_filters, plain, run_of
from .markdown import fenced, inline, json_block
from .packaged_weights import find_weights
from .progress import ProgressLine
from .row_readers import parse_columns, read_lines, read_rows, to_flag
from .schema import (
    ATTRIBUTED,
    ATTRIBUTES,
    CLUSTERED,
    INSTANCES,
    INSTRUCTIONS,
    MESSAGES,
    SEEDS,
    TEXT_COLUMNS,
    require_columns,
    with_rejected,
)
from .sqlite import open_database, transaction
from .table_files import brief
from .texts import (
    CONTROL,
    UNSPACED,
    count_words,
    flatten,
    hide_folder,
    instruction_id,
    make_id,
    normalise,
    text_or_nothing,
)
from .transform import (
    ASKING_BATCH,
    Batch,
    Columns,
    Trace,
    apply,
    columns,
    default_folder,
    fingerprint,
    from_rows,
    keep,
    rows,
    without_bars,
)
from .verb_objects import root_verb_and_object

__all__ = [
    "ASKING_BATCH",
    "ATTRIBUTED",
    "ATTRIBUTES",
    "CLUSTERED",
    "CONTROL",
    "INSTANCES",
    "INSTRUCTIONS",
    "MESSAGES",
    "SEEDS",
    "TEXT_COLUMNS",
    "UNSPACED",
    "Batch",
    "Columns",
    "FloatArray",
    "IntArray",
    "ProgressLine",
    "Trace",
    "Vectors",
    "any_of",
    "apply",
    "brief",
    "columns",
    "count_words",
    "default_folder",
    "fenced",
    "find_weights",
    "fingerprint",
    "flatten",
    "from_rows",
    "hash_file",
    "hide_folder",
    "inline",
    "instruction_id",
    "json_block",
    "keep",
    "load_filters",
    "lock_build",
    "make_id",
    "normalise",
    "open_database",
    "parse_columns",
    "plain",
    "read_lines",
    "read_rows",
    "require_columns",
    "root_verb_and_object",
    "rows",
    "run_of",
    "text_or_nothing",
    "to_flag",
    "to_json",
    "transaction",
    "with_rejected",
    "without_bars",
    "write_changed",
]
