"""Serve the rating page, on this machine alone unless told otherwise."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import RatingError
from .store import RatingStore

_FOLDER = Path(__file__).parent
# The browser itself is told to load nothing from anywhere else, and to send nothing there.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self'; form-action 'self'"
_FONT = ("ui-sans-serif", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "monospace")
# White on the theme's own blue has a contrast of 3.7; WCAG 2.2 asks for 4.5. On these it is 6.7 and 8.7.
_DARKER = {
    f"button_primary_background_fill{state}{mode}": f"*primary_{shade}"
    for state, shade in (("", 700), ("_hover", 800))
    for mode in ("", "_dark")
}
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def serve(
    store: RatingStore,
    raters: int = 2,
    *,
    host: str | None = "127.0.0.1",
    port: int | None = None,
    offer_download: bool = False,
) -> tuple[str, Callable[[], None]]:
    """Start to serve the page, in a thread.

    Args:
        store: The items and where ratings go.
        raters: How many are to rate each item.
        host: The address to listen at; None: GRADIO_SERVER_NAME, or 127.0.0.1.
        port: The port; None: GRADIO_SERVER_PORT, or the first free one from 7860 on.
        offer_download: As `make_page` takes it.

    Returns:
        The page's address, and what stops serving it.

    Raises:
        RatingError: If gradio is not installed, or the port is taken.
    """
    # Read by gradio and by what it imports: they would report each start to their makers.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    try:
        import gradio as gr
        from starlette.middleware import Middleware

        from .page import make_page
    except ImportError as error:
        raise RatingError(f"the rating page cannot start ({error}): pip install 'auto-instruct-hf[rating]'") from None
    page = make_page(store, raters, offer_download=offer_download)
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            inline=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            pwa=False,
            theme=gr.themes.Default(primary_hue="blue", font=_FONT, font_mono=_MONO).set(**_DARKER),
            css=(_FOLDER / "page.css").read_text(encoding="utf-8"),
            head=f"<script>{script}</script>",
            app_kwargs={"middleware": [Middleware(_StayHere)]},
        )
    except OSError as error:
        if port is None:
            raise RatingError(f"cannot serve the page: {error}") from None
        raise RatingError(f"port {port} is taken or not allowed: name another one, or leave out --port") from None
    return address, partial(page.close, verbose=False)


class _StayHere:
    """Send POLICY with every answer."""

    def __init__(self, app: _App) -> None:
        self.app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        async def send_with_policy(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, send_with_policy)
