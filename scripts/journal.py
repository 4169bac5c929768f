"""Show the journal of a build: requests, replies and their cost."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from auto_instruct_hf import AutoInstructError
from auto_instruct_hf.teacher import (
    PERCENTILES,
    Journal,
    JournalRow,
    Prices,
    failed_requests,
    find_request,
    open_journal,
    search_journal,
    summarise_journal,
)

_MAX_FOUND = 20
_TABLE_WIDTH = 120


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the build, or its journal.sqlite.")],
    show: Annotated[str | None, typer.Option(help="Print the request with this key (a prefix is enough).")] = None,
    grep: Annotated[
        str | None, typer.Option(help="List requests that contain a text, in themselves or their replies.")
    ] = None,
    export_failures: Annotated[
        Path | None, typer.Option(help="Write the requests whose reply is unusable to a JSON Lines file.")
    ] = None,
    prune: Annotated[
        str | None,
        typer.Option(
            help="Delete replies, so that the next build requests them again: 'failed' (and never cured), or a phase."
        ),
    ] = None,
) -> None:
    """Without an option: sums by phase, failures by kind, money at list price, latency."""
    try:
        with open_journal(out) as journal:
            if show:
                _show(find_request(journal, show))
            elif grep:
                found = search_journal(journal, grep, _MAX_FOUND)
                for row in found:
                    typer.echo(f"{row['key'][:16]} {row['phase']}: {row['error'] or row['text'][:90]}")
                typer.echo(f"{len(found)} found{', the first of them' if len(found) == _MAX_FOUND else ''}")
            elif export_failures:
                _export(journal, export_failures)
            elif prune:
                _prune(journal, prune)
            else:
                _list(journal)
    except (AutoInstructError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _list(journal: Journal) -> None:
    prices = Prices()
    table = Table(title=str(journal.path), box=SIMPLE)
    names = ("requests", "failed", "tokens in", "cached", "out", "dollars", *(f"p{number} s" for number in PERCENTILES))
    table.add_column("phase, model")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    kinds = []
    for line in summarise_journal(journal):
        usage = line.usage
        name = f"{usage.phase}, {usage.model}{', batch' if usage.is_batch else ''}"
        counts = (usage.requests, usage.failed, usage.input_tokens, usage.cached_tokens, usage.output_tokens)
        latency = [f"{seconds:.2f}" for seconds in line.latency] or [""] * len(PERCENTILES)
        table.add_row(name, *(f"{count:,}" for count in counts), str(prices.price(usage)), *latency)
        kinds += [f"{name}: {count:,} {kind}" for kind, count in line.failures.items()]
    Console(width=_TABLE_WIDTH, highlight=False, markup=False).print(table)
    for kind in kinds:
        typer.echo(f"failed in {kind}")


def _show(row: JournalRow) -> None:
    request = row.pop("request")
    for message in request.get("messages", ()):
        typer.echo(f"--- {message['role']}\n{message['content']}")
    typer.echo(f"--- reply\n{row.pop('raw') or row['text']}")
    rest = {name: value for name, value in {**request, **row}.items() if name not in ("messages", "text")}
    typer.echo(f"--- the rest\n{json.dumps(rest, indent=2, ensure_ascii=False)}")


def _export(journal: Journal, path: Path) -> None:
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for row in failed_requests(journal):
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    typer.echo(f"{count:,} failures in {path}")


def _prune(journal: Journal, what: str) -> None:
    phases = {usage.phase for usage in journal.usage()}
    if what != "failed" and what not in phases:
        raise typer.BadParameter(
            f"{what!r} is neither 'failed' nor a phase of this journal: {', '.join(sorted(phases))}"
        )
    count = journal.prune_failed() if what == "failed" else journal.prune("phase = ?", what)
    typer.echo(f"{count:,} replies deleted; what they cost stays counted")
    # Otherwise the phases would be read from their own cache, and nothing would be requested again.
    for file in (journal.path.parent / "cache").glob("*.arrow"):
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    typer.run(main)
