"""Who answers an HTTP request: routes, methods, pages for what is not there; knows no bytes of HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from .accepting import ServerHandshake
from .counts import Histogram
from .deadlines import Deadlines
from .handshake import wants_upgrade
from .http.answers import as_response, error_page
from .http.exchange import METHODS, Direct, Endpoint
from .http.request import Request
from .http.response import Response
from .http.serving import Serving
from .http.timed import TimedServing
from .routes import Place
from .seldom import seldom
from .settled import settled

if TYPE_CHECKING:
    from .server import Server

__all__ = ["HttpHost"]

_log = logging.getLogger("firefly_ws")


class HttpHost:
    """The HTTP side of one server (`firefly_ws.http.serving.Host`)."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._app = app = server._app
        self.loop = loop
        self.timeout = app.http_timeout
        self.idle = Deadlines(loop, self.timeout, _due)
        self.open_timeout = app.default_policy.open_timeout
        self.heads = Deadlines(loop, self.open_timeout, _head_due)
        self.max_header_size = app.default_policy.max_header_size
        self.max_header_count = app.default_policy.max_header_count
        # Our own page reads no body, so that a long one gets 404 and not 413.
        self._unfound: Endpoint | Direct = Endpoint(self._not_found, app.body_limit if app.not_found_hook else None)
        self._application = server._application
        if self._application is not None:
            self._unfound = self._application
        self._servings: set[Serving] = server._places(lambda one: one.peer)
        self.answers: dict[tuple[str, int], int] = {}  # how many, by method and status
        self.failures = 0
        self.durations = Histogram()
        self._kind = Serving if server._metrics is None else TimedServing
        self._ends: dict[Serving, asyncio.Future[None]] = {}

    def serving(self, transport: Any, is_secure: bool) -> Serving:
        """Take on a connection."""
        serving = self._kind(self, transport, is_secure)
        self._servings.add(serving)
        if self._server.is_draining:
            serving._close_after = True
        return serving

    def ended(self, serving: Serving) -> None:
        """A connection is gone, or no longer HTTP."""
        self._servings.discard(serving)
        end = self._ends.pop(serving, None)
        if end is not None and not end.done():
            end.set_result(None)
        self._server.look_quiet()

    def answered(self, method: str, status: int) -> None:
        """A request is answered with *status*."""
        key = (method, status)
        if key not in self.answers and method not in METHODS:
            # A client may call its method as it likes.
            key = ("other", status)
        self.answers[key] = self.answers.get(key, 0) + 1

    def took(self, seconds: float) -> None:
        """A request has been answered to its end."""
        self.durations.observe(seconds)

    def __len__(self) -> int:
        return len(self._servings)

    # --- who answers

    def find(self, request: Request, serving: Serving) -> Endpoint | Direct | Response | None:
        """The handler of a request; an answer where there is none; ``None``: it was for a websocket."""
        app = self._app
        found = app.routes.match(request.raw_path)
        method = request.method
        if found is None:
            if method == "OPTIONS" and request.target == "*":
                return Response(204, headers=[("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")])
            if self._application is not None and wants_upgrade(request):
                return self._to_handshake(request, serving)
            return self._unfound
        place, request.path_params = found
        methods = place.methods
        if (place.websocket is not None or self._application is not None) and wants_upgrade(request):
            return self._to_handshake(request, serving)
        endpoint: Endpoint | None = methods.get(method)
        if endpoint is None and method == "HEAD":
            endpoint = methods.get("GET")
        if endpoint is None:
            return self._application or _without(request, place)
        return endpoint.of(self._server) if endpoint.of_server else endpoint

    def _to_handshake(self, request: Request, serving: Serving) -> Response | None:
        """A websocket's, or one that says it is."""
        if self._server.is_draining:
            return self._server.refuse_upgrade(request)
        transport, rest = serving.release()
        self.ended(serving)
        ServerHandshake(self._server._waiting, serving.is_secure).take_over(transport, request, rest)
        return None

    async def _not_found(self, request: Request) -> Response:
        hook = self._app.not_found_hook
        if hook is None:
            return error_page(request, 404, f"nothing is at {request.path}")
        return as_response(await settled(hook(request)), 404)

    async def failed(self, request: Request, error: Exception) -> Response:
        """A handler raised: said in the log, and to the client that it is our fault and nothing more."""
        self.failures += 1
        _log.error("the handler of %s %s raised", request.method, request.path, exc_info=error)
        hook = self._app.exception_hook
        if hook is not None:
            try:
                answer = await settled(hook(request, error))
                if answer is not None:
                    return as_response(answer, 500)
            except Exception:
                _log.exception("on_exception raised for %s %s", request.method, request.path)
        return error_page(request, 500, "the server failed to answer")

    # --- the end

    @property
    def is_busy(self) -> bool:
        """Some request is not answered yet."""
        return any(serving._busy for serving in self._servings)

    def drain(self) -> None:
        """Each connection ends behind its next answer."""
        for serving in list(self._servings):
            serving._close_after = True

    def shut(self, closers: Any) -> list[asyncio.Future[Any]]:
        """Idle connections end now, the others behind their answer: what to wait for, but for those of *closers*."""
        ends: list[asyncio.Future[Any]] = []
        for serving in list(self._servings):
            if serving.task is None or serving.task not in closers:
                ends.append(self._ends.setdefault(serving, self.loop.create_future()))
            serving.shut()
        return ends

    def abort(self, closers: Any = ()) -> None:
        """End all now, but for a handler of *closers*."""
        for serving in list(self._servings):
            if serving.task is None or serving.task not in closers:
                serving.abort()

    def clear(self) -> None:
        """No timer outlives the server."""
        self.idle.clear()
        self.heads.clear()


def _without(request: Request, place: Place[Any]) -> Response:
    """Something is at the path, and not for this method."""
    allowed = set(place.methods) | {"OPTIONS"}
    if place.websocket is not None:
        if request.method in ("GET", "HEAD"):
            # Seen most behind a proxy that does not pass Upgrade on.
            seldom(
                "refused 426", logging.INFO, "refused a request from %s: 426, %s is a websocket, and no Upgrade came",
                request.remote_address, request.path,
            )  # fmt: skip
            return error_page(
                request, 426, "this is a websocket: ask with Upgrade: websocket, in HTTP/1.1",
                [("Upgrade", "websocket"), ("Connection", "Upgrade")],
            )  # fmt: skip
        allowed.add("GET")
    if "GET" in allowed:
        allowed.add("HEAD")
    allow = [("Allow", ", ".join(sorted(allowed)))]
    if request.method == "OPTIONS":
        return Response(204, headers=allow)
    return error_page(request, 405, f"method {request.method} is not allowed", allow)


def _due(serving: Hashable) -> None:
    assert isinstance(serving, Serving)
    serving.due()


def _head_due(serving: Hashable) -> None:
    assert isinstance(serving, Serving)
    serving.head_due()
