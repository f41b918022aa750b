"""The echo server for testing clients, and its page; knows neither arguments nor where it will listen."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from .http.response import Response
from .server_builder import HttpServer, http_server

if TYPE_CHECKING:
    from ._core.frames import Frame
    from .connection import WebSocketConnection
    from .http.request import Request

__all__ = ["MESSAGE_LIMIT", "echo_server"]

#: Bytes of a message. Files are sent to it, but anyone may be given its address: it must not be without a limit.
MESSAGE_LIMIT: Final = 16 * 2**20

_HEADERS: Final = {
    # Nothing but what the page itself holds, and websockets to anywhere.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def echo_server() -> HttpServer:
    """A server to be: at ``/`` a page for browsers, and a websocket that sends every message back to its sender.

    Pages of every origin may connect. Of the subprotocols that a client offers it takes the first, for a browser
    fails a connection that has taken none of those it offered.
    """
    page = files(__package__).joinpath("echo.html").read_bytes()

    def show(request: Request) -> Response:
        return Response(200, page, _HEADERS, "text/html; charset=utf-8")

    app = http_server().get("/", show)
    (
        app.websocket("/")
        .origins("*")
        .on_sub_protocol_select(_first)
        .max_message_size(MESSAGE_LIMIT)
        # A message more may be queued than the high-water mark allows.
        .max_write_buffer(2 * MESSAGE_LIMIT)
        .on_message(_echo)
    )
    return app


def _echo(frame: Frame, connection: WebSocketConnection) -> Any:
    return connection.send(frame)


def _first(offered: tuple[str, ...], request: Request) -> str | None:
    return offered[0] if offered else None
