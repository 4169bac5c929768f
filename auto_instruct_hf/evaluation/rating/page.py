"""The page on which people rate: one instance at a time, its questions, and keys for all of it.

What a model wrote is shown in text boxes alone, which show characters and nothing else. What is shown as HTML is
numbers and the words of this module.
"""

import html
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ...errors import RatingError
from ..questions import QUESTIONS, applies
from .store import RatingStore
from .tables import Item, Progress

YES, NO, UNSURE = "yes", "no", "cannot tell"
_WORDS = {True: YES, False: NO, None: UNSURE}
_ANSWERS = {word: answer for answer, word in _WORDS.items()}
_KEYS = """
<p class="keys"><kbd>y</kbd> yes, <kbd>n</kbd> no, <kbd>u</kbd> cannot tell: the marked question.
<kbd>1</kbd> to <kbd>4</kbd> mark another. <kbd>Enter</kbd> save and next. <kbd>s</kbd> skip: comes back at the end.
<kbd>b</kbd> back to what you saved before. <kbd>c</kbd> write a note, <kbd>Esc</kbd> leave it.</p>
"""
_MISSING = "A question has no answer yet: yes, no, or cannot tell."
_FIRST = "There is nothing before this one."


@dataclass(frozen=True)
class _Parts:
    """The components of the page that change."""

    entry: Any
    desk: Any
    form: Any
    progress: Any
    message: Any
    who: Any
    position: Any
    instruction: Any
    input: Any
    attribute: Any
    output: Any
    questions: tuple[Any, ...]
    note: Any
    save: Any
    skip: Any

    def all(self) -> list[Any]:
        """Return them in one row."""
        return [part for field in vars(self).values() for part in (field if isinstance(field, tuple) else (field,))]


_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def make_page(store: RatingStore, raters: int = 2, *, offer_download: bool = False) -> gr.Blocks:
    """Make the page.

    Args:
        store: The items and where ratings go. Each answer is on the disk before the page goes on.
        raters: How many are to rate each item.
        offer_download: Whether the page offers a copy of the ratings, numbers in place of names.

    Returns:
        The page; `launch_page` serves it.
    """
    page: gr.Blocks
    with gr.Blocks(title="Rating", analytics_enabled=False, fill_width=True) as page:
        parts, entry, buttons = _lay_out()
        if offer_download:
            with gr.Accordion("All ratings so far", open=False):
                file = gr.File(label="SQLite, raters by number", interactive=False)
                gr.Button("Make the file").click(lambda: _copy(store), outputs=file, **_QUIET)
        _connect(page, parts, entry, buttons, store, raters)
    return page


def _lay_out() -> tuple[_Parts, dict[str, Any], dict[str, Any]]:
    with gr.Column(elem_id="entry", visible=False) as entry:
        gr.Markdown("# Rate a dataset\n\nEach answer is saved at once. Close the page whenever you like and come back.")
        name = gr.Textbox(label="Your name", elem_id="name", autofocus=True, max_lines=1)
        start = gr.Button("Start", variant="primary", elem_id="start")
    with gr.Column(elem_id="desk", visible=False) as desk:
        progress = gr.HTML(elem_id="progress")
        with gr.Row():
            with gr.Column(scale=3, min_width=300, elem_id="instance") as form:
                instruction, given, attribute, output = (
                    gr.Textbox(label=name.capitalize(), interactive=False, lines=1, max_lines=60, elem_id=name)
                    for name in ("instruction", "input", "strategy", "output")
                )
            with gr.Column(scale=2, min_width=300, elem_id="questions"):
                questions = tuple(
                    gr.Radio([YES, NO, UNSURE], label=f"{number}. {question.text}", elem_id=question.name)
                    for number, question in enumerate(QUESTIONS, 1)
                )
                note = gr.Textbox(label="Note (c)", lines=1, max_lines=8, elem_id="note")
                save = gr.Button("Save and next (Enter)", variant="primary", elem_id="save")
                with gr.Row():
                    skip = gr.Button("Skip (s)", elem_id="skip", size="md", min_width=90)
                    back = gr.Button("Back (b)", elem_id="back", size="md", min_width=90)
                    leave = gr.Button("Another rater", elem_id="leave", size="md", min_width=90)
                gr.HTML(_KEYS)
    message = gr.HTML(elem_id="message")
    # Held by the browser, so that an answer goes to the item that was seen, whatever the server has come to since.
    who, position = gr.Textbox(visible=False), gr.Number(visible=False, precision=0)
    parts = _Parts(
        *(entry, desk, form, progress, message, who, position, instruction, given, attribute, output, questions),
        *(note, save, skip),
    )
    return parts, {"name": name, "start": start}, {"back": back, "leave": leave}


