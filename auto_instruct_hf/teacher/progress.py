"""The progress bar of requests, with the cost so far and the cost expected at the end."""

import time
from collections.abc import Callable
from typing import NoReturn

import datasets
from tqdm.auto import tqdm

_SECONDS_BETWEEN_NOTES = 1.0


class RequestProgress:
    """A bar that appears with the first answered request: a phase read from its cache shows none.

    Args:
        name: Its label.
        total: Number of requests; None: unknown.
        spent: Returns the US dollars spent so far, None if a price is unknown. Called at most once a second.
        later: Expected cost of later phases, in US dollars; None: unknown.
    """

    def __init__(
        self, name: str, total: int | None, spent: Callable[[], float | None], later: float | None = None
    ) -> None:
        self._name = name
        self._total = total
        self._spent = spent
        self._later = later
        self._before = spent()
        self._paid = self._known = 0
        self._note = ""
        self._bar: tqdm[NoReturn] | None = None
        self._noted = 0.0
        self._enabled = datasets.utils.logging.is_progress_bar_enabled()

    def advance(self, *, is_known: bool) -> None:
        """Count one answered request; `is_known`: its reply was in the journal and cost nothing now."""
        self._known += is_known
        self._paid += not is_known
        if not self._enabled:
            return
        if self._bar is None:
            self._bar = tqdm(total=self._total, desc=self._name, unit=" requests")
        if self._total and self._known + self._paid > self._total:  # some are requested again
            self._bar.total = None
        self._bar.update()
        if time.monotonic() - self._noted > _SECONDS_BETWEEN_NOTES:
            self._show()

    def note(self, text: str) -> None:
        """Show a note beside the cost."""
        self._note = text
        self._show()

    def close(self) -> None:
        """Close the bar and leave it on screen."""
        self._show()
        if self._bar is not None:
            self._bar.close()

    def describe_cost(self) -> str:
        """Return the total cost so far, and the cost expected at the end (of the phase if no more is known)."""
        spent = self._spent()
        if spent is None or self._before is None:
            return "price unknown"
        words = f"spent ${spent:.2f}"
        if self._total and self._paid:
            left = max(self._total - self._known - self._paid, 0)
            end = spent + left * (spent - self._before) / self._paid + (self._later or 0.0)
            words += f", about ${end:.2f} at the end" + (" of the phase" if self._later is None else "")
        return words

    def _show(self) -> None:
        self._noted = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(filter(None, [self._note, self.describe_cost()])))
