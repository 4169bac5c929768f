"""The progress bar of requests, with what has been spent and what the phase will have cost."""

import time
from collections.abc import Callable
from typing import Any

import datasets
from tqdm.auto import tqdm

_SECONDS_BETWEEN_NOTES = 1.0


class Progress:
    """A bar that appears with the first answered request: a phase that is read from its cache shows none.

    Args:
        name: Its label.
        total: How many requests there will be; None: not known.
        spent: Returns the US dollars spent so far, None where a price is unknown. Called once a second at most.
        later: What later phases are expected to cost, in US dollars.
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
        self._bar: tqdm[Any] | None = None
        self._noted = 0.0
        self._enabled = datasets.utils.logging.is_progress_bar_enabled()

    def advance(self, *, is_known: bool) -> None:
        """Count one answered request; `is_known`: by the journal, so it cost nothing now."""
        self._known += is_known
        self._paid += not is_known
        if not self._enabled:
            return
        if self._bar is None:
            self._bar = tqdm(total=self._total, desc=self._name, unit=" requests")
        if self._total and self._known + self._paid > self._total:  # some are asked again
            self._bar.total = None
        self._bar.update()
        if time.monotonic() - self._noted > _SECONDS_BETWEEN_NOTES:
            self._show()

    def note(self, text: str) -> None:
        """Show a few words beside the cost."""
        self._note = text
        self._show()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._show()
        if self._bar is not None:
            self._bar.close()

    def describe_cost(self) -> str:
        """Return what has been spent in all, and what it will be at the end: of the phase, if no more is known."""
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
