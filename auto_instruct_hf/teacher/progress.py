"""The progress of requests, with the cost so far and the cost expected at the end."""

import time
from collections.abc import Callable

import datasets

from ..core import ProgressLine

_SECONDS_BETWEEN_NOTES = 1.0


class RequestProgress:
    """A line that appears with the first answered request: a phase read from its cache shows none.

    `total` is the number of requests, `later` the expected cost of later phases in US dollars (None: unknown). `spent`
    returns the US dollars spent so far (None: a price is unknown); it is called at most once a second. `is_final` turns
    False with the first request that a later run asks again.
    """

    def __init__(self, name: str, total: int | None, spent: Callable[[], float | None], later: float | None) -> None:
        self._name, self._total, self._spent, self._later = name, total, spent, later
        self._before = spent()
        self._paid = self._known = 0
        self.is_final = True
        self._note = ""
        self._line: ProgressLine | None = None
        self._is_shown = datasets.utils.logging.is_progress_bar_enabled()
        self._noted = 0.0

    def advance(self, *, is_known: bool) -> None:
        """Count one answered request; `is_known`: its reply was in the journal and cost nothing now."""
        self._known += is_known
        self._paid += not is_known
        if self._line is None:
            self._line = ProgressLine(self._name, self._total, "request", is_shown=self._is_shown)
        if time.monotonic() - self._noted > _SECONDS_BETWEEN_NOTES:
            self.note(self._note)
        self._line.advance()

    def note(self, text: str) -> None:
        """Show a note before the cost."""
        self._note, self._noted = text, time.monotonic()
        if self._line is not None:
            self._line.note(", ".join(filter(None, [text, self.describe_cost()])))

    def close(self) -> None:
        """Close the line and leave it on screen."""
        self.note(self._note)
        if self._line is not None:
            self._line.close()

    def describe_cost(self) -> str:
        """Return the cost so far, and that expected at the end (of the phase if no more is known); "" if it is free."""
        spent = self._spent()
        if spent is None or self._before is None:
            return "price unknown"
        words = f"spent ${spent:.2f}" if spent else ""
        if spent and self._total and self._paid:
            left = max(self._total - self._known - self._paid, 0)
            end = spent + left * (spent - self._before) / self._paid + (self._later or 0.0)
            words += f", about ${end:.2f} at the end" + (" of the phase" if self._later is None else "")
        return words
