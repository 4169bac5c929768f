"""A page on which people rate instances of a dataset. This file runs locally, and as the `app.py` of a Space.

As a program it reads `items.json` beside it (`title`, `raters`, `seed`, `questions`, `items`) and keeps ratings in
SQLite. HF_TOKEN and RATINGS_REPO are explained in the README.md of the Space. Text of a model is rendered as Markdown
without HTML, links and images, so it can neither run nor load anything.
"""

import html
import json
import os
import shutil
import sqlite3
import tempfile
import threading
import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gradio
    from datasets import Dataset, Features
    from huggingface_hub import HfApi

FORMAT_OF_RATINGS = 1
MAX_NAME_LENGTH = 60
# How long an item shown to a rater is reserved. Ours: longer than anybody reads one, short enough that a rater who left
# does not keep others waiting.
RESERVED_SECONDS = 1800
PUSH_SECONDS = 300
# The browser itself is told to load nothing from other hosts, and to send nothing there.
CONTENT_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self'; form-action 'self'"
_INSTANCE_COLUMNS = ("instruction_id", "instruction", "attribute", "input", "output")
_TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (position INTEGER PRIMARY KEY, instance_id TEXT NOT NULL UNIQUE, instance TEXT NOT NULL);
CREATE TABLE raters (rater INTEGER PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE);
CREATE TABLE ratings (
    number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL REFERENCES items, rater INTEGER NOT NULL
    REFERENCES raters, {answers}, note TEXT NOT NULL,
    created REAL NOT NULL, changed REAL NOT NULL, UNIQUE (position, rater));
CREATE TABLE skips (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL REFERENCES items, rater INTEGER
    NOT NULL REFERENCES raters, UNIQUE (position, rater));
CREATE TABLE offers (rater INTEGER PRIMARY KEY REFERENCES raters, position INTEGER NOT NULL REFERENCES items,
    since REAL NOT NULL);
"""
# An item is open to a rater who has not rated it while it lacks ratings. It is free while the raters it is reserved for
# leave one rating to give. The item shown last comes first, so that a reload changes nothing.
_OPEN = """
NOT EXISTS (SELECT 1 FROM ratings WHERE position = items.position AND rater = :rater)
AND (SELECT COUNT(*) FROM ratings WHERE position = items.position) < :wanted
"""
_FREE = """
(SELECT COUNT(*) FROM ratings WHERE position = items.position)
+ (SELECT COUNT(*) FROM offers WHERE position = items.position AND rater != :rater AND since > :held
   AND NOT EXISTS (SELECT 1 FROM ratings WHERE position = offers.position AND rater = offers.rater)) < :wanted
"""
_NEXT = f"""
SELECT position FROM items WHERE {_OPEN} AND {_FREE} ORDER BY
    position IN (SELECT position FROM offers WHERE rater = :rater) DESC,
    (SELECT number FROM skips WHERE position = items.position AND rater = :rater) NULLS FIRST, position LIMIT 1
"""
_COUNTS = f"""
SELECT (SELECT COUNT(*) FROM ratings WHERE rater = :rater), COUNT(*), COALESCE(SUM({_OPEN}), 0),
    COALESCE(SUM((SELECT COUNT(*) FROM ratings WHERE position = items.position) >= :wanted), 0) FROM items
"""


_Row = dict[str, Any]
"""An instance or a rating: column -> value."""
_Update = dict[Any, Any]
"""Components of the page -> their new values."""


class RatingAppError(Exception):
    """An error that a rater or the person who runs the page can act on."""


@dataclass(frozen=True)
class RatingQuestion:
    """A question about an instance, answered yes, no or cannot tell."""

    name: str
    text: str
    needs_strategy: bool = False

    def is_asked_of(self, instance: Mapping[str, object]) -> bool:
        """Return whether the question applies; a classification task has a label instead of a strategy."""
        return not self.needs_strategy or bool(instance["attribute"] and not instance["is_classification"])


@dataclass(frozen=True)
class RatingItem:
    """An instance shown to a rater, with the rater's answers so far: None before a rating."""

    position: int
    instance: _Row
    answers: dict[str, bool | None] | None = None
    note: str = ""


