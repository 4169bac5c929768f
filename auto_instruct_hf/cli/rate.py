"""`auto-instruct rate`: people rate a build in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options
from .console import exit_status, print_table, say

if TYPE_CHECKING:
    from datasets import Dataset


def rate_command(
    out: Annotated[Path, typer.Argument(help="Folder of the build.")],
    size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Instances to rate; a larger number adds to those chosen before.", show_default="50 at first"
        ),
    ] = None,
    raters: Annotated[int, typer.Option(min=1, help="How many people rate each instance.")] = 2,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=options.MAX_SEED, help="Seed of the choice of instances.", show_default="42 at first"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the page.", show_default="the first free one from 7860"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    export: Annotated[
        bool, typer.Option("--export", help="Write the ratings to OUT/ratings and print their summary.")
    ] = False,
    pseudonyms: Annotated[
        bool, typer.Option("--pseudonyms", help="With --export: rater-1, rater-2 and so on instead of names.")
    ] = False,
    recover: Annotated[
        bool, typer.Option("--recover", help="Keep what can be read of a damaged file, and move the old file aside.")
    ] = False,
    space: Annotated[
        Path | None, typer.Option(help="Write a folder that runs as a Space of the Hub.", show_default="none")
    ] = None,
) -> None:
    """Serve a page, on this machine only, on which people answer questions about instances of a build.

    Answers are saved in OUT/ratings.sqlite at once.
    """
    if export and space:
        raise typer.BadParameter("--export and --space are two commands")
    if pseudonyms and not export:
        raise typer.BadParameter("--pseudonyms goes with --export")
    with exit_status():
        from ..errors import RatingError
        from ..evaluation import read_built
        from ..evaluation.rating import (
            RatingAppError,
            collect_ratings,
            fix_items,
            open_store,
            recover_ratings,
            run_app,
            summarise_ratings,
            write_items,
            write_space,
        )

        path = out / "ratings.sqlite"
        if not out.is_dir():
            raise RatingError(f"{out} is not a folder")
        if (export or recover) and not path.is_file():
            raise RatingError(f"{path} is missing: rate first, without --export")
        if recover:
            say(f"{recover_ratings(path):,} ratings kept; the old file is {path}.damaged")
            return
        if not path.exists():
            read_built(out)  # without a build no file is created
        try:
            with open_store(path) as store:
                if export:
                    ratings = collect_ratings(store, named=not pseudonyms)
                    _write(ratings, out / "ratings")
                    _print(summarise_ratings(ratings))
                    return
                count = fix_items(store, out, size, seed)
                if space:
                    write_space(store, space, raters, out)
                    say(f"{count} instances in {space}; its README.md says how it runs")
                    return
                write_items(store, out, raters, out)
            run_app(out, server_name="127.0.0.1", server_port=port, inbrowser=browser)
            say("--export writes and summarizes the ratings")
        except RatingAppError as error:
            raise RatingError(str(error)) from None
        except ImportError as error:
            remedy = "pip install 'auto-instruct-hf[rating]'"
            raise RatingError(f"the rating page cannot start ({error}): {remedy}") from None


def _write(ratings: Dataset, folder: Path) -> None:
    from ..core import new_file, without_bars

    folder.mkdir(exist_ok=True)
    with new_file(folder / "train.parquet") as fresh, without_bars():
        ratings.to_parquet(fresh)
    say(f'load_dataset("{folder}") reads the {len(ratings):,} ratings')


def _print(summary: dict[str, Any]) -> None:
    peers = list(dict.fromkeys(name for found in summary["questions"].values() for name in found["published"]))
    rows = []
    for name, found in summary["questions"].items():
        agreement = found["agreement"]
        rows.append(
            [
                name,
                *(_share(found[which]) for which in ("answers", "majority")),
                str(found["majority"]["ties"]),
                *(_number(found["published"].get(peer), ".1%") for peer in peers),
                _number(agreement["alpha"], ".2f"),
                _number(agreement["raw"], ".1%"),
                f"{agreement['pairs']:,}",
            ]
        )
    title = "{ratings:,} ratings of {instances:,} instances by {raters:,} raters".format_map(summary)
    header = ("share of yes", "all answers", "majority", "ties", *peers, "alpha", "same", "pairs")
    print_table(title, header, rows)
    say("In brackets: 95 % intervals (Wilson). alpha: Krippendorff's. same: pairs of answers that agree.")


def _share(found: dict[str, Any]) -> str:
    return f"{_number(found['share'], '.1%')} [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"


def _number(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)
