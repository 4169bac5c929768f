"""From what is to be evaluated to the files that tell of it: the figures, the page, and the card of a build."""

from pathlib import Path
from typing import Any

from .core import lock_build, to_json, write_changed
from .evaluation.judging import WEAK, choose_evaluator, open_evaluator
from .evaluation.rating import read_ratings
from .evaluation.report import Evaluation, Material, evaluate, render_page
from .publishing import add_evaluation
from .recipe import JudgeSettings, TeacherSettings
from .teacher import Cost


def evaluate_into(
    out: Path,
    material: Material,
    *,
    is_build: bool,
    settings: JudgeSettings | None = None,
    asking: TeacherSettings | None = None,
    with_judge: bool = True,
    with_embeddings: bool = True,
) -> tuple[Evaluation, Cost]:
    """Evaluate a dataset and write what was found. What was answered before is not asked again.

    Args:
        out: Folder for `evaluation.json`, `evaluation.html`, the journal and the cache; people's ratings are read from
            it where there are any.
        material: As `evaluation.reading` returns it.
        is_build: Whether `out` is the folder of the build that it was read from: then its card tells of it too.
        settings: Who judges, and how many instances.
        asking: How requests are sent, and for how much.
        with_judge: Whether a model judges, where there is one to ask.
        with_embeddings: Whether to measure what needs an embedding model.

    Returns:
        The evaluation, and what all requests in the journal cost.

    Raises:
        RecipeError: If a judge is named by halves, or there is a budget and no price of it.
        BuildError: If a build runs in `out`.
        TeacherError: If the judge cannot be asked.
    """
    settings, asking = settings or JudgeSettings(), asking or TeacherSettings()
    out.mkdir(parents=True, exist_ok=True)
    cost = Cost(0.0)
    with lock_build(out):
        model, unjudged = None, "it was not asked for"
        if with_judge and material.judged is not None:
            model, unjudged = choose_evaluator(settings, "" if material.is_embedded else material.teacher)
        common: dict[str, Any] = {
            "settings": settings,
            "unjudged": unjudged,
            "ratings": read_ratings(out),
            "with_embeddings": with_embeddings,
            "cache_dir": out / "cache",
        }
        with open_evaluator(model, settings, asking, out / "journal.sqlite") as judge:
            warnings = (WEAK,) if judge is not None and judge.is_embedded else ()
            found = evaluate(material, judge, warnings=warnings, **common)
            if judge is not None:
                cost = judge.spent()
        write_changed(out / "evaluation.json", to_json(found.figures))
        write_changed(out / "evaluation.html", render_page(found).encode())
        if is_build:
            add_evaluation(out, found.figures)
    return found, cost
