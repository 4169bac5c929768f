"""Hide the secrets of an endpoint wherever its server, or a library, repeats them."""

import base64
import html
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

NO_KEY = "none"
"""Sent as the key to servers that need none."""
_HIDDEN = "***"
# Of parameters in a base URL whose values are secret.
_SECRET_NAMES = re.compile("key|token|secret|pass|auth|sig|code", re.IGNORECASE)
# Keys such as "EMPTY" or "ollama", for servers that need none, are words that a reply may hold. Ours.
_MIN_LETTERS, _MIN_MIXED = 12, 6
_MAX_LENGTH = 300


class Redaction:
    """Hides secrets, also where they are escaped or encoded."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        found = {secret for secret in secrets if secret and secret != NO_KEY}
        self._any, self._no_words = _pattern(found), _pattern(filter(_is_no_word, found))

    def hide(self, text: str) -> str:
        """Return a reply without the secrets; those that may be words of a text are left."""
        return self._no_words.sub(_HIDDEN, text)

    def shorten(self, text: object) -> str:
        """Return a message in one line of at most 300 characters, without secrets and account names."""
        line = self._any.sub(_HIDDEN, " ".join(str(text).split()))
        return re.sub(r"\b(Bearer |Basic |org-|hf_)[^\s\"']+", rf"\1{_HIDDEN}", line)[:_MAX_LENGTH]


def split_url(url: str) -> tuple[str, str, dict[str, str]]:
    """Return a base URL without user and query, the user with the password for basic authentication, and the query."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=host, query="", fragment="").geturl(), unquote(user), dict(parse_qsl(parts.query))


def without_secrets(url: str) -> str:
    """Return a URL, valid or not, without user, password and query."""
    return re.sub(r"^(\w+:/*)?.*@", r"\1", re.split("[?#]", url)[0])


def encode_basic(user: str) -> str:
    """Return `user:password` as basic authentication sends it."""
    return base64.b64encode(user.encode()).decode()


def list_url_secrets(url: str) -> list[str]:
    """Return the password and the keys in a base URL, and what basic authentication makes of the former."""
    _, user, query = split_url(url)
    name, _, password = user.partition(":")
    values = [value for name, value in query.items() if _SECRET_NAMES.search(name)]
    return [password or name, *([encode_basic(user)] if user else []), *values]


def _is_no_word(secret: str) -> bool:
    return len(secret) >= (_MIN_LETTERS if secret.isalpha() or secret.isdigit() else _MIN_MIXED)


def _pattern(secrets: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of texts, each letter as it is or as in a URL, in JSON or in HTML."""
    longest_first = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join("".join(map(_any_form, secret)) for secret in longest_first) or r"(?!)", re.IGNORECASE)


def _any_form(letter: str) -> str:
    forms = {letter, html.escape(letter), f"&#{ord(letter)};", f"&#x{ord(letter):x};", f"%{ord(letter):02x}"}
    escaped = "|".join(map(re.escape, sorted(forms, key=len, reverse=True))).replace(r"\&", r"(?:&|\\+u0026)")
    backslashes = "" if letter.isalnum() else r"\\*"  # before an escaped letter
    return rf"(?:{backslashes}(?:{escaped})|\\+u{ord(letter):04x})"