@dataclass(frozen=True)
class RatingProgress:
    """Items rated by this rater, all items, items still open to this rater, items with as many ratings as wanted."""

    rated: int
    items: int
    open: int
    complete: int


class RatingStore:
    """Ratings in an SQLite file. A method returns after its data is on disk; safe for threads and processes.

    Args:
        path: The file, created if missing.
        questions: The questions, each a column.

    Raises:
        RatingAppError: If it cannot be opened, is not a file of ratings, or has a later format.
    """

    def __init__(self, path: Path, questions: Sequence[RatingQuestion]) -> None:
        self.path = path
        self.questions = tuple(questions)
        self.names = [question.name for question in questions]
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=FULL")
            with self._transaction():  # of two processes that open a new file, one creates the tables
                version = self._file.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    answers = ", ".join(f"{name} INTEGER CHECK ({name} IN (0, 1))" for name in self.names)
                    for statement in _TABLES.format(answers=answers).split(";"):
                        self._file.execute(statement)
                    self._file.execute(f"PRAGMA user_version={FORMAT_OF_RATINGS}")
        except (sqlite3.DatabaseError, OSError) as error:
            raise RatingAppError(f"cannot open the ratings {path}: {error}") from None
        if version not in (0, FORMAT_OF_RATINGS):
            raise RatingAppError(
                f"{path} has format {version}, this version reads {FORMAT_OF_RATINGS}: use a newer version"
            )

    def __enter__(self) -> "RatingStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def items(self) -> list[_Row]:
        """Return the instances to rate, in order."""
        return [json.loads(row[0]) for row in self._read("SELECT instance FROM items ORDER BY position")]

    def seed(self) -> int | None:
        """Return the random seed of the sample; None before the first."""
        rows = self._read("SELECT value FROM settings WHERE name = 'seed'")
        return int(rows[0][0]) if rows else None

    def add_items(self, instances: Sequence[Mapping[str, object]], seed: int) -> None:
        """Append instances that are not among the items yet; `seed` is that of their sample."""
        rows = [(row["instance_id"], json.dumps(row, ensure_ascii=False)) for row in instances]
        with self._transaction():
            self._file.execute("INSERT OR IGNORE INTO settings VALUES ('seed', ?)", (str(seed),))
            self._file.executemany("INSERT OR IGNORE INTO items (instance_id, instance) VALUES (?, ?)", rows)

    def enter(self, name: str) -> int:
        """Return the number of a rater, a new one for a new name; case and repeated spaces are ignored."""
        name = " ".join(unicodedata.normalize("NFC", name).split())
        if not 0 < len(name) <= MAX_NAME_LENGTH:
            raise RatingAppError(f"a name has 1 to {MAX_NAME_LENGTH} letters; this one has {len(name)}")
        with self._transaction():
            self._file.execute("INSERT OR IGNORE INTO raters (name, folded) VALUES (?, ?)", (name, name.casefold()))
            found = self._file.execute("SELECT rater FROM raters WHERE folded = ?", (name.casefold(),))
            return int(found.fetchone()[0])

    def next_item(self, rater: int, wanted: int) -> RatingItem | None:
        """Return the next item for a rater, and reserve it.

        Args:
            rater: As `enter` returned it.
            wanted: Ratings per item, by different raters.

        Returns:
            The one shown last, if it is still open; else the first in order that was not skipped; else the one skipped
            first. None if nothing is left, or all that is left is reserved for others.
        """
        now = time.time()
        with self._transaction():
            values = {"rater": rater, "wanted": wanted, "held": now - RESERVED_SECONDS}
            found = self._file.execute(_NEXT, values).fetchone()
            self._file.execute("DELETE FROM offers WHERE rater = ?", (rater,))
            if found is None:
                return None
            self._file.execute("INSERT INTO offers VALUES (?, ?, ?)", (rater, found[0], now))
        return self.item(rater, found[0])

    def previous_item(self, rater: int, position: int | None) -> RatingItem | None:
        """Return the item that a rater rated before the one at `position`, or last of all; None if there is none."""
        rows = self._read(
            "SELECT position FROM ratings WHERE rater = ? AND number < COALESCE((SELECT number FROM ratings "
            "WHERE rater = ? AND position = ?), 9223372036854775807) ORDER BY number DESC LIMIT 1",
            *(rater, rater, position),
        )
        return self.item(rater, rows[0][0]) if rows else None

    def item(self, rater: int, position: int) -> RatingItem:
        """Return an item with a rater's answers."""
        rows = self._read(
            f"SELECT instance, note, {', '.join(self.names)} FROM items LEFT JOIN ratings "
            "ON ratings.position = items.position AND rater = ? WHERE items.position = ?",
            *(rater, position),
        )
        if not rows:
            raise RatingAppError(f"there is no item {position} in {self.path}")
        instance, note, *given = rows[0]
        row = json.loads(instance)
        answers = {
            question.name: None if answer is None else bool(answer)
            for question, answer in zip(self.questions, given, strict=True)
            if question.is_asked_of(row)
        }
        return RatingItem(position, row, None if note is None else answers, note or "")

    def save(self, rater: int, position: int, answers: Mapping[str, bool | None], note: str = "") -> None:
        """Save a rating; it replaces an earlier one of the same rater and item.

        Args:
            rater: As `enter` returned it.
            position: Of the item.
            answers: An answer to each question that applies; None: cannot tell.
            note: A remark, or "".

        Raises:
            RatingAppError: If answers do not match the questions, or the file cannot be written.
        """
        item = self.item(rater, position)
        asked = [question.name for question in self.questions if question.is_asked_of(item.instance)]
        if sorted(answers) != sorted(asked):
            raise RatingAppError(f"item {position} is asked about {', '.join(asked)}; got {', '.join(answers)}")
        names = [*self.names, "note", "changed"]
        values = [*(answers.get(name) for name in self.names), note.strip(), time.time()]
        with self._transaction():
            self._file.execute(
                f"INSERT INTO ratings (position, rater, created, {', '.join(names)}) "
                f"VALUES (?, ?, ?{', ?' * len(names)}) ON CONFLICT (position, rater) DO UPDATE SET "
                + ", ".join(f"{name} = excluded.{name}" for name in names),
                (position, rater, values[-1], *values),
            )
            self._file.execute("DELETE FROM skips WHERE position = ? AND rater = ?", (position, rater))

    def skip(self, rater: int, position: int) -> None:
        """Move an item to the end of what a rater is shown."""
        with self._transaction():
            self._file.execute("REPLACE INTO skips (position, rater) VALUES (?, ?)", (position, rater))
            self._file.execute("DELETE FROM offers WHERE rater = ?", (rater,))

    def progress(self, rater: int, wanted: int) -> RatingProgress:
        """Count items for a rater, with `wanted` ratings per item."""
        with self._lock:
            return RatingProgress(*self._file.execute(_COUNTS, {"rater": rater, "wanted": wanted}).fetchone())

    def ratings(self) -> list[_Row]:
        """Return all ratings by item and rater: `rater` (number), `name`, the answers, `note`, and the `instance`."""
        rows = self._read(
            f"SELECT rater, name, note, instance, {', '.join(self.names)} FROM ratings JOIN raters USING (rater) "
            "JOIN items USING (position) ORDER BY position, rater"
        )
        found = []
        for rater, name, note, instance, *given in rows:
            answers = dict(zip(self.names, (None if one is None else bool(one) for one in given), strict=True))
            found.append({"rater": rater, "name": name, **answers, "note": note, "instance": json.loads(instance)})
        return found

    def copy_to(self, path: Path, *, named: bool) -> None:
        """Copy the file, over an earlier copy; not `named`: with numbers in place of names."""
        path.unlink(missing_ok=True)
        copy = sqlite3.connect(path)
        with self._lock:
            self._file.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # a single file
        if not named:
            copy.execute("UPDATE raters SET name = 'rater-' || rater, folded = 'rater-' || rater")
            copy.commit()
            copy.execute("VACUUM")  # overwritten names would stay in the file
        copy.close()

    def _read(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            return self._file.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                yield
                self._file.execute("COMMIT")
            except BaseException as error:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError):
                    raise RatingAppError(
                        f"cannot write to {self.path}: {error}. Ratings saved so far are safe; free disk space or fix "
                        "the permissions"
                    ) from None
                raise


