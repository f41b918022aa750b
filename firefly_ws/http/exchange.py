"""What a connection that speaks HTTP asks its server, and what a request's head says about the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from firefly_ws.seldom import seldom

from .head import BadRequest
from .headers import split_list
from .request import Request
from .response import Response

if TYPE_CHECKING:
    from .serving import Serving

__all__ = [
    "METHODS", "Clock", "Cycle", "Direct", "Endpoint", "Host", "check_target", "goes_on", "late_head",
    "note_refused",
]  # fmt: skip


class Endpoint:
    """A handler, and how long a body it takes (bytes, ``None`` for any); *own*: not the server's default.

    *of_server*: it answers for one server, ``handler(server, request)``, see `of`.
    """

    __slots__ = ("handler", "max_body_size", "of_server", "own")

    def __init__(
        self, handler: Callable[..., Any], max_body_size: int | None, own: bool = False, *, of_server: bool = False
    ) -> None:
        self.handler = handler
        self.max_body_size = max_body_size
        self.own = own
        self.of_server = of_server

    def of(self, server: Any) -> Endpoint:
        """The same for *server*."""
        return Endpoint(partial(self.handler, server), self.max_body_size)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What routes may be asked by."""


class Cycle(Protocol):
    """A request under way whose handler writes the answer itself."""

    async def run(self) -> None:
        """Run the handler, in a task of its own; it may go on behind its answer."""

    def left(self) -> None:
        """The client has ended its side; it may still read."""

    def gone(self) -> None:
        """Nothing that it writes will be read."""


class Direct(Protocol):
    """In the place of an `Endpoint`: its handlers write their answers themselves, by what `Serving` offers for it."""

    max_body_size: int | None

    def begin(self, request: Request, serving: Serving) -> Cycle:
        """Take a request on."""

    def task(self, coroutine: Coroutine[Any, Any, None], /) -> asyncio.Task[None]:
        """Run it."""


class Clock(Protocol):
    """Deadlines of one length."""

    def add(self, item: Any, /) -> None: ...
    def discard(self, item: Any, /) -> None: ...


class Host(Protocol):
    """What a connection asks its server."""

    loop: asyncio.AbstractEventLoop
    #: Seconds, or None.
    timeout: float | None
    open_timeout: float | None
    max_header_size: int | None
    max_header_count: int | None
    #: How many handlers have raised.
    failures: int

    @property
    def idle(self) -> Clock:
        """Calls ``due`` of what has stood there for ``timeout``."""

    @property
    def heads(self) -> Clock:
        """Calls ``head_due`` of what has stood there for ``open_timeout``."""

    def find(self, request: Request, serving: Serving) -> Endpoint | Direct | Response | None:
        """Who answers; ``None`` where *serving*'s transport has gone to a websocket handshake."""

    def failed(self, request: Request, error: Exception) -> Awaitable[Response] | Response:
        """A handler raised."""

    def answered(self, method: str, status: int) -> None:
        """A request is answered with *status*."""

    def took(self, seconds: float) -> None:
        """A request has been answered to its end; only `TimedServing` tells."""

    def ended(self, serving: Any) -> None:
        """The connection is gone."""


def check_target(request: Request) -> None:
    """RFC 9112 §3.2: of the other forms of a target, the absolute one of http, and the asterisk of OPTIONS."""
    target = request.target
    if target == "*" and request.method == "OPTIONS":
        return
    if request.method == "CONNECT":
        # RFC 9110 §9.1, §9.3.6: its target is a host and no resource of ours, whose methods a 405 would have to list.
        raise BadRequest(501, "CONNECT is not served: this is no proxy")
    if not target.lower().startswith(("http://", "https://")) or not request.host:
        raise BadRequest(400, "the request target must be a path, or a URL of http or https")


def goes_on(request: Request, connection: str | None) -> bool:
    """Whether the client wants to go on behind this request (RFC 9112 §9.3)."""
    options = [] if connection is None else [option.lower() for option in split_list(connection)]
    if request.http_version == "1.0":
        return "keep-alive" in options and "close" not in options
    return "close" not in options


def late_head(seconds: float | None, size: int) -> BadRequest:
    """Of a request's head *size* bytes have come, and ``open_timeout`` is over."""
    message = f"the request did not arrive within open_timeout={seconds} s"
    came = f"{size} bytes of its head" if size else "nothing"
    return BadRequest(408, message, why=f"{message}, but {came}; .open_timeout(seconds) sets it")


def note_refused(what: str, peer: object, error: BadRequest) -> None:
    """Log that something of *peer*'s has been refused."""
    kind = f"refused {error.status}"
    seldom(kind, logging.INFO, "refused %s from %s: %d, %s", what, peer, error.status, error.why)
