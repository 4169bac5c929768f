"""What the headers of a response say about when the next request may go."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}(\.\d*)?", re.ASCII)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long a server wants silence.

    Args:
        headers: Those of its response; names in lower case, or a mapping to which case is nothing.

    Returns:
        Seconds, from `retry-after-ms` or `retry-after` (RFC 9110: seconds or a date); None: it does not say.
    """
    value = headers.get("retry-after", "")
    for text, unit in ((headers.get("retry-after-ms", ""), 0.001), (value, 1.0)):
        if (seconds := _number(text)) is not None:
            return seconds * unit
    # By the server's own clock, where it tells it.
    until, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)
    return None if until is None else max((until - now).total_seconds(), 0.0)


def remaining(headers: Mapping[str, str], kind: str) -> tuple[int, float] | None:
    """Read how many requests or tokens a server still admits, from the `x-ratelimit` headers that OpenAI defined.

    Args:
        headers: Those of its response; names in lower case, or a mapping to which case is nothing.
        kind: Of what: requests or tokens.

    Returns:
        How many, and for how many seconds that holds; None: it does not say both.
    """
    left, reset = (
        _number(headers.get(f"x-ratelimit-remaining-{kind}", "")),
        headers.get(f"x-ratelimit-reset-{kind}", ""),
    )
    seconds = _duration(reset)
    return None if left is None or seconds is None else (int(left), seconds)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _duration(text: str) -> float | None:
    """Read a duration like 1s, 6m0s, 120ms or 1h2m; a bare number is seconds."""
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text.strip():
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return _number(text)