def rating_features(names: Sequence[str]) -> "Features":
    """Return the columns of ratings as a dataset: the answers and the rated instance."""
    from datasets import Features, Value

    text, flag = Value("string"), Value("bool")
    columns = {"instance_id": text, "rater": text, **dict.fromkeys(names, flag), "confidence": Value("float32")}
    return Features({**columns, "reason": text, **dict.fromkeys(_INSTANCE_COLUMNS, text), "is_classification": flag})


def collect_ratings(store: RatingStore, *, named: bool = True) -> "Dataset":
    """Return all ratings, one row each, by item and rater.

    Args:
        store: The ratings.
        named: Whether `rater` is the name; else `rater-1` and so on, in the order in which raters came.

    Returns:
        Columns as `rating_features`; an answer is null if the question does not apply or the rater could not tell;
        `reason` is the note, `confidence` null.

    Raises:
        RatingAppError: If there are none.
    """
    from datasets import Dataset

    rows = [
        {
            **{name: rating["instance"][name] for name in ("instance_id", *_INSTANCE_COLUMNS, "is_classification")},
            **{name: rating[name] for name in store.names},
            "rater": rating["name"] if named else f"rater-{rating['rater']}",
            "confidence": None,
            "reason": rating["note"],
        }
        for rating in store.ratings()
    ]
    if not rows:
        raise RatingAppError(f"{store.path} holds no rating yet: rate first, without --export")
    return Dataset.from_list(rows, features=rating_features(store.names))


