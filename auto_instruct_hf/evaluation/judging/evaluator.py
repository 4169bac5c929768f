"""The judge of a dataset that is there already: which model it is, if there is one to ask, and a connection to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ...core import hide_folder
from ...errors import RecipeError
from ...recipe import JudgeSettings, TeacherSettings
from ...teacher import EMBEDDED, EMBEDDED_MODEL, Endpoint, Prices, Teacher, rates_from
from .judge_model import judging_settings, model_at_openai

WEAK = (
    f"The judge, {EMBEDDED_MODEL}, is a model of 135 million parameters: see by its checks whether it can tell right "
    "from wrong at all."
)


def choose_evaluator(settings: JudgeSettings, writer: str = "") -> tuple[str | None, str]:
    """Say which model judges.

    Args:
        settings: The model and the endpoint named there, if any.
        writer: Who wrote what is judged; "": not known, or a model that is no judge.

    Returns:
        The name of the model and ""; or None and why there is none to ask. Without a name: gpt-4.1 where OPENAI_API_KEY
        is for OpenAI (gpt-4o if a gpt-4.1 wrote); the writer at another endpoint (OPENAI_BASE_URL), since nobody knows
        what else there is.

    Raises:
        RecipeError: If the settings name an endpoint but no model, or the environment names what is no address.
    """
    if settings.model:
        return settings.model, ""
    if settings.base_url:
        raise RecipeError("the judge has an address and no name: name its model with --judge")
    endpoint = Endpoint("judge", None, None, TeacherSettings())
    api_key = endpoint.base_url_or(None)[1]
    if endpoint.is_openai:
        if api_key:
            return model_at_openai(writer), ""
        return None, (
            "No model has judged it: there is no endpoint to ask. Set OPENAI_API_KEY, or name a model with --judge and "
            "--judge-base-url; --judge embedded asks the small one that comes with the package"
        )
    if writer:
        return writer, ""
    return None, "No model has judged it: name one of OPENAI_BASE_URL with --judge"


@contextmanager
def open_evaluator(
    model: str | None, settings: JudgeSettings, asking: TeacherSettings, journal: Path
) -> Iterator[Teacher | None]:
    """Open the judge.

    Args:
        model: Its name, or `embedded`; None: there is none.
        settings: Where it answers, and its price.
        asking: How requests are sent: rates, budget, retries.
        journal: The file in which replies are kept.

    Yields:
        The judge, or None.

    Raises:
        RecipeError: If there is a budget and no price of the judge.
    """
    if model is None:
        yield None
        return
    chosen = judging_settings(asking, settings)
    if model == EMBEDDED:
        with Teacher(EMBEDDED, journal=journal, settings=replace(chosen, batch=False, budget=None)) as judge:
            yield judge
        return
    base_url, api_key = Endpoint(model, None, None, TeacherSettings()).base_url_or(settings.base_url)
    given = rates_from(chosen)
    if chosen.budget is not None and Prices({model: given} if given else {}).find(model) is None:
        raise RecipeError(
            f"a budget needs a price, and that of the judge {hide_folder(model)} is not known: give judge.input_price "
            "and judge.output_price in a file for --recipe (US dollars a million tokens)"
        )
    with Teacher(model, base_url=base_url, api_key=api_key, journal=journal, settings=chosen) as judge:
        yield judge
