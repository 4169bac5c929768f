"""The endpoint of a teacher: model, base URL and key, described without the key."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import RecipeError, TeacherError
from ..recipe import TeacherSettings
from .embedded import SMOLLM, find_model, is_gguf, start_embedded_server
from .journal import Entry
from .redaction import NO_KEY, Redaction, encode_basic, list_url_secrets, split_url, without_secrets
from .server_words import read_words

if TYPE_CHECKING:
    import openai

EMBEDDED = "embedded"
EMBEDDED_MODEL = SMOLLM.name
_DEFAULT_MODEL = "gpt-4o"
_OPENAI = "https://api.openai.com/v1"


class Endpoint:
    """An OpenAI-compatible endpoint, or a server on this machine, which starts with the first request.

    The arguments are those of a Teacher; a GGUF file is found here. Raise RecipeError or TeacherError if they are not
    valid.
    """

    def __init__(self, model: str | None, base_url: str | None, api_key: str | None, settings: TeacherSettings) -> None:
        self._timeout = settings.timeout
        self._base_url = base_url or settings.base_url or os.environ.get("OPENAI_BASE_URL") or None
        if self._base_url and not _is_url(self._base_url):
            raise RecipeError(
                f"{without_secrets(self._base_url)} is not the base URL of an endpoint: give one like http://host:8000/v1"
            )
        self._api_key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
        if not (self._api_key.isascii() and self._api_key.isprintable()):
            raise RecipeError(
                "the API key (OPENAI_API_KEY) contains a character that is not valid in a key: copy it again"
            )
        model = model or settings.model
        if not model and self._base_url and not self._api_key:
            raise RecipeError(f"which model of {without_secrets(self._base_url)}? Name it with --teacher")
        model = model or (_DEFAULT_MODEL if self._api_key else EMBEDDED)
        self.is_embedded = model == EMBEDDED
        self.local_model = SMOLLM if self.is_embedded else None
        """The model that this machine serves; None: not local."""
        if is_gguf(model) and not (base_url or settings.base_url):
            self.local_model = find_model(model)
        self.model = self.local_model.name if self.local_model else model
        others = map(os.environ.get, ("OPENAI_API_KEY", "JUDGE_API_KEY", "HF_TOKEN"))
        self.redaction = Redaction([self._api_key, *list_url_secrets(self._base_url or ""), *others])
        self._client: openai.AsyncOpenAI | None = None
        self._connecting = asyncio.Lock()
        self._stop_server: Callable[[], None] | None = None

    def describe(self) -> str:
        """Return the model and its address, without secrets."""
        if self.is_embedded:
            return f"{self.model} at this machine's CPU"
        if self.local_model:
            return f"{self.local_model.describe()} on this machine"
        return f"{self.model} at {without_secrets(self._base_url or _OPENAI)}"

    @property
    def is_openai(self) -> bool:
        """Whether the endpoint is OpenAI's."""
        return not self.local_model and _is_openai(self._base_url)

    @property
    def base_url_and_key(self) -> tuple[str | None, str | None]:
        """The arguments of a Teacher for the same endpoint."""
        return self._base_url, self._api_key or None

    def base_url_or(self, base_url: str | None) -> tuple[str | None, str | None]:
        """Return the arguments `base_url` and `api_key` of a Teacher for another model; None: the base URL of this one.

        The key is JUDGE_API_KEY, or this endpoint's for this endpoint, or OPENAI_API_KEY for OpenAI, or none: a key is
        only sent to the endpoint it was given for.
        """
        own = os.environ.get("JUDGE_API_KEY")
        if base_url is None or base_url == self._base_url:
            return self._base_url, own or self._api_key or None
        return base_url, own or (os.environ.get("OPENAI_API_KEY") if _is_openai(base_url) else None) or NO_KEY

    def explain(self, error: Exception) -> str:
        """Return an error in one line without the secrets, which some servers and libraries repeat."""
        import openai

        name = "no connection" if isinstance(error, openai.APIConnectionError) else type(error).__name__
        text = str(error.__cause__ or error).replace(" ssl:default", "")
        if isinstance(error, openai.APIStatusError) and (words := read_words(error.body) or error.response.text):
            text = f"Error code: {error.status_code} - {words}"
        if isinstance(error, openai.APIStatusError) and (place := error.response.headers.get("location")):
            text = f"Error code: {error.status_code}, redirects to {without_secrets(place)}"
        return self.redaction.shorten(f"{name}: {text}")

    def hide_key(self, entry: Entry) -> Entry:
        """Return a reply without the secrets, which some servers repeat: replies are kept and published."""
        text, raw, error = map(self.redaction.hide, (entry.text, entry.raw, entry.error))
        return replace(entry, text=text, raw=raw, error=error)

    async def connect(self) -> "openai.AsyncOpenAI":
        """Return the client, always the same; raise TeacherError if OpenAI's key or the embedded server is missing."""
        import openai  # imports in a second

        from .http_client import BoundedClient

        async with self._connecting:
            if self._client is None:
                url, key = self._base_url, self._api_key
                if self.local_model:
                    url, key, self._stop_server = await asyncio.to_thread(start_embedded_server, self.local_model)
                if not key and not url:
                    raise TeacherError(
                        f"the model {self.model} needs a key: set OPENAI_API_KEY, or name another endpoint"
                    )
                url, user, query = split_url(url) if url else (url, "", {})
                self._client = openai.AsyncOpenAI(
                    base_url=url,
                    default_query=query,
                    default_headers={"Authorization": f"Basic {encode_basic(user)}"} if user else None,
                    api_key=key or NO_KEY,  # local servers need no key, but the client does
                    max_retries=0,  # retries wait for the throttle like any other request: see sender.py
                    timeout=self._timeout,
                    http_client=BoundedClient(self._timeout),
                )
        return self._client

    async def close(self) -> None:
        """Close the connections and stop the embedded server, if it runs."""
        if self._client is not None:
            await self._client.close()
        if self._stop_server is not None:
            self._stop_server()
        self._client = self._stop_server = None


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_openai(base_url: str | None) -> bool:
    return base_url is None or urlsplit(base_url).hostname == urlsplit(_OPENAI).hostname
