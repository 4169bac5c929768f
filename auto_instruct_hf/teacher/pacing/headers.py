"""Parse the rate-limit headers of responses."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "": 1.0}
_NUMBER = re.compile(r"\s*\d{1,9}(\.\d*)?\s*", re.ASCII)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d*)?)(ms|[dhms]|$)", re.ASCII)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `retry-after-ms` or `retry-after` (RFC 9110: seconds or a date) in seconds, or None if there is none."""
    value = headers.get("retry-after", "")
    for text, unit in ((headers.get("retry-after-ms", ""), 0.001), (value, 1.0)):
        if _NUMBER.fullmatch(text):
            return float(text) * unit
    until, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)  # the server's clock if it is sent
    return None if until is None else max((until - now).total_seconds(), 0.0)


def remaining(headers: Mapping[str, str], kind: str) -> tuple[int, float] | None:
    """Return how many `kind` (requests, tokens) are left and for how many seconds: OpenAI's `x-ratelimit` headers."""
    left = headers.get(f"x-ratelimit-remaining-{kind}", "")
    reset = headers.get(f"x-ratelimit-reset-{kind}", "").strip()  # 1s, 6m0s, 120ms, 1h2m; a bare number is seconds
    parts = _DURATION.findall(reset)
    if not _NUMBER.fullmatch(left) or not parts or "".join(number + unit for number, unit in parts) != reset:
        return None
    return int(float(left)), sum(float(number) * _UNITS[unit] for number, unit in parts)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
