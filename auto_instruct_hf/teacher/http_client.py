"""The HTTP client: a limit on the time and the size of a whole response, and one kind of error for all broken ones.

Imported with the first request: `openai` takes a second.
"""

import asyncio
import json
from typing import Any

import aiohttp
import httpx2
import openai

from .exchange import Body
from .server_words import find_error

_PATH = "/chat/completions"
_OF_THE_WIRE = ("content-encoding", "content-length", "transfer-encoding")
MAX_BYTES = 32 * 2**20
"""Of a response, decompressed: a reply of a million tokens has a tenth of it."""


class UnreadableError(openai.OpenAIError):
    """A response is larger than MAX_BYTES, or compressed in a wrong way: it may be paid, so it is not asked again."""


class BoundedClient(openai.DefaultAioHttpClient):
    """A client on aiohttp, which takes less CPU per request than httpx (benchmarks/teacher.py).

    `seconds` is the limit of a whole request: the timeouts of httpx are for each read, and a server that sends a byte
    at a time would never meet them. Redirects are not followed: a request has texts of the user, and is paid. Files of
    batches have no such limits.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request; read the response to a chat completion request within the limits.

        Raise an error of httpx if no whole HTTP response comes in time, and UnreadableError.
        """
        if stream or not request.url.path.endswith(_PATH):  # files of batches are large
            return await super().send(request, stream=stream, **options)
        try:
            async with asyncio.timeout(self._seconds):
                response = await super().send(request, stream=True, **{**options, "follow_redirects": False})
                try:
                    content = await _read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no whole response within {self._seconds:g} seconds") from None
        except aiohttp.ClientError as error:  # those that the client of openai does not translate
            raise httpx2.RemoteProtocolError(str(error)) from error
        headers = [(name, value) for name, value in response.headers.items() if name.lower() not in _OF_THE_WIRE]
        return httpx2.Response(
            response.status_code, headers=headers, content=content, request=request, extensions=response.extensions
        )


async def _read(response: httpx2.Response) -> bytes:
    content = bytearray()
    try:
        async for chunk in response.aiter_bytes():  # decompressed in small steps
            content += chunk
            if len(content) > MAX_BYTES:
                raise UnreadableError(f"a response of over {MAX_BYTES >> 20} MB")
    except httpx2.DecodingError as error:
        raise UnreadableError(f"not compressed as its header says ({error})") from None
    return bytes(content)


async def post(client: openai.AsyncOpenAI, body: Body) -> tuple[httpx2.Response, object]:
    """Return the response to a chat completion request, and its JSON; None if it is not JSON.

    Raise the client's error for a status other than 2xx, also for one that is stated inside an answer with status 200.
    """
    # The client's method for endpoints it does not know: it returns the response unparsed.
    response = await client.post(_PATH, cast_to=httpx2.Response, body=body)
    try:
        payload = json.loads(response.content)
    except (ValueError, RecursionError):
        return response, None
    if error := find_error(payload):
        # As if the server had sent this status: the client knows its own class of error for each.
        raise client._make_status_error_from_response(
            httpx2.Response(
                error[0] or 502, headers=response.headers, content=response.content, request=response.request
            )
        )
    return response, payload
