"""Evaluate a dataset and write the results: the figures, the page, and the card of a build."""

import json
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from .core import lock_build, to_json, write_changed
from .evaluation.judging import EMBEDDED_WARNING, choose_evaluator, open_judge
from .evaluation.rating import read_ratings
from .evaluation.report import EvaluatedDataset, Evaluation, evaluate, read_build, render_page
from .publishing import add_evaluation
from .recipe import JudgeSettings, TeacherSettings
from .teacher import Cost

TRAINING = "finetune"
"""Folder of the figures of fine-tuning, below that of the build."""
_LOG = logging.getLogger(__name__)


def evaluate_into(
    out: Path,
    dataset: EvaluatedDataset,
    *,
    is_build: bool,
    settings: JudgeSettings | None = None,
    asking: TeacherSettings | None = None,
    with_judge: bool = True,
    with_embeddings: bool = True,
) -> tuple[Evaluation, Cost]:
    """Evaluate a dataset and write the results. Requests that were answered before are not sent again.

    Args:
        out: Folder for `evaluation.json`, `evaluation.html`, the journal and the cache; people's ratings are read from
            it if there are any.
        dataset: As `evaluation.report` reads it.
        is_build: Whether `out` is the build that it was read from; its card then shows the evaluation.
        settings: The judge, and how many instances it judges.
        asking: How requests are sent, and the budget.
        with_judge: Whether a model judges, if one is available.
        with_embeddings: Whether to measure what needs an embedding model.

    Returns:
        The evaluation, and the cost of all requests in the journal.

    Raises:
        RecipeError: If a judge is named without its model, or there is a budget and its price is unknown.
        BuildError: If a build runs in `out`.
        TeacherError: If the judge cannot be asked.
    """
    settings, asking = settings or JudgeSettings(), asking or TeacherSettings()
    out.mkdir(parents=True, exist_ok=True)
    with lock_build(out):
        model, unjudged = None, "it was not asked for"
        if with_judge and dataset.judged is not None:
            model, unjudged = choose_evaluator(settings, "" if dataset.is_embedded else dataset.teacher)
        opened = open_judge(model, settings, asking, journal=out / "journal.sqlite") if model else nullcontext()
        with opened as judge:
            found = evaluate(
                dataset,
                judge,
                settings=settings,
                unjudged=unjudged,
                warnings=(EMBEDDED_WARNING,) if judge and judge.is_embedded else (),
                ratings=read_ratings(out),
                training=_read_training(out, dataset.digest()) if is_build else None,
                with_embeddings=with_embeddings,
                cache_dir=out / "cache",
            )
            cost = judge.spent() if judge else Cost(0.0)
        write_changed(out / "evaluation.json", to_json(found.figures))
        write_changed(out / "evaluation.html", render_page(found).encode())
        if is_build:
            add_evaluation(out, found.figures)
    return found, cost


def add_training(out: Path) -> bool:
    """Add the figures of fine-tuning on a build to its evaluation and its card; return whether the page shows them.

    What no judge or person took part in is evaluated again. Else `evaluation.json` and the card are amended, and the
    page, which shows instances as well, is left to `auto-instruct evaluate`. Raises a BuildError if a build runs there.
    """
    path = out / "evaluation.json"
    with lock_build(out):
        dataset, earlier = read_build(out), _read(path)
        if earlier and (earlier.get("judge") or earlier.get("ratings")):
            figures = {**earlier, "training": _read_training(out, dataset.digest())}
            write_changed(path, to_json(figures))
            add_evaluation(out, figures)
            return False
    evaluate_into(out, dataset, is_build=True, with_judge=False)
    return True


def _read_training(out: Path, digest: str) -> dict[str, Any] | None:
    """Read the figures of fine-tuning on the very rows with this digest; None if there are none."""
    found = _read(out / TRAINING / "figures.json")
    if found is not None and found.get("digest") != digest:
        _LOG.warning("%s is of other rows: run `auto-instruct finetune %s` again", out / TRAINING, out)
        return None
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