YES, NO, UNSURE = "yes", "no", "cannot tell"
_WORDS = {True: YES, False: NO, None: UNSURE}
_ANSWERS = {word: answer for answer, word in _WORDS.items()}
_KEYS = """
<p class="keys"><kbd>y</kbd> yes, <kbd>n</kbd> no, <kbd>u</kbd> cannot tell: the marked question.
<kbd>1</kbd> to <kbd>9</kbd> mark another. <kbd>Enter</kbd> save and next. <kbd>s</kbd> skip: shown again at the end.
<kbd>b</kbd> back to the one saved before. <kbd>c</kbd> write a note, <kbd>Esc</kbd> leave it.</p>
"""
_CSS = """
#questions { align-self: flex-start; }
@media (min-width: 760px) { #questions { position: sticky; top: 8px; } }
#instance h2 { font-size: 1rem; margin: 12px 0 4px; }
#instance section div :is(h1, h2, h3) { font-size: 1.1rem; }
#instance section > div {
  border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 4px 12px; overflow-wrap: anywhere;
}
#instance pre { overflow-x: auto; background: var(--background-fill-secondary); padding: 8px; }
#questions span, .keys { color: var(--body-text-color); }
#questions fieldset.current {
  background: var(--color-accent-soft); outline: 2px solid var(--color-accent); outline-offset: -2px;
}
#message:has(p) { position: fixed; left: 0; right: 0; bottom: 0; z-index: 10; padding: 4px 24px; background: #991b1b; }
#message p { color: white; font-weight: 600; }
kbd { border: 1px solid var(--border-color-primary); border-radius: 4px; padding: 0 5px; font-family: monospace; }
"""
# Keys press what is on the page, so that a key does what a click does.
_JAVASCRIPT = r"""
window.rating = (() => {
  const NAME = "auto-instruct-rater";
  const WORDS = { y: "yes", n: "no", u: "cannot tell" };
  const BUTTONS = { Enter: "save", s: "skip", b: "back" };
  let current = 0, waiting = false, timer = 0;
  const groups = () => [...document.querySelectorAll("#questions fieldset")];
  const answered = (group) => group.querySelector("input:checked") !== null;
  const typing = (element) => element !== null && (element.isContentEditable || element.tagName === "TEXTAREA"
    || (element.tagName === "INPUT" && element.type !== "radio"));
  function mark(index) {
    current = index;
    groups().forEach((group, at) => {
      group.classList.toggle("current", at === current);
      group.setAttribute("aria-current", at === current ? "step" : "false");
    });
  }
  // To the next question without an answer, else to the first one without, else to none.
  function advance() {
    const open = groups().map((group, at) => (answered(group) ? -1 : at)).filter((at) => at >= 0);
    mark(open.find((at) => at > current) ?? open[0] ?? -1);
  }
  function answer(word) {
    const group = groups()[current];
    const choice = group && [...group.querySelectorAll("input")].find((input) => input.value === word);
    if (choice?.checked) advance();
    else choice?.click(); // "change" below advances
  }
  // Keys are ignored until the next item is shown: nobody can have judged it before.
  function press(id) {
    const button = document.getElementById(id);
    if (button && button.offsetParent !== null) {
      waiting = true;
      clearTimeout(timer);
      timer = setTimeout(() => { waiting = false; }, 5000); // the server does not respond: allow another try
      button.click();
    }
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const focused = document.activeElement;
    if (typing(focused)) {
      if (event.key === "Escape") focused.blur();
      return;
    }
    if (event.repeat || waiting || !document.getElementById("desk")?.offsetParent) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && focused?.closest("button, a, summary")) return; // it is pressed itself
    const number = "123456789".indexOf(key);
    if (key in WORDS) answer(WORDS[key]);
    else if (number >= 0) markNumber(number + 1);
    else if (key === "c") document.querySelector("#note textarea, #note input")?.focus();
    else if (key in BUTTONS) press(BUTTONS[key]);
    else return;
    event.preventDefault();
  });
  // Questions keep their numbers if one of them does not apply.
  function markNumber(number) {
    const at = groups().findIndex((group) => group.innerText.trim().startsWith(`${number}.`));
    if (at >= 0) mark(at);
  }
  document.addEventListener("change", (event) => {
    const at = groups().findIndex((group) => group.contains(event.target));
    if (at >= 0 && !waiting) {
      current = at;
      advance();
    }
  });
  return {
    recall: () => localStorage.getItem(NAME) ?? "",
    remember: (name) => { localStorage.setItem(NAME, name); return name; },
    forget: () => localStorage.removeItem(NAME),
    // After two frames the page has been drawn again.
    ready: () => requestAnimationFrame(() => requestAnimationFrame(() => {
      clearTimeout(timer);
      const shown = document.querySelector("#progress [data-position]")?.dataset.position;
      document.body.dataset.ready = String(Number(document.body.dataset.ready ?? 0) + 1);
      waiting = false;
      if (shown !== document.body.dataset.shown) {
        document.body.dataset.shown = shown;
        document.activeElement?.blur();
        window.scrollTo(0, 0);
      }
      groups().forEach((group) => group.setAttribute("aria-label", group.querySelector("span").innerText));
      current = -1;
      advance();
    })),
  };
})();
"""
_FONT, _MONO = ("ui-sans-serif", "system-ui", "sans-serif"), ("ui-monospace", "monospace")
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def make_page(store: RatingStore, raters: int, title: str, *, offer_download: bool) -> "gradio.Blocks":  # noqa: PLR0915  # layout and events
    """Make the page: one instance at a time, its questions, and keys for everything."""
    import gradio as gr

    page: gr.Blocks
    with gr.Blocks(title=f"Rate {title}", analytics_enabled=False, fill_width=True) as page:
        with gr.Column(elem_id="entry", visible=False) as entry:
            gr.HTML(f"<h1>Rate {html.escape(title)}</h1>")
            gr.Markdown("Each answer is saved at once. Close the page whenever you like and come back.")
            name = gr.Textbox(label="Your name", elem_id="name", autofocus=True, max_lines=1)
            start = gr.Button("Start", variant="primary", elem_id="start")
        with gr.Column(elem_id="desk", visible=False) as desk:
            progress = gr.HTML(elem_id="progress")
            with gr.Row():
                with gr.Column(scale=3, min_width=300) as form:
                    instance = gr.HTML(elem_id="instance")
                with gr.Column(scale=2, min_width=300, elem_id="questions"):
                    radios = [
                        gr.Radio([YES, NO, UNSURE], label=f"{number}. {question.text}", elem_id=question.name)
                        for number, question in enumerate(store.questions, 1)
                    ]
                    note = gr.Textbox(label="Note (c)", lines=1, max_lines=8, elem_id="note")
                    save = gr.Button("Save and next (Enter)", variant="primary", elem_id="save")
                    with gr.Row():
                        skip = gr.Button("Skip (s)", elem_id="skip", size="md", min_width=90)
                        back = gr.Button("Back (b)", elem_id="back", size="md", min_width=90)
                        leave = gr.Button("Another rater", elem_id="leave", size="md", min_width=90)
                    gr.HTML(_KEYS)
        message = gr.HTML(elem_id="message")
        # Kept in the browser, so that an answer belongs to the item that was shown.
        who, position = gr.Textbox(visible=False), gr.Number(visible=False, precision=0)

        def show(name: str, item: RatingItem | None, rater: int) -> _Update:
            shown = {
                **{entry: gr.update(visible=False), desk: gr.update(visible=True), message: "", who: name},
                **dict.fromkeys((form, note, save, skip), gr.update(visible=item is not None)),
                progress: _describe_progress(title, name, item, store.progress(rater, raters)),
                position: item.position if item else None,
            }
            if item is None:
                return shown | dict.fromkeys(radios, gr.update(visible=False))
            shown |= {instance: render_instance(item.instance), note: gr.update(value=item.note, visible=True)}
            for question, radio in zip(store.questions, radios, strict=True):
                given = item.answers or {}
                value = _WORDS[given[question.name]] if question.name in given else None
                shown[radio] = gr.update(value=value, visible=question.is_asked_of(item.instance))
            return shown

        def show_next(name: str) -> _Update:
            rater = store.enter(name)
            return show(name, store.next_item(rater, raters), rater)

        def enter(name: str | None) -> _Update:
            if not (name or "").strip():
                return {entry: gr.update(visible=True), desk: gr.update(visible=False), message: ""}
            return show_next(name or "")

        def save_answers(name: str, position: int, note: str, *words: str | None) -> _Update:
            rater = store.enter(name)
            item = store.item(rater, position)
            said = {
                question.name: word
                for question, word in zip(store.questions, words, strict=True)
                if question.is_asked_of(item.instance)
            }
            if None in said.values():
                return {message: _alert("A question has no answer yet: yes, no, or cannot tell.")}
            store.save(rater, position, {name: _ANSWERS[word] for name, word in said.items() if word}, note)
            return show_next(name)

        def skip_item(name: str, position: int) -> _Update:
            rater = store.enter(name)
            if store.item(rater, position).answers is None:
                store.skip(rater, position)
            return show_next(name)

        def go_back(name: str, position: int | None) -> _Update:
            rater = store.enter(name)
            item = store.previous_item(rater, position)
            return show(name, item, rater) if item else {message: _alert("There is nothing before this one.")}

        def guard(step: Callable[..., _Update]) -> Callable[..., _Update]:
            """Show an error on the page, and change nothing else."""

            def guarded(*values: Any) -> _Update:
                try:
                    return step(*values)
                except RatingAppError as error:
                    return {message: _alert(str(error))}

            return guarded

        outputs = [entry, desk, form, progress, message, who, position, instance, *radios, note, save, skip]
        ready: dict[str, Any] = {"js": "() => window.rating.ready()", **_QUIET}
        page.load(guard(enter), name, outputs, js="() => window.rating.recall()", **_QUIET).then(None, **ready)
        for event in (start.click, name.submit):
            event(guard(enter), name, outputs, js="(name) => window.rating.remember(name)", **_QUIET).then(
                None, **ready
            )
        save.click(guard(save_answers), [who, position, note, *radios], outputs, **_QUIET).then(None, **ready)
        skip.click(guard(skip_item), [who, position], outputs, **_QUIET).then(None, **ready)
        back.click(guard(go_back), [who, position], outputs, **_QUIET).then(None, **ready)
        leave.click(lambda: enter(""), None, outputs, js="() => window.rating.forget()", **_QUIET)
        if offer_download:
            with gr.Accordion("All ratings so far", open=False):
                file = gr.File(label="SQLite, raters by number", interactive=False)
                gr.Button("Make the file").click(lambda: _copy(store), outputs=file, **_QUIET)
    return page


