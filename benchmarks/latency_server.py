"""A stub of an OpenAI-compatible endpoint that answers after a fixed time, in a process of its own.

It reads just enough of HTTP to know where a request ends and validates nothing: so it takes a small part of the CPU
that any client takes, and what is measured is the client. Every POST gets the same chat completion; GET /stats tells
the requests, the connections and the CPU until then.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

CONTENT = {"output": "Water boils at a lower temperature on a mountain, because the air presses on it less. " * 3}
_COMPLETION = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "created": 1,
    "model": "stub",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": json.dumps(CONTENT), "refusal": None},
        }
    ],
    "usage": {
        "prompt_tokens": 400,
        "completion_tokens": 60,
        "total_tokens": 460,
        "prompt_tokens_details": {"cached_tokens": 256},
    },
}


def _response(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


_ANSWER = _response(_COMPLETION)


class _Connection(asyncio.Protocol):
    requests = connections = 0

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = b""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _Connection.connections += 1

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank or len(body) < _content_length(head):
            return
        self._received = b""  # no client here sends a second request before the answer to the first
        if head.startswith(b"GET"):
            self._answer(_response(_stats()))
        else:
            _Connection.requests += 1
            self._loop.call_later(self._latency, self._answer, _ANSWER)

    def _answer(self, response: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(response)


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


def _stats() -> dict[str, float]:
    return {
        "requests": _Connection.requests,
        "connections": _Connection.connections,
        "cpu": time.process_time(),
    }


@contextmanager
def serve(latency: float) -> Iterator[str]:
    """Run the stub in a child process.

    Args:
        latency: Seconds from the end of a request to the answer.

    Yields:
        Its base URL.
    """
    child = subprocess.Popen([sys.executable, __file__, str(latency)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}/v1"
    finally:
        child.kill()
        child.wait()


def stats(base_url: str) -> dict[str, float]:
    """Return what a running stub has counted: requests, connections, seconds of CPU."""
    connection = HTTPConnection(urlsplit(base_url).netloc)
    with closing(connection):
        connection.request("GET", "/stats")
        found: dict[str, float] = json.load(connection.getresponse())
    return found


async def _main(latency: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(latency), sock=listener, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
