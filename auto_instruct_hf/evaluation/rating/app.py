"""A page on which people rate instances of a dataset: `python app.py [FOLDER]`, also as the `app.py` of a Space.

The folder, by default that of this file, has `items.json` (`title`, `raters`, `seed`, `questions`, `items`); ratings
are saved in SQLite. HF_TOKEN and RATINGS_REPO are explained in the README.md of the Space. Text of a model is rendered
as Markdown without HTML, links and images, so it can neither run nor load anything.
"""

import html
import json
import os
import re
import sqlite3
import sys
import tempfile
import threading
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, validate_call

if TYPE_CHECKING:
    import gradio
    from huggingface_hub import HfApi
    from starlette.middleware.base import RequestResponseEndpoint
    from starlette.requests import Request
    from starlette.responses import Response

MAX_NAME_LENGTH = 60
MAX_NOTE_LENGTH = 10_000
RESERVED_SECONDS = 1800  # ours: longer than anybody reads the item that is reserved
PUSH_SECONDS = 300
_CONTENT_POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self'; form-action 'self'"
_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (position INTEGER PRIMARY KEY, instance_id TEXT NOT NULL UNIQUE,
    instance TEXT NOT NULL, checksum INTEGER);
CREATE TABLE IF NOT EXISTS raters (rater INTEGER PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE,
    checksum INTEGER);
CREATE TABLE IF NOT EXISTS ratings (number INTEGER PRIMARY KEY AUTOINCREMENT,
    position INTEGER NOT NULL REFERENCES items, rater INTEGER NOT NULL REFERENCES raters, {answers},
    note TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL, checksum INTEGER, UNIQUE (position, rater));
CREATE TABLE IF NOT EXISTS skips (number INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL REFERENCES items,
    rater INTEGER NOT NULL REFERENCES raters, UNIQUE (position, rater));
CREATE TABLE IF NOT EXISTS offers (rater INTEGER PRIMARY KEY REFERENCES raters,
    position INTEGER NOT NULL REFERENCES items, since REAL NOT NULL);
PRAGMA user_version = 2;
COMMIT;
"""
RATINGS_FORMAT = 2
# Columns by table, each with a checksum of its row: SQLite itself reads a damaged value as any other.
_CHECKED = {
    "items": "position, instance_id, instance",
    "raters": "rater, name, folded",
    "ratings": "number, position, rater, {answers}, note, created, changed",
}
_UPGRADE = "".join(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER;" for table in _CHECKED)
_FAILURES = (sqlite3.DatabaseError, UnicodeDecodeError)  # the latter: SQLite's message quotes damaged bytes
_REMEDY = "If it is damaged, `auto-instruct rate OUT --recover` keeps what can be read"
_RATED = "(SELECT COUNT(*) FROM ratings WHERE position = items.position)"
# An item is open to a rater who has not rated it while it lacks ratings. It is free while reservations for others leave
# one rating to give. The item shown last comes first: a reload changes nothing.
_OPEN = f"{_RATED} < :wanted AND NOT EXISTS (SELECT 1 FROM ratings WHERE position = items.position AND rater = :rater)"
_NEXT = f"""
SELECT position FROM items WHERE {_OPEN} AND {_RATED}
    + (SELECT COUNT(*) FROM offers WHERE position = items.position AND rater != :rater AND since > :held
       AND NOT EXISTS (SELECT 1 FROM ratings WHERE position = offers.position AND rater = offers.rater)) < :wanted
ORDER BY position IN (SELECT position FROM offers WHERE rater = :rater) DESC,
    (SELECT number FROM skips WHERE position = items.position AND rater = :rater) NULLS FIRST, position LIMIT 1
"""
_COUNTS = f"""
SELECT (SELECT COUNT(*) FROM ratings WHERE rater = :rater), COUNT(*), COALESCE(SUM({_OPEN}), 0),
    COALESCE(SUM({_RATED} >= :wanted), 0) FROM items
