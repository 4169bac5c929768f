"""Which model judges, and a connection to it that shares journal, budget and prices with the teacher's."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from ...core import hide_folder
from ...errors import RecipeError
from ...recipe import JudgeSettings, Recipe, TeacherSettings
from ...teacher import EMBEDDED, EMBEDDED_MODEL, Endpoint, Prices, Teacher, rates_from, without_secrets

_LOG = logging.getLogger(__name__)
# Models prefer their own output (Panickssery et al. 2024, arXiv:2404.13076). Both are available with every key, accept
# structured outputs and spend no tokens on reasoning.
_DEFAULT, _IF_THAT_WROTE = "gpt-4.1", "gpt-4o"
EMBEDDED_WARNING = (
    f"The judge, {EMBEDDED_MODEL}, is a model of 135 million parameters: its checks show whether it can distinguish "
    "right from wrong at all."
)


def choose_model(teacher: Teacher, settings: JudgeSettings) -> str:
    """Return the name of the model that judges what a teacher wrote, as the endpoint calls it.

    That is the model of the settings; else, if the teacher is at OpenAI, gpt-4.1, or gpt-4o if a gpt-4.1 wrote;
    elsewhere the teacher itself, since other models of its endpoint are not known. Raise RecipeError if the settings
    name an endpoint but no model.
    """
    if settings.model:
        return teacher.model if settings.model == EMBEDDED and teacher.is_embedded else settings.model
    if settings.base_url:
        raise RecipeError(f"judge.base_url is {without_secrets(settings.base_url)!r}: name its model in judge.model")
    return _choose_at_openai(teacher.model) if teacher.endpoint.is_openai else teacher.model


def choose_evaluator(settings: JudgeSettings, writer: str = "") -> tuple[str | None, str]:
    """Return the model that judges an existing dataset and ""; or None and the reason why there is none.

    That is the model of the settings; else gpt-4.1 if OPENAI_API_KEY is for OpenAI (gpt-4o if a gpt-4.1 wrote), or
    `writer`, the model that wrote, at another endpoint (OPENAI_BASE_URL); `writer` is "" if it is unknown or cannot
    judge. Raise RecipeError if the settings name an endpoint but no model, or the environment holds an invalid address.
    """
    if settings.model:
        return settings.model, ""
    if settings.base_url:
        raise RecipeError("the judge has a base URL but no model: name its model with --judge")
    endpoint = Endpoint("judge", None, None, TeacherSettings())
    if not endpoint.is_openai:
        return (writer, "") if writer else (None, "No model has judged it: name one of OPENAI_BASE_URL with --judge")
    if endpoint.base_url_or(None)[1]:  # the key
        return _choose_at_openai(writer), ""
    return None, (
        "No model has judged it: there is no endpoint to ask. Set OPENAI_API_KEY, or name a model with --judge and "
        "--judge-base-url; --judge embedded uses the small model that comes with the package"
    )


def _choose_at_openai(writer: str) -> str:
    return _IF_THAT_WROTE if _DEFAULT in writer else _DEFAULT


def warn_of_own_words(judge: str, writer: str) -> str:
    """Return a warning if a model judges what it wrote itself, else ""."""
    if hide_folder(judge) != hide_folder(writer):
        return ""
    return (
        f"The judge, {hide_folder(judge)}, is the model that wrote the answers: it will find fewer faults than there "
        "are. Name another with --judge, or judge.model in a recipe."
    )


def known_prices(teacher: Teacher, settings: JudgeSettings) -> Prices:
    """Return the judge's prices: those of the settings, else the known ones."""
    model = choose_model(teacher, settings)
    if model == teacher.model and settings.base_url is None:
        return teacher.prices
    given = rates_from(_price_as_judge(TeacherSettings(), settings))
    return Prices({model: given} if given else {})


def judge_where_asked(teacher: Teacher, recipe: Recipe) -> AbstractContextManager[Teacher | None]:
    """Open the judge of a build; None if the recipe does not ask for one."""
    if not recipe.judge.is_asked_in_builds:
        return nullcontext()
    return open_judge(choose_model(teacher, recipe.judge), recipe.judge, recipe.teacher, writer=teacher)


@contextmanager
def open_judge(
    model: str,
    settings: JudgeSettings,
    asking: TeacherSettings,
    *,
    writer: Teacher | None = None,
    journal: Path | None = None,
) -> Iterator[Teacher]:
    """Open the judge; raise RecipeError if there is a budget and the price of the judge is unknown.

    Args:
        model: Its name, as `choose_model` or `choose_evaluator` returns it, or `embedded`.
        settings: Its endpoint and its price.
        asking: How requests are sent: rates, budget, retries.
        writer: The teacher that wrote: its journal, endpoint and prices are shared; at the same endpoint the same model
            is the judge itself. Another endpoint is not asked in batch mode.
        journal: The file of the journal if there is no `writer`.

    Yields:
        The judge.
    """
    if writer and (warning := warn_of_own_words(model, writer.model)):
        _LOG.warning(warning)
    if writer and model == writer.model and settings.base_url is None:
        yield writer
        return
    endpoint = writer.endpoint if writer else Endpoint(model, None, None, TeacherSettings())
    base_url, api_key = endpoint.base_url_or(settings.base_url)
    chosen = _price_as_judge(asking, settings)
    if model == EMBEDDED:  # on this machine, free of charge
        base_url, api_key, chosen = None, None, replace(chosen, batch=False, budget=None)
    elif writer and settings.base_url is not None:
        chosen = replace(chosen, batch=False)
    if chosen.budget is not None and not (rates_from(chosen) or Prices().find(model)):
        raise RecipeError(
            f"a budget needs a price, and that of the judge {hide_folder(model)} is not known: set judge.input_price "
            "and judge.output_price in the recipe (--recipe; US dollars per million tokens)"
        )
    path = writer.journal.path if writer else journal
    with Teacher(model, base_url=base_url, api_key=api_key, journal=path, settings=chosen) as judge:
        if writer:
            judge.prices.learn(writer.prices)
            writer.prices.learn(judge.prices)
            judge.expect(writer.expected)
        yield judge


def _price_as_judge(asking: TeacherSettings, settings: JudgeSettings) -> TeacherSettings:
    """Return how requests are sent, with the judge's prices instead of the teacher's."""
    prices = {name: getattr(settings, name) for name in ("input_price", "cached_price", "output_price")}
    return replace(asking, model=None, base_url=None, **prices)
