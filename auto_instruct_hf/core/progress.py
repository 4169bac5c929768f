"""Show progress: a bar on a terminal or in a notebook, elsewhere a line every ten seconds."""

import sys
import time
from contextlib import AbstractContextManager
from typing import NoReturn

import datasets
from tqdm.auto import tqdm

_SECONDS_BETWEEN_LINES = 10.0
# Cached steps as the README names them, with their units.
_TITLES = {
    "decontaminate": ("curate, comparison with evaluation sets", "row"),
    "embed": ("cluster, embeddings", "text"),
    "reduce": ("cluster, UMAP", "text"),
    "curve": ("cluster, number of clusters", "mixture"),
    "assign": ("cluster, Gaussian mixture", "text"),
    "extend": ("cluster, assignment of the rest", "text"),
    "topics": ("cluster, names of topics", "request"),
    "leak": ("split, similarity across splits", "row"),
    "sample": ("stratify", "row"),
    "plots": ("card", "figure"),
}


class ProgressLine(AbstractContextManager["ProgressLine"]):
    """The progress of one step: `total` units (None: unknown), `unit` in the singular.

    It is shown if `is_shown`; None: unless the progress bars of `datasets` are disabled.
    """

    def __init__(self, name: str, total: int | None = None, unit: str = "row", *, is_shown: bool | None = None) -> None:
        self._name, self._unit = _TITLES.get(name, (name, unit))
        self._total = total
        self._done = 0
        self._note = ""
        self._bar: tqdm[NoReturn] | None = None
        self._is_shown = datasets.utils.logging.is_progress_bar_enabled() if is_shown is None else is_shown
        self._started = self._printed = time.monotonic()
        if self._is_shown and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            self._bar = tqdm(total=total, desc=self._name, unit=f" {self._unit}s")
        elif self._is_shown:
            self._print(f"{self._name} …")

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None and self._is_shown and self._bar is None:
            self._print(f"{self._count()} when it stopped")
        else:
            self.close()

    def advance(self, count: int = 1) -> None:
        """Count units; a total that is exceeded becomes unknown."""
        self._done += count
        if self._total is not None and self._done > self._total:
            self._total = None
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.update(count)
        elif self._is_shown and self._done != self._total and time.monotonic() > self._printed + _SECONDS_BETWEEN_LINES:
            self._print(self._count())

    def note(self, text: str) -> None:
        """Show a note after the count."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        """Leave the line on screen, with its duration."""
        if self._bar is not None:
            self._bar.close()
        elif self._is_shown:
            self._print(f"{self._count()} in {time.monotonic() - self._started:.0f} s")

    def _count(self) -> str:
        of = f"{self._done:,}" if self._total in (None, self._done) else f"{self._done:,} of {self._total:,}"
        plural = "" if (self._done if self._total is None else self._total) == 1 else "s"
        return f"{self._name}: {of} {self._unit}{plural}"

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        print(", ".join(filter(None, [text, self._note])), file=sys.stderr, flush=True)