"""
# Marks and letters that Python counts as printable and no font shows.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_ALPHABETS = {"LATIN", "GREEK", "CYRILLIC"}  # they share letters that look the same
_Row = dict[str, Any]  # an instance or a rating: column -> value
_Update = dict[Any, Any]  # components of the page -> their new values


class RatingAppError(Exception):
    """An error that a rater or the person who runs the page can act on."""


@dataclass(frozen=True)
class RatingQuestion:
    """A question, answered yes, no or cannot tell; with `needs_strategy` not asked of items without a strategy."""

    name: str
    text: str
    needs_strategy: bool = False


@dataclass(frozen=True)
class RatingItem:
    """An instance shown to a rater, with the rater's answer to each question that applies: None: cannot tell."""

    position: int
    instance: _Row
    answers: dict[str, bool | None]
    note: str
    is_rated: bool


class RatingStore(AbstractContextManager["RatingStore"]):
    """Ratings in an SQLite file, created if missing; safe for threads and processes.

    A method returns after its data is on disk, and raises RatingAppError if the file cannot be opened, read or written.
    """

    def __init__(self, path: Path, questions: Sequence[RatingQuestion]) -> None:
        self.path = path
        self.questions = tuple(questions)
        self.names = [question.name for question in questions]
        self._lock = threading.Lock()
        self._checked = _list_checked(self.names)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._file.create_function("row_checksum", -1, _row_checksum, deterministic=True)
            self._file.execute("PRAGMA journal_mode=DELETE")  # no rating is in a second file, which may get lost
            self._file.execute("PRAGMA synchronous=FULL")
            version = self._file.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:  # of two processes that open a new file, one creates the tables
                answers = ", ".join(f"{name} INTEGER CHECK ({name} IN (0, 1))" for name in self.names)
                self._file.executescript(_TABLES.format(answers=answers))
            elif version == 1:
                self._file.executescript(f"BEGIN IMMEDIATE; {_UPGRADE} PRAGMA user_version = 2; COMMIT")
            if version <= RATINGS_FORMAT:
                stored = {row[1] for row in self._file.execute("PRAGMA table_info(ratings)")}
                self._check(_list_checked([name for name in self.names if name in stored]))
                self._add_answers([name for name in self.names if name not in stored])
        except (*_FAILURES, OSError) as error:
            raise RatingAppError(f"cannot open the ratings {path}: {' '.join(str(error).split())}. {_REMEDY}") from None
        if version > RATINGS_FORMAT:
            raise RatingAppError(
                f"{path} has format {version}, this version reads {RATINGS_FORMAT}: use a newer version"
            )

    def __exit__(self, *error: object) -> None:
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
        """Return the number of a rater, a new one for a new name; case, repeated spaces and width are ignored."""
        name = " ".join(unicodedata.normalize("NFKC", name).split())
        if not 0 < len(name) <= MAX_NAME_LENGTH:
            raise RatingAppError(f"A name has 1 to {MAX_NAME_LENGTH} letters; this one has {len(name)}")
        if not name.isprintable() or _BLANK.search(name) or not any(map(str.isalnum, name)):
            raise RatingAppError("A name has letters or digits, and no invisible characters: type it again")
        if len(_ALPHABETS & {unicodedata.name(letter, "").split(" ")[0] for letter in name}) > 1:
            raise RatingAppError("A name is written in one alphabet: type it again")
        # Case folding can break NFKC, and adds to the capital I with a dot the one that an i has anyway.
        folded = unicodedata.normalize("NFKC", name.casefold().replace("i\u0307", "i"))
        with self._transaction():
            self._file.execute("INSERT OR IGNORE INTO raters (name, folded) VALUES (?, ?)", (name, folded))
            found = self._file.execute("SELECT rater FROM raters WHERE folded = ?", (folded,))
            return int(found.fetchone()[0])

    def hold(self, rater: int, since: float) -> None:
        """Set the time of a rater's last activity, from which their item is reserved for RESERVED_SECONDS; 0: free it.

        The item is still shown to the rater first, unless it has been given to others.
        """
        with self._transaction():
            self._file.execute("UPDATE offers SET since = ? WHERE rater = ?", (since, rater))

    def next_item(self, rater: int, wanted: int) -> RatingItem | None:
        """Reserve and return the next item for a rater, if each item gets `wanted` ratings; None if none is free.

        It is the one shown last, if it is still open; else the first not skipped; else the one skipped first.
        """
        now = time.time()
        values = {"rater": rater, "wanted": wanted, "held": now - RESERVED_SECONDS}
        with self._transaction():
            found = self._file.execute(_NEXT, values).fetchone()
            self._file.execute("DELETE FROM offers WHERE rater = ?", (rater,))
            if found is None:
                return None
            self._file.execute("INSERT INTO offers VALUES (?, ?, ?)", (rater, found[0], now))
        return self.item(rater, found[0])

    def previous_item(self, rater: int, position: int | None) -> RatingItem | None:
        """Return the item that a rater rated before the one at `position`, or last of all; None if there is none."""
        rows = self._read(  # ratings are numbered in the order in which they were first saved
            "SELECT position FROM ratings WHERE rater = :rater AND number < COALESCE((SELECT number FROM ratings WHERE "
            "rater = :rater AND position = :position), 1e18) ORDER BY number DESC LIMIT 1",
            {"rater": rater, "position": position},
        )
        return self.item(rater, rows[0][0]) if rows else None

    def item(self, rater: int, position: int) -> RatingItem:
        """Return an item with a rater's answers."""
        rows = self._read(
            f"SELECT instance, note, {', '.join(self.names)} FROM items LEFT JOIN ratings "
            "ON ratings.position = items.position AND rater = ? WHERE items.position = ?",
            (rater, position),
        )
        if not rows:
            raise RatingAppError(f"There is no item {position}")
        row, note, answers = json.loads(rows[0][0]), rows[0][1], self._read_answers(rows[0][2:])
        has_strategy = bool(row["attribute"] and not row["is_classification"])  # a classification task has a label
        asked = [question.name for question in self.questions if has_strategy or not question.needs_strategy]
        return RatingItem(position, row, {name: answers[name] for name in asked}, note or "", note is not None)

    def save(self, rater: int, position: int, answers: Mapping[str, bool | None], note: str = "") -> None:
        """Save a rating: an answer to each question that applies (None: cannot tell), over an earlier one."""
        asked = self.item(rater, position).answers
        if set(answers) != set(asked):
            raise RatingAppError(f"item {position} is asked about {', '.join(asked)}; got {', '.join(answers)}")
        names = [*self.names, "note", "changed"]
        values = [*(answers.get(name) for name in self.names), note.strip(), time.time()]
        with self._transaction():
            self._file.execute(
                f"INSERT INTO ratings (position, rater, created, {', '.join(names)}) "
                f"VALUES (?, ?, ?{', ?' * len(names)}) ON CONFLICT (position, rater) DO UPDATE SET "
                + ", ".join([*(f"{name} = excluded.{name}" for name in names), "checksum = NULL"]),
                (position, rater, values[-1], *values),
            )
            self._file.execute("DELETE FROM skips WHERE position = ? AND rater = ?", (position, rater))

    def skip(self, rater: int, position: int) -> None:
        """Move an item to the end of what a rater is shown."""
        with self._transaction():
            self._file.execute("REPLACE INTO skips (position, rater) VALUES (?, ?)", (position, rater))
            self._file.execute("DELETE FROM offers WHERE rater = ?", (rater,))

    def progress(self, rater: int, wanted: int) -> tuple[int, int, int, int]:
        """Return the counts of items: rated by this rater, all, open to this rater, with all `wanted` ratings."""
        return tuple(self._read(_COUNTS, {"rater": rater, "wanted": wanted})[0])

    def ratings(self, *, named: bool = True) -> list[_Row]:
        """Return all ratings by item and rater: the answers by question, the rated instance, and the rater.

        `rater` is the name or, not `named`, `rater-1` and so on in the order in which raters came. An answer is None if
        the question does not apply or the rater could not tell; `reason` is the note, `confidence` None.
        """
        rater = "name" if named else "'rater-' || rater"
        rows = self._read(
            f"SELECT {rater}, note, instance, {', '.join(self.names)} FROM ratings "
            "JOIN raters USING (rater) JOIN items USING (position) ORDER BY position, rater"
        )
        return [
            {**json.loads(instance), **self._read_answers(given), "rater": rater, "reason": note, "confidence": None}
            for rater, note, instance, *given in rows
        ]

    def copy_to(self, path: Path, *, named: bool) -> str:
        """Copy to a new file, not `named` with numbers in place of names, and return its path."""
        with self._lock:
            self._file.execute("VACUUM INTO ?", (str(path),))
        if not named:
            with closing(sqlite3.connect(path, isolation_level=None)) as copy:
                copy.execute("UPDATE raters SET name = 'rater-' || rater, folded = 'rater-' || rater, checksum = NULL")
                copy.execute("VACUUM")  # overwritten names would stay in the file
        return str(path)

    def _read_answers(self, values: Sequence[int | None]) -> dict[str, bool | None]:
        return {n: None if value is None else bool(value) for n, value in zip(self.names, values, strict=True)}

    def _check(self, checked: Mapping[str, str]) -> None:
        """Raise sqlite3.DatabaseError if a page or a row of `checked` (table -> columns) is damaged."""
        if (found := self._file.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        for table, names in checked.items():
            wrong = f"SELECT COUNT(*) FROM {table} WHERE checksum != row_checksum({names})"
            if count := self._file.execute(wrong).fetchone()[0]:
                raise sqlite3.DatabaseError(f"{count} rows of the table {table} have changed")

    def _add_answers(self, names: Sequence[str]) -> None:
        """Add columns for the answers to questions of a later version of the page."""
        if names:
            with self._transaction():
                for name in names:
                    self._file.execute(f"ALTER TABLE ratings ADD COLUMN {name} INTEGER CHECK ({name} IN (0, 1))")
                self._file.execute("UPDATE ratings SET checksum = NULL")

    def _read(self, statement: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._file.execute(statement, values).fetchall()
        except _FAILURES as error:
            raise RatingAppError(f"cannot read {self.path}: {error}. {_REMEDY}") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._lock, self._file:  # commits, or rolls back on an error
                self._file.execute("BEGIN IMMEDIATE")
                yield
                for table, names in self._checked.items():
                    self._file.execute(f"UPDATE {table} SET checksum = row_checksum({names}) WHERE checksum IS NULL")
        except sqlite3.DatabaseError as error:
            advice = "Ratings saved so far are safe; free disk space or fix the permissions"
            raise RatingAppError(f"cannot write to {self.path}: {error}. {advice}") from None


def _list_checked(answers: Sequence[str]) -> dict[str, str]:
    """Return table -> the columns in the checksum of its rows."""
    return {table: names.format(answers=", ".join(answers)) for table, names in _CHECKED.items()}


def _row_checksum(*values: object) -> int:
    return zlib.crc32(repr(values).encode("utf-8", "backslashreplace"))  # as core.row_checksum, which recovery uses


_WORDS = {True: "yes", False: "no", None: "cannot tell"}
_CHOICES = [("yes (y)", "yes"), ("no (n)", "no"), ("cannot tell (u)", "cannot tell")]
_ANSWERS = {word: answer for answer, word in _WORDS.items()}
_CSS = """
#questions { align-self: flex-start; }
@media (min-width: 760px) { #questions { position: sticky; top: 8px; } }
#instance h2 { font-size: 1rem; margin: 12px 0 4px; }
#instance section div :is(h1, h2, h3) { font-size: 1.1rem; }
#instance section > div { border: 1px solid var(--border-color-primary); padding: 4px 12px; overflow-wrap: anywhere; }
#instance pre { overflow-x: auto; background: var(--background-fill-secondary); padding: 8px; }
#questions span { color: var(--body-text-color); }
/* The question that a key answers: the one with the focus, else the first without an answer. */
#questions :is(fieldset:focus-within, :not(:has(:focus)) > fieldset:nth-child(1 of :not(:has(:checked)))) {
  background: var(--color-accent-soft); outline: 2px solid var(--color-accent);
}
#message:has(p) { position: fixed; left: 0; right: 0; bottom: 0; z-index: 10; padding: 4px 24px; background: #991b1b; }
#message p { color: white; font-weight: 600; }
"""
# Keys press what is on the page, so that a key does what a click does.
_JAVASCRIPT = r"""
window.rating = (() => {
  const WORDS = { y: "yes", n: "no", u: "cannot tell" };
  const BUTTONS = { Enter: "save", s: "skip", b: "back" };
  let waiting = 0; // keys are ignored until this time: the response shows the next item
  const groups = () => [...document.querySelectorAll("#questions fieldset")];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const focused = document.activeElement;
    if (focused?.matches("textarea, input:not([type=radio]), [contenteditable]")) {
      if (event.key === "Escape") focused.blur();
      return;
    }
    if (event.repeat || Date.now() < waiting || !document.getElementById("desk")?.offsetParent) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && focused?.closest("button, a, summary")) return; // it is pressed itself
    const button = document.getElementById(BUTTONS[key]);
    const numbered = groups().find((group) => group.innerText.trim().startsWith(`${key}.`));
    if (key in WORDS) {
      const open = groups().find((group) => !group.querySelector(":checked"));
      (focused?.closest("fieldset") ?? open)?.querySelector(`input[value="${WORDS[key]}"]`)?.click();
      focused?.blur();
    } else if (numbered) numbered.querySelector("input").focus();
    else if (key === "c") document.querySelector("#note textarea, #note input")?.focus();
    else if (button?.offsetParent) {
      waiting = Date.now() + 5000;
      button.click();
    } else return;
    event.preventDefault();
  });
  document.addEventListener("change", (event) => event.target.closest("fieldset") && event.target.blur());
  return {
    // After two frames the page has been drawn again.
    ready: () => requestAnimationFrame(() => requestAnimationFrame(() => {
      waiting = 0;
      const page = document.body.dataset, shown = document.querySelector("#progress [data-position]")?.dataset.position;
      page.ready = String(Number(page.ready ?? 0) + 1);
      if (shown !== page.shown) window.scrollTo(0, 0);
      page.shown = shown;
      groups().forEach((group) => group.setAttribute("aria-label", group.querySelector("span").innerText));
    })),
  };
})();
"""
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private", "preprocess": False}
_Position = Annotated[int, Field(ge=1, lt=2**63)]
_Note = Annotated[str, Field(max_length=MAX_NOTE_LENGTH)]
_Word = Literal["yes", "no", "cannot tell"]


def make_page(store: RatingStore, raters: int, title: str) -> "gradio.Blocks":  # noqa: PLR0915  # layout and events
    """Make the page: one instance at a time, its questions, and keys for everything."""
    import gradio as gr

    page: gr.Blocks
    with gr.Blocks(title=f"Rate {title}", analytics_enabled=False, fill_width=True) as page:
        with gr.Column(elem_id="entry", visible=False) as entry:
            gr.HTML(f"<h1>Rate {html.escape(title)}</h1>")
            gr.Markdown(
                "Each answer is saved at once. Close the page whenever you like and come back. What is shown to you is "
                f"kept for you while the page is open, for at most {RESERVED_SECONDS // 60} minutes between answers."
            )
            name = gr.Textbox(label="Your name", elem_id="name", autofocus=True, max_lines=1)
            start = gr.Button("Start", variant="primary", elem_id="start")
        with gr.Column(elem_id="desk", visible=False) as desk:
            progress = gr.HTML(elem_id="progress")
            with gr.Row():
                with gr.Column(scale=3, min_width=300) as form:
                    instance = gr.HTML(elem_id="instance")
                with gr.Column(scale=2, min_width=300, elem_id="questions"):
                    radios = [
                        gr.Radio(_CHOICES, label=f"{number}. {question.text}", elem_id=question.name)
                        for number, question in enumerate(store.questions, 1)
                    ]
                    note = gr.Textbox(label="Note (c)", max_lines=8, max_length=MAX_NOTE_LENGTH, elem_id="note")
                    save = gr.Button("Save and next (Enter)", variant="primary", elem_id="save")
                    with gr.Row():
                        skip, back, leave = (
                            gr.Button(label, elem_id=label.split()[0].lower(), size="md", min_width=90)
                            for label in ("Skip (s)", "Back (b)", "Another rater")
                        )
        message = gr.HTML(elem_id="message")
        # Kept in the browser: the next visit begins with the name, and an answer belongs to the item that was shown.
        who = gr.BrowserState("", storage_key="auto-instruct-rater", secret="none")  # noqa: S106  # nothing to hide
        position = gr.Number(visible=False, precision=0)
        sessions: dict[int, str | None] = {}  # by rater: that of the browser in which the last request was made

        def show(name: str, item: RatingItem | None) -> _Update:
            shown = {
                **{entry: gr.update(visible=False), desk: gr.update(visible=True), message: "", who: name},
                **dict.fromkeys((form, note, save, skip), gr.update(visible=item is not None)),
                progress: _describe_progress(title, name, item, store.progress(store.enter(name), raters)),
                position: item.position if item else None,
            }
            if item is None:
                return shown | dict.fromkeys(radios, gr.update(visible=False))
            shown |= {instance: render_instance(item.instance), note: gr.update(value=item.note, visible=True)}
            for key, radio in zip(store.names, radios, strict=True):
                value = _WORDS[item.answers[key]] if item.is_rated and key in item.answers else None
                shown[radio] = gr.update(value=value, visible=key in item.answers)
            return shown

        def enter(name: str) -> _Update:
            if not name.strip():
                return {entry: gr.update(visible=True), desk: gr.update(visible=False), message: "", who: ""}
            return show(name, store.next_item(store.enter(name), raters))

        def save_answers(name: str, position: _Position, note: _Note, *words: _Word | None) -> _Update:
            rater = store.enter(name)
            asked = store.item(rater, position).answers
            said = {key: word for key, word in zip(store.names, words, strict=True) if key in asked}
            if None in said.values():
                raise RatingAppError("A question has no answer yet: yes, no, or cannot tell.")
            store.save(rater, position, {key: _ANSWERS[word] for key, word in said.items() if word}, note)
            return enter(name)

        def skip_item(name: str, position: _Position) -> _Update:
            rater = store.enter(name)
            if not store.item(rater, position).is_rated:
                store.skip(rater, position)
            return enter(name)

        def go_back(name: str, position: _Position | None) -> _Update:
            item = store.previous_item(store.enter(name), position)
            if item is None:
                raise RatingAppError("There is nothing before this one.")
            return show(name, item)

        def leave_desk(name: str) -> _Update:
            store.hold(store.enter(name), 0)
            return enter("")

        outputs = [entry, desk, form, progress, message, who, position, instance, *radios, note, save, skip]

        def connect(event: Callable[..., Any], step: Callable[..., _Update], *inputs: object) -> None:
            checked: Callable[..., _Update] = validate_call(config={"strict": True})(step)

            def run_step(request: gr.Request, *values: Any) -> _Update:
                try:
                    if isinstance(values[0], str) and values[0].strip():
                        rater = store.enter(values[0])
                        sessions[rater] = request.session_hash
                        store.hold(rater, time.time())
                    return checked(*values)
                except ValidationError as error:
                    text = f"This is not what the page sends: {error.errors()[0]['msg']}."
                except RatingAppError as error:  # shown on the page, which changes in nothing else
                    text = str(error)
                return {message: f'<p role="alert">{html.escape(text)}</p>'}

            event(run_step, list(inputs), outputs, **_QUIET).then(None, js="() => window.rating.ready()", **_QUIET)

        def end_session(request: gr.Request) -> None:
            for rater in [rater for rater, session in sessions.items() if session == request.session_hash]:
                store.hold(rater, 0)

        connect(page.load, enter, who)
        connect(partial(gr.on, [start.click, name.submit]), enter, name)
        connect(save.click, save_answers, who, position, note, *radios)
        connect(skip.click, skip_item, who, position)
        connect(back.click, go_back, who, position)
        connect(leave.click, leave_desk, who)
        page.unload(end_session)
        with gr.Accordion("All ratings so far", open=False):
            file = gr.File(label="SQLite, raters by number", interactive=False)
            gr.Button("Make the file").click(
                lambda: store.copy_to(Path(tempfile.mkdtemp(), "ratings.sqlite"), named=False), outputs=file, **_QUIET
            )
    return page


def render_instance(row: Mapping[str, object]) -> str:
    """Render an instance as HTML: Markdown with its line breaks, no raw HTML, links or images, no empty part."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table")
    markdown.disable(["image", "link", "autolink", "html_block", "html_inline", "reference"])
    label = "label" if row["is_classification"] else "strategy"
    parts = {"instruction": row["instruction"], "input": row["input"], label: row["attribute"], "output": row["output"]}
    return "".join(
        f'<section id="{name}"><h2>{name.capitalize()}</h2><div>{markdown.render(str(text))}</div></section>'
        for name, text in parts.items()
        if text
    )


def _describe_progress(title: str, name: str, item: RatingItem | None, counts: tuple[int, int, int, int]) -> str:
    rated, items, left, complete = counts
    hint = "What is left is shown to other raters at the moment: reload the page later."
    if item:
        hint = "You have saved this one: change it, or skip on." if item.is_rated else ""
    elif not left:
        hint = "Nothing is left for you. Thank you."
    return (
        f'<p role="status" data-position="{item.position if item else 0}">{html.escape(title)}, rated by '
        f"{html.escape(name)}: <strong>{rated} of {items}</strong> rated by you; {complete} of {items} have all "
        f"ratings. {hint}</p>"
    )


async def _guard(request: "Request", respond: "RequestResponseEndpoint") -> "Response":
    """Refuse other origins and hosts, and what the page does not send itself; let the browser load only from here."""
    from starlette.responses import PlainTextResponse

    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    is_local = urlsplit(f"//{host}").hostname in ("127.0.0.1", "localhost", "::1") or "GRADIO_SERVER_NAME" in os.environ
    is_own = is_local and (origin is None or urlsplit(origin).netloc == host)
    # On a Space the proxy decides which names lead here.
    if not (is_own or "SPACE_ID" in os.environ):
        return PlainTextResponse("this page answers only to itself", status_code=403)
    is_read = request.method in ("GET", "HEAD") and not re.search("/(call|queue)/", request.url.path)
    if not is_read and not (request.url.path.endswith("/run/predict") and await _is_step(request)):
        return PlainTextResponse("this page takes only what its own buttons send, and no files", status_code=403)
    response = await respond(request)
    response.headers["content-security-policy"] = _CONTENT_POLICY
    return response


async def _is_step(request: "Request") -> bool:
    """Return whether a request is a step of the page with as many texts and numbers as it needs."""
    try:
        sent = await request.json()
        step = request.app.get_blocks().fns[sent["fn_index"]]
        kinds_fit = all(isinstance(value, str | int | float | None) for value in sent["data"])
        return bool(step.fn and kinds_fit and len(step.inputs) == len(sent["data"]) and "batched" not in sent)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False


def serve_page(store: RatingStore, raters: int, title: str, **launch: Any) -> "gradio.Blocks":
    """Serve the page in a thread, by default at GRADIO_SERVER_NAME (127.0.0.1) and GRADIO_SERVER_PORT (7860 or above).

    `launch` are further arguments of `gradio.Blocks.launch`. Raises RatingAppError if the port is not available.
    """
    # Otherwise gradio and the libraries it imports report each start to their makers.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    import gradio as gr
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware

    page = make_page(store, raters, title)
    unused = ("share", "inline", "ssr_mode", "mcp_server", "enable_monitoring", "run_history", "pwa")
    launch = {**dict.fromkeys(unused, False), **launch}
    theme = gr.themes.Default(primary_hue="blue", font=("system-ui", "sans-serif"), font_mono=("monospace",))
    # White on the theme's blue has a contrast of 3.7; WCAG 2.2 requires 4.5. These have 6.7 and 8.7.
    theme.set(button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800")
    try:
        page.launch(
            theme=theme,
            css=_CSS,
            head=f"<script>{_JAVASCRIPT}</script>",
            app_kwargs={"middleware": [Middleware(BaseHTTPMiddleware, dispatch=_guard)]},
            prevent_thread_lock=True,
            quiet=True,
            footer_links=[],
            **launch,
        )
    except OSError as error:
        port = launch.get("server_port")
        reason = f"port {port} is in use or not allowed: use another one, or leave out --port"
        raise RatingAppError(f"cannot serve the page: {error}" if port is None else reason) from None
    return page


def restore_ratings(hub: "HfApi", repo: str, path: Path) -> None:
    """Download the ratings that an earlier run pushed, if there are any."""
    if hub.file_exists(repo, path.name, repo_type="dataset"):
        path.write_bytes(Path(hub.hf_hub_download(repo, path.name, repo_type="dataset")).read_bytes())


def push_ratings(hub: "HfApi", repo: str, store: RatingStore, pushed: list[_Row]) -> list[_Row]:
    """Push the ratings if they changed since `pushed`, print a failure, and return those in the repository."""
    ratings = store.ratings()
    if ratings == pushed:
        return pushed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store.copy_to(folder / store.path.name, named=True)
        lines = [json.dumps(row, ensure_ascii=False) for row in ratings]
        (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        commit = f"{len(ratings)} ratings"
        try:
            hub.upload_folder(repo_id=repo, repo_type="dataset", folder_path=folder, commit_message=commit)
        except Exception as error:  # whatever it is, raters go on
            # An escaped literal: a terminal obeys nothing in it.
            print(f"cannot push to {repo}: {error!r}".replace(os.environ.get("HF_TOKEN") or "\0", "***"), flush=True)
            return pushed
    return ratings


def run_app(folder: Path, **launch: Any) -> None:
    """Serve the page for the `items.json` in a folder until Ctrl-C.

    Ratings are in `ratings.sqlite` there; on a Space with persistent storage in `/data`. With HF_TOKEN and RATINGS_REPO
    they are pushed to that repository, and downloaded from it at the start if there are none. `launch` is as in
    `serve_page`. Raises RatingAppError if the page cannot start, or RATINGS_REPO is public.
    """
    try:
        settings = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RatingAppError(f"{folder / 'items.json'} cannot be read ({error}): write the folder again") from None
    on_data = "SPACE_ID" in os.environ and os.access("/data", os.W_OK)
    path = (Path("/data") if on_data else folder) / "ratings.sqlite"
    hub, repo = None, os.environ.get("RATINGS_REPO", "")
    if repo and os.environ.get("HF_TOKEN"):
        from huggingface_hub import HfApi

        hub = HfApi(token=os.environ["HF_TOKEN"])
        hub.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        if not hub.repo_info(repo, repo_type="dataset").private:
            raise RatingAppError(f"RATINGS_REPO {repo} is public, ratings hold names: make it private, or use another")
        if not path.exists():
            restore_ratings(hub, repo, path)
    with RatingStore(path, [RatingQuestion(**question) for question in settings["questions"]]) as store:
        store.add_items(settings["items"], settings["seed"])
        page = serve_page(store, settings["raters"], settings["title"], **launch)
        about = f"{len(store.items())} instances, {settings['raters']} raters each: {page.local_url}"
        print(f"{about} (Ctrl-C ends; ratings are in {path}{', pushed to ' + repo if hub else ''})", flush=True)
        pushed = store.ratings()
        try:
            while True:
                threading.Event().wait(PUSH_SECONDS)
                pushed = push_ratings(hub, repo, store, pushed) if hub else pushed
        except KeyboardInterrupt:
            page.close(verbose=False)
            print(f"{len(store.ratings())} ratings in {path}", flush=True)


if __name__ == "__main__":
    run_app(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
