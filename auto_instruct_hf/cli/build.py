"""`auto-instruct build`: arguments -> recipe -> build -> push."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import options
from .build_output import look_ahead, show_build
from .console import exit_status, say
from .work import choose_engine, show_work

_DEMONSTRATION_SIZE = 40
_DEMONSTRATION = (
    " A demonstration: its words are not training data. For a real dataset set OPENAI_API_KEY or --teacher."
)


def build_command(
    seeds: options.Seeds = None,
    seeds_config: options.SeedsConfig = None,
    seeds_split: options.SeedsSplit = None,
    column: options.Column = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(
            help="Drop what is similar to an evaluation set, PATH:COLUMN or USER/NAME[:CONFIG]:COLUMN. Repeatable.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    recipe: options.RecipeFile = None,
    teacher: options.TeacherModel = None,
    base_url: options.BaseUrl = None,
    structured: Annotated[
        str | None,
        typer.Option(
            help="How the schema of a reply is sent: json_schema, json_object or text.",
            show_default="detected",
            rich_help_panel=options.TEACHER,
        ),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="Prompts for the teacher: default, small, or a folder (see `auto-instruct prompts copy`).",
            show_default="default; small for a small local model",
            rich_help_panel=options.TEACHER,
        ),
    ] = None,
    num_instructions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instructions to bootstrap.",
            show_default=f"10,000; {_DEMONSTRATION_SIZE} with the embedded teacher",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    num_samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of the sample.",
            show_default="five per instruction",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    clf_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of classification tasks, in the requests and in the sample.",
            show_default="0.1",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            help="Weight of a cluster in the sample: proportional, sqrt or equal.",
            show_default="proportional",
            rich_help_panel=options.SIZE,
        ),
    ] = None,
    num_clusters: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of topics.", show_default="chosen by silhouette", rich_help_panel=options.SIZE
        ),
    ] = None,
    seed: options.Seed = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Print requests, tokens, dollars and hours, and stop. Sends no request.",
            rich_help_panel=options.COST,
        ),
    ] = False,
    probe: Annotated[
        int,
        typer.Option(
            min=0,
            help="Like --estimate, measured on this many instructions, which the build reuses.",
            show_default="off",
            rich_help_panel=options.COST,
        ),
    ] = 0,
    preview: Annotated[
        int,
        typer.Option(
            min=0,
            help="Print prompts and replies of this many rows in every phase, and stop.",
            show_default="off",
            rich_help_panel=options.COST,
        ),
    ] = 0,
    budget: options.MaxDollars = None,
    batch: options.UseBatch = False,
    rpm: Annotated[
        float | None,
        typer.Option(min=1, help="Maximum requests per minute.", show_default="adapted", rich_help_panel=options.COST),
    ] = None,
    tpm: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum tokens per minute.", show_default="adapted", rich_help_panel=options.COST),
    ] = None,
    min_judge: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Keep only instances that a judge approves in all questions with at least this confidence.",
            show_default="no judge",
            rich_help_panel=options.JUDGE,
        ),
    ] = None,
    preferences: Annotated[
        bool,
        typer.Option(
            "--preferences",
            help="Let a judge compare the outputs of each prompt that has several, for the config `preferences`.",
            rich_help_panel=options.JUDGE,
        ),
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Model that judges every instance: its verdicts are columns of the dataset.",
            show_default="no judge; with --min-judge one other than the teacher",
            rich_help_panel=options.JUDGE,
        ),
    ] = None,
    judge_base_url: options.JudgeBaseUrl = None,
    out: Annotated[Path, typer.Option(help="Folder of the build.", rich_help_panel=options.OUTPUT)] = Path("out"),
    overwrite: options.Overwrite = False,
    push: Annotated[
        str | None,
        typer.Option(
            help="Publish on the Hub as USER/NAME.", show_default="not published", rich_help_panel=options.PUBLISH
        ),
    ] = None,
    license: options.License = None,
    language: options.Language = None,
    title: Annotated[
        str | None,
        typer.Option(help="Title of the card.", show_default="names the teacher", rich_help_panel=options.PUBLISH),
    ] = None,
    description: Annotated[
        Path | None,
        typer.Option(
            help="Markdown file with your own words for the card: purpose, contact, known limits.",
            show_default="none",
            rich_help_panel=options.PUBLISH,
        ),
    ] = None,
    private: options.Private = False,
    revision: options.Revision = None,
    tag: options.Tag = None,
    create_pr: options.CreatePr = False,
    engine: options.EngineName = "local",
    ray_address: options.RayAddress = None,
    workers: options.Workers = None,
    gpus_per_worker: options.GpusPerWorker = 0.0,
    stop_at: options.StopAt = None,
) -> None:
    """Build an instruction-tuning dataset from seed tasks with a teacher model.

    Interrupted at any point, the same command resumes. OPENAI_API_KEY, OPENAI_BASE_URL, HF_TOKEN and HF_ENDPOINT mean
    what they mean everywhere.
    """
    with exit_status(out):
        from ..core import parse_columns
        from ..errors import RecipeError, WorkListed
        from ..estimate import read_or_make_estimate
        from ..generation import read_seeds
        from ..pipeline import build
        from ..publishing import check_access, check_terms, push_build
        from ..recipe import Recipe
        from ..settings import override
        from ..teacher import Teacher

        if estimate and (probe or preview):
            raise RecipeError("--estimate sends no request, --probe and --preview do: choose one")
        computing = choose_engine(engine, ray_address, workers, gpus_per_worker, stop_at)
        check_terms(license, language, title)
        words = _read_description(description)
        if push:
            check_access(push, create_pr=create_pr)
        given = Recipe.from_yaml(recipe) if recipe else Recipe()
        top = {
            "num_instructions": num_instructions,
            "num_samples": num_samples,
            "clf_share": clf_share,
            "seed": seed,
            "prompts": prompts,
        }
        asking = {"budget": budget, "batch": batch or None, "rpm": rpm, "tpm": tpm, "structured": structured}
        settings = replace(
            override(given, top),
            teacher=override(given.teacher, asking),
            clustering=override(given.clustering, {"num_clusters": num_clusters}),
            sampling=override(given.sampling, {"balance": balance}),
            decontamination=override(given.decontamination, {"sources": tuple(decontaminate or ()) or None}),
            judge=override(
                given.judge,
                {
                    "min_judge": min_judge,
                    "preferences": preferences or None,
                    "model": judge,
                    "base_url": judge_base_url,
                },
            ),
        )
        with (
            computing as chosen,
            Teacher(teacher, base_url=base_url, journal=out / "journal.sqlite", settings=settings.teacher) as model,
        ):
            if model.is_embedded and settings.num_instructions == Recipe().num_instructions and not num_instructions:
                settings = replace(settings, num_instructions=_DEMONSTRATION_SIZE)
            say(f"Teacher: {model.describe()}.{_DEMONSTRATION if model.is_embedded else ''}")
            seed_tasks = read_seeds(seeds, columns=parse_columns(column), config=seeds_config, split=seeds_split)
            if estimate or probe or preview:
                look_ahead(seed_tasks, model, settings, out, preview, probe)
                return
            if not (out / "estimate.json").exists():
                say("Estimating requests and cost ...")
            estimated = read_or_make_estimate(out / "estimate.json", seed_tasks, model, settings)
            try:
                made = build(
                    seed_tasks,
                    model,
                    out,
                    settings,
                    license=license,
                    language=language,
                    title=title,
                    description=words,
                    estimate=estimated,
                    overwrite=overwrite,
                    engine=chosen,
                )
            except WorkListed as listed:
                show_work(str(listed), out, str(stop_at))
                return
            show_build(made, out, model)
        if push:
            go_on = f"To publish it later: auto-instruct push {out} {push}"
            with exit_status(remedy=go_on):
                pushed = push_build(
                    out / "dataset", push, private=private, revision=revision, tag=tag, create_pr=create_pr
                )
            say(pushed.describe())


def _read_description(path: Path | None) -> str:
    from ..errors import RecipeError

    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"--description: {path} cannot be read ({error}): name a Markdown file") from None
