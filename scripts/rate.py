"""Let people rate a build in the browser, and say what their ratings come to; no teacher is needed."""

import threading
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer
from datasets import Dataset
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from auto_instruct_hf import AutoInstructError
from auto_instruct_hf.core import without_bars
from auto_instruct_hf.errors import RatingError
from auto_instruct_hf.evaluation.rating import (
    SEED,
    SIZE,
    RatingAppError,
    RatingStore,
    collect_ratings,
    fix_items,
    name_dataset,
    open_store,
    serve_page,
    summarise_ratings,
    write_space,
)

TABLE_WIDTH = 120
MAX_SEED = 2**32 - 1


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the build.")],
    size: Annotated[
        int | None, typer.Option(min=1, help=f"How many instances; {SIZE} at first. A larger number adds to them.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help=f"Decides which; {SEED} at first.")] = None,
    raters: Annotated[int, typer.Option(min=1, help="How many people rate each instance.")] = 2,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="In place of the first free one from 7860.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    export: Annotated[bool, typer.Option("--export", help="Write OUT/ratings and print what they come to.")] = False,
    pseudonyms: Annotated[bool, typer.Option("--pseudonyms", help="Export rater-1, rater-2 ... for names.")] = False,
    space: Annotated[Path | None, typer.Option(help="Write a folder that runs as a Space of the Hub.")] = None,
) -> None:
    """Serve a page, on this machine alone, on which people answer four questions about instances of a build.

    Answers are in OUT/ratings.sqlite at once.
    """
    if export and space:
        raise typer.BadParameter("--export and --space are two commands")
    if pseudonyms and not export:
        raise typer.BadParameter("--pseudonyms goes with --export")
    try:
        if not out.is_dir():
            raise RatingError(f"{out} is no folder")
        path = out / "ratings.sqlite"
        if export and not path.is_file():
            raise RatingError(f"{path} is not there: rate first, without --export")
        is_new = not path.exists()
        with open_store(path) as store:
            try:
                if export:
                    ratings = collect_ratings(store, named=not pseudonyms)
                    _write(ratings, out / "ratings")
                    _print(summarise_ratings(ratings))
                    return
                count = fix_items(store, out, size, seed)
            except (AutoInstructError, RatingAppError):
                if is_new:
                    store.close()
                    path.unlink()
                raise
            if space:
                write_space(store, space, raters, name_dataset(out))
                typer.echo(f"{count} instances in {space}; its README.md says how it runs")
            else:
                _serve(store, raters, name_dataset(out), port, browser, count)
    except (AutoInstructError, RatingAppError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def _serve(store: RatingStore, raters: int, title: str, port: int | None, browser: bool, count: int) -> None:
    address, stop = serve_page(store, raters, title, port=port)
    typer.echo(
        f"{count} instances, ratings asked of each: {raters}. {address} (Ctrl-C ends; ratings are in {store.path})"
    )
    if browser:
        webbrowser.open(address)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        stop()
        typer.echo(f"{len(store.ratings())} ratings; --export says what they come to")


def _write(ratings: Dataset, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    fresh = folder / ".new"
    with without_bars():
        ratings.to_parquet(fresh)
    fresh.replace(folder / "train.parquet")
    typer.echo(f'load_dataset("{folder}") reads the {len(ratings):,} ratings')


def _print(summary: dict[str, Any]) -> None:
    title = "{ratings:,} ratings of {instances:,} instances by {raters:,} raters".format_map(summary)
    table = Table(title=title, box=SIMPLE)
    table.add_column("share of yes")
    peers = list(dict.fromkeys(name for found in summary["questions"].values() for name in found["published"]))
    for name in ("all answers", "majority", "ties", *peers, "alpha", "same", "pairs"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, found in summary["questions"].items():
        agreement = found["agreement"]
        table.add_row(
            name,
            *(_share(found[which]) for which in ("answers", "majority")),
            str(found["majority"]["ties"]),
            *(_number(found["published"].get(peer), ".1%") for peer in peers),
            _number(agreement["alpha"], ".2f"),
            _number(agreement["raw"], ".1%"),
            f"{agreement['pairs']:,}",
        )
    Console(width=TABLE_WIDTH, highlight=False, markup=False).print(table)
    typer.echo("in brackets: 95 % intervals (Wilson); alpha: Krippendorff's; same: pairs of answers that agree")


def _share(found: dict[str, Any]) -> str:
    return f"{_number(found['share'], '.1%')} [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"


def _number(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


if __name__ == "__main__":
    typer.run(main)