def _connect(
    page: gr.Blocks, parts: _Parts, entry: dict[str, Any], buttons: dict[str, Any], store: RatingStore, raters: int
) -> None:
    def show_next(who: str) -> dict[Any, Any]:
        rater = store.enter(who)
        return _show(parts, who, store.next_item(rater, raters), store.progress(rater, raters))

    def enter(name: str | None) -> dict[Any, Any]:
        if not (name or "").strip():
            return {
                parts.entry: gr.update(visible=True),
                parts.desk: gr.update(visible=False),
                parts.message: "",
            }
        return show_next(name or "")

    def save(who: str, position: int, note: str, *answers: str | None) -> dict[Any, Any]:
        rater = store.enter(who)
        item = store.item(rater, position)
        said = {
            question.name: answer
            for question, answer in zip(QUESTIONS, answers, strict=True)
            if applies(question, item.instance)
        }
        if None in said.values():
            return {parts.message: _alert(_MISSING)}
        store.save(rater, position, {name: _ANSWERS[word] for name, word in said.items() if word}, note)
        return show_next(who)

    def skip(who: str, position: int) -> dict[Any, Any]:
        rater = store.enter(who)
        if store.item(rater, position).answers is None:
            store.skip(rater, position)
        return show_next(who)

    def back(who: str, position: int | None) -> dict[Any, Any]:
        rater = store.enter(who)
        item = store.previous_item(rater, position)
        if item is None:
            return {parts.message: _alert(_FIRST)}
        return _show(parts, who, item, store.progress(rater, raters))

    ready = {"js": "() => window.rating.ready()", **_QUIET}
    remember = "(name) => window.rating.remember(name)"
    outputs = parts.all()
    page.load(_guard(parts, enter), entry["name"], outputs, js="() => window.rating.recall()", **_QUIET).then(
        None, **ready
    )
    for event in (entry["start"].click, entry["name"].submit):
        event(_guard(parts, enter), entry["name"], outputs, js=remember, **_QUIET).then(None, **ready)
    asked = [parts.who, parts.position, parts.note, *parts.questions]
    parts.save.click(_guard(parts, save), asked, outputs, **_QUIET).then(None, **ready)
    parts.skip.click(_guard(parts, skip), asked[:2], outputs, **_QUIET).then(None, **ready)
    buttons["back"].click(_guard(parts, back), asked[:2], outputs, **_QUIET).then(None, **ready)
    buttons["leave"].click(lambda: enter(""), None, outputs, js="() => window.rating.forget()", **_QUIET)


def _show(parts: _Parts, who: str, item: Item | None, progress: Progress) -> dict[Any, Any]:
    shown = {
        parts.entry: gr.update(visible=False),
        parts.desk: gr.update(visible=True),
        **dict.fromkeys((parts.form, parts.note, parts.save, parts.skip), gr.update(visible=item is not None)),
        parts.progress: _describe(item, progress),
        parts.message: "",
        parts.who: who,
        parts.position: item.position if item else None,
    }
    if item is None:
        return shown | dict.fromkeys(parts.questions, gr.update(visible=False))
    row = item.instance
    shown |= {
        parts.instruction: row["instruction"],
        parts.input: gr.update(value=row["input"], label="Input" if row["input"] else "Input: none"),
        parts.attribute: gr.update(
            value=row["attribute"],
            label="Label" if row["is_classification"] else "Strategy",
            visible=bool(row["attribute"]),
        ),
        parts.output: row["output"],
        parts.note: gr.update(value=item.note, visible=True),
    }
    for question, radio in zip(QUESTIONS, parts.questions, strict=True):
        value = _WORDS[item.answers[question.name]] if item.answers and question.name in item.answers else None
        shown[radio] = gr.update(value=value, visible=applies(question, row))
    return shown


def _describe(item: Item | None, progress: Progress) -> str:
    left = {
        (True, True): "You have saved this one: change it, or skip on.",
        (True, False): "",
        (False, True): "What is left stands before other raters just now: reload the page later.",
        (False, False): "Nothing is left for you. Thank you.",
    }[item is not None, item.answers is not None if item else progress.open > 0]
    return (
        f'<p role="status" data-position="{item.position if item else 0}"><strong>{progress.rated} of {progress.items}'
        f"</strong> rated by you; {progress.complete} of {progress.items} have all the ratings asked for. {left}</p>"
    )


def _alert(message: str) -> str:
    return f'<p role="alert">{html.escape(message)}</p>'


def _guard(parts: _Parts, step: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
    """Return a step that says on the page what went wrong; nothing else on it changes then."""

    def guarded(*values: Any) -> dict[Any, Any]:
        try:
            return step(*values)
        except RatingError as error:
            return {parts.message: _alert(str(error))}

    return guarded


def _copy(store: RatingStore) -> str:
    path = Path(tempfile.mkdtemp()) / "ratings.sqlite"
    store.copy_to(path, named=False)
    return str(path)
