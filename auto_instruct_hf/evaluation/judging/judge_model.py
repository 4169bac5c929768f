"""Which model judges, and a connection to it that shares journal, budget and prices with the teacher's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ...core import hide_folder
from ...errors import RecipeError
from ...recipe import JudgeSettings, Recipe, TeacherSettings
from ...teacher import EMBEDDED, Prices, Teacher, rates_from

_LOG = logging.getLogger(__name__)
# A model leans to its own words (Panickssery et al. 2024, arXiv:2404.13076). Both are sold to every holder of a key,
# take structured outputs and do not spend the reply on thinking.
_DEFAULT, _IF_THAT_WROTE = "gpt-4.1", "gpt-4o"


def choose_model(teacher: Teacher, settings: JudgeSettings) -> str:
    """Return the name of the model that judges what a teacher wrote.

    Args:
        teacher: Who wrote.
        settings: The model named there; else, where the teacher answers at OpenAI, gpt-4.1, or gpt-4o if a gpt-4.1
            wrote. Elsewhere nobody knows what there is: the teacher itself.

    Returns:
        The name, as the endpoint calls it.

    Raises:
        RecipeError: If the settings name an endpoint but no model.
    """
    if settings.model:
        is_same = settings.model == EMBEDDED and teacher.is_embedded
        return teacher.model if is_same else settings.model
    if settings.base_url:
        raise RecipeError(f"judge.base_url is {settings.base_url.partition('?')[0]!r}: name its model in judge.model")
    return model_at_openai(teacher.model) if teacher.endpoint.is_openai else teacher.model


def model_at_openai(writer: str) -> str:
    """Return the model of OpenAI's that judges what another wrote, where none is named."""
    return _IF_THAT_WROTE if _DEFAULT in writer else _DEFAULT


def warn_of_own_words(judge: str, writer: str) -> str:
    """Return a warning where a model judges what it wrote itself, or ""."""
    if hide_folder(judge) != hide_folder(writer):
        return ""
    return (
        f"The judge, {hide_folder(judge)}, is the model that wrote the answers: it will find fewer faults than there "
        "are. Name another with --judge, or judge.model in a recipe."
    )


def known_prices(teacher: Teacher, settings: JudgeSettings) -> Prices:
    """Return the prices by which the judge is paid: the settings', else the list's."""
    given = rates_from(judging_settings(TeacherSettings(), settings))
    is_teacher = choose_model(teacher, settings) == teacher.model and settings.base_url is None
    return teacher.prices if is_teacher else Prices({choose_model(teacher, settings): given} if given else {})


@contextmanager
def judge_where_asked(teacher: Teacher, recipe: Recipe) -> Iterator[Teacher | None]:
    """Open the judge of a build; None where the recipe does not ask for one."""
    if recipe.judge.min_judge is None:
        yield None
        return
    with open_judge(teacher, recipe.judge, recipe.teacher) as judge:
        yield judge


@contextmanager
def open_judge(teacher: Teacher, settings: JudgeSettings, asking: TeacherSettings) -> Iterator[Teacher]:
    """Open the judge, on the teacher's journal.

    Args:
        teacher: Who wrote. Where the judge is the same model at the same place, it is the judge.
        settings: Which model judges, where, and for how much.
        asking: How requests are sent: rates, budget, retries. Another endpoint is not asked in batch mode.

    Yields:
        The judge.

    Raises:
        RecipeError: If there is a budget and no price of the judge.
    """
    model = choose_model(teacher, settings)
    if model == teacher.model and settings.base_url is None:
        warn(model, teacher.model)
        yield teacher
        return
    base_url, api_key = teacher.endpoint.base_url_or(settings.base_url)
    chosen = judging_settings(asking, settings)
    if settings.base_url is not None:
        chosen = replace(chosen, batch=False)
    if chosen.budget is not None and known_prices(teacher, settings).find(model) is None:
        raise RecipeError(
            f"a budget needs a price, and that of the judge {hide_folder(model)} is not known: give judge.input_price "
            "and judge.output_price in the recipe (US dollars a million tokens)"
        )
    with Teacher(model, base_url=base_url, api_key=api_key, journal=teacher.journal.path, settings=chosen) as judge:
        judge.prices.learn(teacher.prices)
        teacher.prices.learn(judge.prices)
        judge.expect(teacher.expected)
        warn(judge.model, teacher.model)
        yield judge


def warn(judge: str, writer: str) -> str:
    """Log, and return, the warning of `warn_of_own_words`."""
    text = warn_of_own_words(judge, writer)
    if text:
        _LOG.warning(text)
    return text


def judging_settings(asking: TeacherSettings, settings: JudgeSettings) -> TeacherSettings:
    """Return how to ask the judge: as the teacher, at the judge's own price."""
    return replace(
        asking,
        model=None,
        base_url=None,
        input_price=settings.input_price,
        cached_price=settings.cached_price,
        output_price=settings.output_price,
    )
