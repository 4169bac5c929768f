"""The progress bar of requests, with what has been spent."""

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
        spent: Returns the cost so far, as text. Called once a second at most.
    """

    def __init__(self, name: str, total: int | None, spent: Callable[[], str]) -> None:
        self._name = name
        self._total = total
        self._spent = spent
        self._note = ""
        self._bar: tqdm[Any] | None = None
        self._noted = 0.0
        self._enabled = datasets.utils.logging.is_progress_bar_enabled()

    def advance(self) -> None:
        """Count one answered request."""
        if not self._enabled:
            return
        if self._bar is None:
            self._bar = tqdm(total=self._total, desc=self._name, unit=" requests")
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

    def _show(self) -> None:
        self._noted = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(filter(None, [self._note, f"spent {self._spent()}"])))