def render_instance(row: Mapping[str, object]) -> str:
    """Render an instance as HTML: Markdown with its line breaks, no raw HTML, links or images, no empty part."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table")
    markdown.disable(["image", "link", "autolink", "html_block", "html_inline", "reference"])
    label = "label" if row["is_classification"] else "strategy"
    parts = (("instruction", row["instruction"]), ("input", row["input"]), (label, row["attribute"]))
    return "".join(
        f'<section id="{name}"><h2>{name.capitalize()}</h2><div>{markdown.render(str(text))}</div></section>'
        for name, text in (*parts, ("output", row["output"]))
        if text
    )


def _describe_progress(title: str, name: str, item: RatingItem | None, progress: RatingProgress) -> str:
    left = {
        (True, True): "You have saved this one: change it, or skip on.",
        (True, False): "",
        (False, True): "What is left is shown to other raters at the moment: reload the page later.",
        (False, False): "Nothing is left for you. Thank you.",
    }[item is not None, item.answers is not None if item else progress.open > 0]
    return (
        f'<p role="status" data-position="{item.position if item else 0}">{html.escape(title)}, rated by '
        f"{html.escape(name)}: <strong>{progress.rated} of {progress.items}</strong> rated by you; "
        f"{progress.complete} of {progress.items} have all ratings. {left}</p>"
    )


def _alert(message: str) -> str:
    return f'<p role="alert">{html.escape(message)}</p>'


def _copy(store: RatingStore) -> str:
    path = Path(tempfile.mkdtemp()) / "ratings.sqlite"
    store.copy_to(path, named=False)
    return str(path)


def serve_page(
    store: RatingStore,
    raters: int = 2,
    title: str = "a dataset",
    *,
    host: str | None = "127.0.0.1",
    port: int | None = None,
    offer_download: bool = False,
) -> tuple[str, Callable[[], None]]:
    """Serve the page in a thread.

    Args:
        store: The items and ratings.
        raters: Ratings per item.
        title: Name of the dataset.
        host: Address to listen on; None: GRADIO_SERVER_NAME, or 127.0.0.1.
        port: Port; None: GRADIO_SERVER_PORT, or the first free one from 7860 on.
        offer_download: Whether the page offers a copy of the ratings, numbers in place of names.

    Returns:
        The page's address, and a function that stops the server.

    Raises:
        RatingAppError: If gradio is not installed, or the port is not available.
    """
    # Otherwise gradio and the libraries it imports report each start to their makers.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    try:
        import gradio as gr
        from starlette.middleware import Middleware

        page = make_page(store, raters, title, offer_download=offer_download)
    except ImportError as error:
        raise RatingAppError(
            f"the rating page cannot start ({error}): pip install 'auto-instruct-hf[rating]'"
        ) from None
    # White on the theme's blue has a contrast of 3.7; WCAG 2.2 requires 4.5. These have 6.7 and 8.7.
    darker = {
        f"button_primary_background_fill{state}{mode}": f"*primary_{shade}"
        for state, shade in (("", 700), ("_hover", 800))
        for mode in ("", "_dark")
    }
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            inline=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            pwa=False,
            theme=gr.themes.Default(primary_hue="blue", font=_FONT, font_mono=_MONO).set(**darker),
            css=_CSS,
            head=f"<script>{_JAVASCRIPT}</script>",
            app_kwargs={"middleware": [Middleware(_AddPolicy)]},
        )
    except OSError as error:
        if port is None:
            raise RatingAppError(f"cannot serve the page: {error}") from None
        raise RatingAppError(f"port {port} is in use or not allowed: use another one, or leave out --port") from None
    return address, partial(page.close, verbose=False)


_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class _AddPolicy:
    """Send CONTENT_POLICY with every response."""

    def __init__(self, app: Callable[[_Message, _Receive, _Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        async def send_with_policy(message: _Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", CONTENT_POLICY.encode())
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        await self.app(scope, receive, send_with_policy)


def restore_ratings(hub: "HfApi", repo: str, path: Path) -> None:
    """Download the ratings that an earlier run pushed, if there are any."""
    if hub.file_exists(repo, path.name, repo_type="dataset"):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(hub.hf_hub_download(repo, path.name, repo_type="dataset", local_dir=folder), path)


def push_ratings(hub: "HfApi", repo: str, store: RatingStore, pushed: list[_Row]) -> list[_Row]:
    """Push the ratings in one commit if they changed since `pushed`; return those in the repository.

    A failure is printed, and the next call tries again.
    """
    ratings = store.ratings()
    if ratings == pushed:
        return pushed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store.copy_to(folder / store.path.name, named=True)
        (folder / "data").mkdir()
        collect_ratings(store).to_parquet(folder / "data" / "train.parquet")
        try:
            hub.upload_folder(
                repo_id=repo, repo_type="dataset", folder_path=folder, commit_message=f"{len(ratings)} ratings"
            )
        except Exception as error:  # whatever it is, raters go on
            print(f"cannot push to {repo}: {error}", flush=True)
            return pushed
    return ratings


def _open_hub(repo: str) -> "HfApi":
    from huggingface_hub import HfApi

    hub = HfApi(token=os.environ["HF_TOKEN"])
    hub.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    if not hub.repo_info(repo, repo_type="dataset").private:
        raise RatingAppError(f"RATINGS_REPO {repo} is public, and ratings hold names: make it private, or use another")
    return hub


def run_app(folder: Path) -> None:
    """Serve the page for the `items.json` in a folder, until the process ends.

    GRADIO_SERVER_NAME and GRADIO_SERVER_PORT set the address, as in a Space. With HF_TOKEN and RATINGS_REPO ratings are
    pushed to that repository, and downloaded from it at the start if there are none here.
    """
    settings = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    path = (Path("/data") if os.access("/data", os.W_OK) else folder) / "ratings.sqlite"
    repo = os.environ.get("RATINGS_REPO", "")
    hub = _open_hub(repo) if repo and os.environ.get("HF_TOKEN") else None
    if hub and not path.exists():
        restore_ratings(hub, repo, path)
    store = RatingStore(path, [RatingQuestion(**question) for question in settings["questions"]])
    store.add_items(settings["items"], settings["seed"])
    address, _ = serve_page(store, settings["raters"], settings["title"], host=None, offer_download=True)
    print(f"{address}: ratings in {path}" + (f", pushed to {repo}" if hub else ""), flush=True)
    pushed = store.ratings()
    while True:
        threading.Event().wait(PUSH_SECONDS)
        if hub:
            pushed = push_ratings(hub, repo, store, pushed)


if __name__ == "__main__":
    run_app(Path(__file__).parent)
