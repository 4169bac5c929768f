"""`auto-instruct journal`: requests, replies and their cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import exit_status, print_table, say

if TYPE_CHECKING:
    from ..teacher import Journal, JournalRow

_MAX_FOUND = 20


def journal_command(
    out: Annotated[Path, typer.Argument(help="Folder of the build, or its journal.sqlite.")],
    show: Annotated[str | None, typer.Option(help="Print the request with this key; a prefix is enough.")] = None,
    grep: Annotated[str | None, typer.Option(help="List requests that contain a text, replies included.")] = None,
    export_failures: Annotated[
        Path | None, typer.Option(help="Write the requests whose reply is unusable to a JSON Lines file.")
    ] = None,
    prune: Annotated[
        str | None,
        typer.Option(
            help="Delete replies, so that the next build requests them again: 'failed' (unusable ones), or a phase."
        ),
    ] = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Keep what can be read of a damaged journal, and move the old file aside.")
    ] = False,
) -> None:
    """Show the journal of a build. Without an option: requests, failures, cost and latency by phase."""
    with exit_status():
        from ..teacher import find_request, open_journal, recover_journal, search_journal

        if recover:
            say(f"{recover_journal(out):,} replies kept; the next build requests the others again")
            return
        with open_journal(out) as journal:
            if show:
                _show(find_request(journal, show))
            elif grep:
                found = search_journal(journal, grep, _MAX_FOUND)
                for row in found:
                    say(f"{row['key'][:16]} {row['phase']}: {row['error'] or row['text'][:90]}")
                say(f"{len(found)} found{', the first of them' if len(found) == _MAX_FOUND else ''}")
            elif export_failures:
                _export(journal, export_failures)
            elif prune:
                _prune(journal, prune)
            else:
                _list(journal)


def _list(journal: Journal) -> None:
    from ..teacher import PERCENTILES, Prices, summarise_journal

    prices, rows, kinds = Prices(), [], []
    for line in summarise_journal(journal):
        usage = line.usage
        name = f"{usage.phase}, {usage.model}{', batch' if usage.is_batch else ''}"
        counts = (usage.requests, usage.failed, usage.input_tokens, usage.cached_tokens, usage.output_tokens)
        latency = [f"{seconds:.2f}" for seconds in line.latency] or [""] * len(PERCENTILES)
        rows.append([name, *(f"{count:,}" for count in counts), str(prices.price(usage)), *latency])
        kinds += [f"{name}: {count:,} {kind}" for kind, count in line.failures.items()]
    percentiles = [f"p{number} s" for number in PERCENTILES]
    header = ("phase, model", "requests", "failed", "tokens in", "cached", "out", "dollars", *percentiles)
    print_table(str(journal.path), header, rows)
    for kind in kinds:
        say(f"failed in {kind}")


def _show(row: JournalRow) -> None:
    request = row.pop("request")
    if not isinstance(request, dict):  # damaged
        request = {"request": request}
    for message in request.get("messages", ()):
        say(f"--- {message['role']}\n{message['content']}")
    say(f"--- reply\n{row.pop('raw') or row['text']}")
    rest = {name: value for name, value in {**request, **row}.items() if name not in ("messages", "text")}
    say(f"--- the rest\n{json.dumps(rest, indent=2, ensure_ascii=False, default=str)}")


def _export(journal: Journal, path: Path) -> None:
    from ..teacher import failed_requests

    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for row in failed_requests(journal):
            stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            count += 1
    say(f"{count:,} failures in {path}")


def _prune(journal: Journal, what: str) -> None:
    phases = {usage.phase for usage in journal.usage()}
    if what != "failed" and what not in phases:
        known = ", ".join(sorted(phases))
        raise typer.BadParameter(f"{what!r} is neither 'failed' nor a phase of this journal: {known}")
    count = journal.prune_failed() if what == "failed" else journal.prune("phase = ?", what)
    say(f"{count:,} replies deleted; what they cost stays counted")
    # Otherwise the phases would be read from their own cache, and nothing would be requested again.
    for file in (journal.path.parent / "cache").glob("*.arrow"):
        file.unlink(missing_ok=True)
