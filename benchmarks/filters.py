"""Count what the filters drop from given files, by file, part and reason: on sound data, each drop is an error.

Files are read as `read_rows` does (JSON Lines, JSON, CSV, Parquet): `instruction`, and if they are there `input`,
`output`, `attribute` (a strategy), `is_classification`; or `instances` with several inputs and outputs, as in
Self-Instruct. Of each file every instruction counts once. `--show` prints what is dropped, to be read. `--published`
also counts the instructions that Self-Instruct's list of banned words drops.

    python benchmarks/filters.py seeds.jsonl mine.parquet --show
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from auto_instruct_hf.core import load_filters, read_rows, text_or_nothing, to_flag
from auto_instruct_hf.curation.rules import find_instance_fault
from auto_instruct_hf.filters import clean_instruction, find_input_fault, find_instruction_fault, find_output_fault
from auto_instruct_hf.recipe import PUBLISHED_BANNED
from auto_instruct_hf.settings import CurationSettings

FILTERS = load_filters()
BANNED = re.compile(rf"\b(?:{'|'.join(PUBLISHED_BANNED)})\b", re.IGNORECASE)


class Row(NamedTuple):
    """An instance, "" where a part is missing."""

    instruction: str
    given: str
    output: str
    attribute: str
    is_classification: bool


def read(path: Path) -> Iterator[Row]:
    """Yield the instances of a file."""
    for row in read_rows(str(path), "rows"):
        for part in row.get("instances") or [row]:
            texts = [str(part.get(name) or "") for name in ("input", "output")]
            yield Row(row["instruction"], *texts, row.get("attribute") or "", bool(to_flag(row["is_classification"])))


def find_faults(row: Row) -> dict[str, str]:
    """Return the faults of an instance by part: instruction, input, output."""
    given = text_or_nothing(row.given)
    is_clf = row.is_classification
    found: dict[str, Any] = {
        "instruction": find_instruction_fault(row.instruction, FILTERS),
        "input": find_input_fault(given, row.instruction, FILTERS),
    }
    if row.output:
        found["output"] = find_instance_fault(
            given, row.output, is_clf, settings=CurationSettings()
        ) or find_output_fault(row.output, row.instruction, given, row.attribute, is_clf, FILTERS)
    return {part: reason for part, reason in found.items() if reason}


def main(
    files: Annotated[list[Path], typer.Argument()],
    *,
    show: Annotated[bool, typer.Option("--show", help="Print each text that is dropped or cleaned.")] = False,
    published: Annotated[bool, typer.Option("--published", help="Count Self-Instruct's banned words too.")] = False,
) -> None:
    """Print a table of figures."""
    print("| file | part | texts | reason | dropped | share |\n|---|---|---|---|---|---|")
    for path in files:
        rows = list(read(path))
        instructions = dict.fromkeys(row.instruction for row in rows)
        sizes = {
            "instruction": len(instructions),
            "input": sum(bool(text_or_nothing(row.given)) for row in rows),
            "output": sum(bool(row.output) for row in rows),
        }
        counts: Counter[tuple[str, str]] = Counter()
        seen = set()
        for row in rows:
            for part, reason in find_faults(row).items():
                text = row.instruction if part == "instruction" else row.given if part == "input" else row.output
                if part != "instruction" or text not in seen:
                    counts[part, reason] += 1
                    seen.add(text)
                    if show:
                        print(f"    {part}: {reason}: {text[:300]!r} of {row.instruction[:120]!r}")
        for text in instructions:
            if (cleaned := clean_instruction(text, FILTERS)) != text.strip():
                counts["instruction", "(cleaned, not dropped)"] += 1
                if show:
                    print(f"    cleaned: {text[:120]!r} -> {cleaned[:120]!r}")
        if published:
            counts["instruction", "(published list of banned words)"] = sum(map(bool, map(BANNED.search, instructions)))
        for part, size in sizes.items():
            dropped = sum(count for (of, reason), count in counts.items() if of == part and reason[0] != "(")
            print(f"| {path.name} | {part} | {size:,} | all | {dropped} | {dropped / max(size, 1):.2%} |")
            for (of, reason), count in sorted(counts.items()):
                if of == part:
                    print(f"| {path.name} | {part} | {size:,} | {reason} | {count} | {count / max(size, 1):.2%} |")


if __name__ == "__main__":
    typer.run(main)
