"""Python runs this at the start of a child process of a test: no name of the network is resolved there either."""

import socket
from typing import Any

_resolve = socket.getaddrinfo


def _only_loopback(host: Any, *args: Any, **kwargs: Any) -> Any:
    if host not in ("127.0.0.1", "localhost", "::1", None, b"127.0.0.1", b"localhost"):
        raise socket.gaierror(socket.EAI_NONAME, f"a test asked for {host!r}")
    return _resolve(host, *args, **kwargs)


socket.getaddrinfo = _only_loopback
