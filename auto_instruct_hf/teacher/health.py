"""Whether an endpoint is at fault or a single request: when a run must stop, and with which words."""

import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TeacherError
from .endpoint import Endpoint
from .exchange import NO_ANSWER, NOT_A_COMPLETION, NOT_YET, REFUSED
from .journal import Entry, Record
from .throttle import retry_after

if TYPE_CHECKING:
    import openai

# Remedies by HTTP status for faults of the key, the account, the address or the model: other requests would fail too.
_REMEDIES = {
    **dict.fromkeys((301, 302, 303, 307, 308), "its address has changed: give the new one with --base-url"),
    401: "set OPENAI_API_KEY, or for a judge JUDGE_API_KEY, to a key of this endpoint",
    402: "its account has no money",
    403: "the key may not use this model",
    404: "check --teacher and --base-url",
    429: "its account has no money",
}
_FATAL = (401, 402, 404)
_FATAL_AT_FIRST = (301, 302, 303, 307, 308, 403)  # later it is about one request, such as one of a moderated topic
_TRANSIENT = (408, 409)  # below 500
_NO_MONEY = "insufficient_quota"  # OpenAI: a 429 that waiting does not cure
MAX_SILENCE = 600.0
"""Seconds without an answer, or of a Retry-After, after which the run stops."""
_WINDOW = 100  # answers, to distinguish a failing endpoint from chance
_MAX_UNANSWERED = 8  # after so many unanswered requests, and none answered, the endpoint is at fault


class Health:
    """What the answers of an endpoint show about it. `has_answered`: whether it ever answered a request."""

    def __init__(self, endpoint: Endpoint, journal: Path, max_failing: float, *, has_answered: bool) -> None:
        self.has_answered = has_answered
        self._endpoint, self._journal, self._max_failing = endpoint, journal, max_failing
        self._last_good = 0.0
        self._recent: deque[str] = deque(maxlen=_WINDOW)
        self._unanswered: list[Record] = []

    def reset(self) -> None:
        """Forget earlier failures: the endpoint may work again after a stop."""
        self._recent.clear()
        self._unanswered.clear()

    def count_answer(self) -> None:
        """Count any answer other than an error."""
        self._last_good = time.monotonic()

    def count_entry(self, entry: Entry) -> None:
        """Count a reply: usable or not."""
        self.has_answered = self.has_answered or not entry.error
        self._recent.append("" if entry.error == REFUSED else entry.error)  # a refusal of the model is no failure

    def count_failure(self, error: Exception) -> None:
        """Count a request that was given up."""
        self._recent.append(type(error).__name__)

    def hold(self, record: Record) -> list[Record]:
        """Return the records that may be written now that this one has come.

        Unanswered requests are held until a request has been answered: until then the endpoint may be at fault. Those
        that may be answered later are never written. Raise TeacherError if too many are unanswered and none answered.
        """
        error = record.entry.error
        if not self.has_answered and error.startswith((NO_ANSWER, NOT_YET, NOT_A_COMPLETION)):
            self._unanswered.append(record)
            if len(self._unanswered) >= _MAX_UNANSWERED:
                self.require_answers()
            return []
        held, self._unanswered = [*self._unanswered, record], []
        return [one for one in held if not one.entry.error.startswith(NOT_YET)]

    def require_answers(self) -> None:
        """Raise TeacherError if there were requests and none was ever answered."""
        if self._unanswered:
            raise self.stop(f"refuses whatever it is asked: {self._unanswered[-1].entry.error}")

    def check(self) -> None:
        """Stop the run if too many of the last answers failed: more would cost time and money for nothing."""
        failed = [kind for kind in self._recent if kind]
        if len(self._recent) == _WINDOW and len(failed) > self._max_failing * _WINDOW:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(failed).most_common())
            raise self.stop(
                f"fails too often: {len(failed)} of its last {_WINDOW} answers were unusable ({kinds}). See them with "
                "`auto-instruct journal OUT --export-failures FILE`, then try --structured text or another model"
            )

    def check_error(self, error: "openai.APIError") -> bool:
        """Return whether an error may pass; stop the run if it is of a kind that all requests would meet."""
        status = getattr(error, "status_code", None)
        if status in _FATAL or (status in _FATAL_AT_FIRST and not self.has_answered):
            raise self.stop_for(error) from None
        return not status or status >= 500 or status in _TRANSIENT

    def check_refusal(self, error: "openai.RateLimitError", start: float) -> float | None:
        """Return the Retry-After of a 429 in seconds; stop the run if waiting does not help.

        `start` is when its request was sent first, by the monotonic clock.
        """
        if _NO_MONEY in (error.code, error.type):
            raise self.stop_for(error) from None
        asked = retry_after(error.response.headers)
        if (asked or 0) > MAX_SILENCE or self.seconds_silent(start) > MAX_SILENCE + (asked or 0):
            wait = f" and asks to wait for {asked:,.0f} seconds" if asked else ""
            raise self.stop(f"refuses all requests as too many{wait}: {self._endpoint.explain(error)}")
        return asked

    def seconds_silent(self, start: float) -> float:
        """Return for how many seconds after `start` (monotonic clock) there has been no answer."""
        return time.monotonic() - max(self._last_good, start)

    def stop_for(self, error: Exception) -> TeacherError:
        """Return the error of a run that stops for an error of the client."""
        remedy = _REMEDIES.get(getattr(error, "status_code", 0))
        words = f"refuses to answer ({remedy})" if remedy else "does not answer"
        return self.stop(f"{words}: {self._endpoint.explain(error)}")

    def stop(self, reason: str) -> TeacherError:
        """Return the error of a run that stops for a reason."""
        return TeacherError(
            f"the teacher {self._endpoint.describe()} {reason}. Everything answered so far is in {self._journal}; "
            "run the same command again to go on from there"
        )
