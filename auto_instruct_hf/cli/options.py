"""Options that several commands have, written once."""

from pathlib import Path
from typing import Annotated

import typer

INPUT, TEACHER, SIZE, COST, JUDGE, PUBLISH, OUTPUT, MACHINES = (
    "Input", "Teacher", "Size and sampling", "Cost and speed", "Judge", "Publish", "Output", "Several machines",
)  # fmt: skip
MAX_SEED = 2**32 - 1

Seeds = Annotated[
    str | None,
    typer.Option(
        help="Seed tasks: a JSON, JSON Lines, CSV or Parquet file, or a dataset on the Hub (USER/NAME:CONFIG:SPLIT).",
        show_default="the 175 of the package",
        rich_help_panel=INPUT,
    ),
]
SeedsConfig = Annotated[
    str | None,
    typer.Option(help="Configuration of the seeds on the Hub.", show_default="the only one", rich_help_panel=INPUT),
]
SeedsSplit = Annotated[
    str | None,
    typer.Option(help="Split of the seeds on the Hub.", show_default="train, or the only one", rich_help_panel=INPUT),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        help="Map a column that has another name: instruction=prompt. May be repeated.", rich_help_panel=INPUT
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="default; published, the published recipe to the letter; or a YAML file with settings that differ.",
        show_default="default",
        rich_help_panel=INPUT,
    ),
]
TeacherModel = Annotated[
    str | None,
    typer.Option(
        help="Model name; PATH.gguf or REPO:FILE.gguf for one on this machine; embedded for the packaged one.",
        show_default="gpt-4o if OPENAI_API_KEY is set, else embedded",
        rich_help_panel=TEACHER,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="OpenAI-compatible endpoint.", show_default="OPENAI_BASE_URL, else OpenAI's", rich_help_panel=TEACHER
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=MAX_SEED, help="Random seed.", show_default="42", rich_help_panel=SIZE),
]
MaxDollars = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Stop before a request that might exceed this many US dollars, for all runs in the folder together.",
        show_default="no limit",
        rich_help_panel=COST,
    ),
]
UseBatch = Annotated[
    bool,
    typer.Option("--batch", help="Use the Batch API: half the price, answers within a day.", rich_help_panel=COST),
]
License = Annotated[
    str | None,
    typer.Option(
        help="License of the dataset, as the Hub writes it: cc-by-4.0.",
        show_default="not stated",
        rich_help_panel=PUBLISH,
    ),
]
Language = Annotated[
    str | None,
    typer.Option(
        help="Language of the dataset, as the Hub writes it: en.",
        show_default="en with the seeds of the package",
        rich_help_panel=PUBLISH,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace a finished build with another teacher, seed set or recipe. The journal is kept.",
        rich_help_panel=OUTPUT,
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="local, or ray: workers compute the phases in batches (extra `ray`). The rows are the same.",
        rich_help_panel=MACHINES,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="Ray cluster: auto, or an address.", show_default="starts Ray here", rich_help_panel=MACHINES),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Ray workers at a time.", show_default="one per free core or GPU", rich_help_panel=MACHINES
    ),
]
GpusPerWorker = Annotated[
    float,
    typer.Option(
        min=0, help="GPUs of each Ray worker that embeds, fractions too.", show_default="none", rich_help_panel=MACHINES
    ),
]
StopAt = Annotated[
    str | None,
    typer.Option(
        help="Stop before a phase (curate, decontaminate, embed or extend), for `auto-instruct work` to run it.",
        show_default="runs all",
        rich_help_panel=MACHINES,
    ),
]
Private = Annotated[bool, typer.Option("--private", help="Create a private repository.", rich_help_panel=PUBLISH)]
Revision = Annotated[
    str | None, typer.Option(help="Branch to commit to.", show_default="main", rich_help_panel=PUBLISH)
]
Tag = Annotated[
    str | None, typer.Option(help="Tag for the commit: v1.0.", show_default="no tag", rich_help_panel=PUBLISH)
]
CreatePr = Annotated[
    bool, typer.Option("--create-pr", help="Open a pull request instead of a commit.", rich_help_panel=PUBLISH)
]
JudgeModel = Annotated[
    str | None,
    typer.Option(help="Model that judges.", show_default="one other than the teacher", rich_help_panel=JUDGE),
]
JudgeBaseUrl = Annotated[
    str | None,
    typer.Option(
        help="OpenAI-compatible endpoint of the judge, with its key in JUDGE_API_KEY.",
        show_default="the teacher's, or OPENAI_BASE_URL",
        rich_help_panel=JUDGE,
    ),
]
NoJudge = Annotated[bool, typer.Option("--no-judge", help="Use no judge.", rich_help_panel=JUDGE)]
