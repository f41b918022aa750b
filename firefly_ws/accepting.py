"""One accepted connection until its upgrade, or until it turns out to speak HTTP; knows no listening socket."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ._core.protocol import Protocol
from .connection import WebSocketConnection
from .handshake import Agreement, Refused, accept, check, wants_upgrade
from .http.head import BadRequest, RequestHead
from .http.request import Request
from .http.response import Response
from .seldom import seldom
from .settled import settled

if TYPE_CHECKING:
    from .asgi.hosting import Hosted
    from .asgi.websocket import WebSocketSession
    from .options import Settings
    from .server import Server
    from .server_builder import WebSocketRoute

__all__ = ["ServerHandshake"]

_log = logging.getLogger("firefly_ws")


class ServerHandshake(asyncio.Protocol):
    """One accepted connection until its upgrade: reads the request, answers it, and hands the transport over."""

    __slots__ = ("__weakref__", "_head", "_secure", "_server", "_task", "_transport")

    def __init__(self, server: Server, secure: bool) -> None:
        self._server = server
        self._secure = secure
        self._transport: Any = None
        self._head: RequestHead | None = None
        self._task: asyncio.Task[None] | WebSocketSession | None = None  # who decides, where it takes time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection has been accepted."""
        server = self._server
        if self._secure:
            server._greeting.discard(self)
        if server._shut:
            transport.abort()  # type: ignore[attr-defined]
            return
        self._transport = transport
        policy = server._app.default_policy
        self._head = RequestHead(policy.max_header_size, policy.max_header_count)
        server._waiting.add(self)
        server._handshaking.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the request, or behind it."""
        head = self._head
        if head is None:
            return
        if self._task is not None:
            # on_upgrade has not decided yet, and what comes meanwhile belongs to the websocket.
            head.rest += data
            self._transport.pause_reading()
            return
        try:
            request = head.feed(data)
        except BadRequest as error:
            self._refuse(error.response, error.message)
            return
        if request is not None:
            self._decide(request)

    def _decide(self, request: Request) -> None:
        server = self._server
        app = server._app
        request.is_secure = self._secure
        request.remote_address = self._transport.get_extra_info("peername")
        found = app.routes.match(request.raw_path)
        if found is None or (route := found[0].websocket) is None:
            if server._application is not None and wants_upgrade(request):
                self._ask_application(server._application, request)
            elif found is None and app.not_found_hook is None and wants_upgrade(request):
                self._refuse(Response(404, f"no websocket at {request.path}\n"), f"nothing is at {request.path!r}")
            else:
                self._serve(request)
            return
        request.path_params = found[1]
        hook = app.upgrade_hook
        if hook is None:
            self._upgrade(request, route)
            return
        try:
            # What is no upgrade, or not allowed to be one, is no question for the user.
            check(request, self._origins(route))
        except Refused as refusal:
            self._no_upgrade(request, refusal)
            return
        try:
            answer = hook(request)
        except Exception:
            _log.exception("on_upgrade raised for %s", request.path)
            answer = Response(500, "Internal Server Error\n")
        if answer is None or isinstance(answer, Response):
            self._answered(answer, request, route)
        else:
            self._task = server._loop.create_task(self._ask(answer, request, route))

    def _origins(self, route: WebSocketRoute) -> tuple[str, ...] | None:
        return route.allowed_origins or self._server._app.allowed_origins

    async def _ask(self, asked: Any, request: Request, route: WebSocketRoute) -> None:
        """Have on_upgrade decide, which takes its time."""
        try:
            answer = await settled(asked)
            if answer is not None and not isinstance(answer, Response):
                raise TypeError(f"on_upgrade returns None or a Response, not {answer!r}")
        except Exception:
            _log.exception("on_upgrade raised for %s", request.path)
            answer = Response(500, "Internal Server Error\n")
        if self._head is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._answered(answer, request, route)

    def _answered(self, answer: Response | None, request: Request, route: WebSocketRoute) -> None:
        """on_upgrade has decided."""
        if self._head is None or self._transport.is_closing():
            return
        if answer is None:
            self._upgrade(request, route)
        else:
            self._refuse(answer, "on_upgrade refused")

    def _upgrade(self, request: Request, route: WebSocketRoute) -> None:
        try:
            settings = route.current()
            agreement = accept(
                request,
                extensions=settings.extensions,
                sub_protocols=settings.sub_protocols,
                select_sub_protocol=route.sub_protocol_hook,
                select_extensions=route.extension_hook,
                origins=self._origins(route),
            )
            connection = self._connection(request, settings, agreement)
        except Refused as refusal:
            self._no_upgrade(request, refusal)
            return
        except Exception:
            _log.exception("the handshake for %s failed in a selector, an extension or an option", request.path)
            self._refuse(Response(500, "Internal Server Error\n"), "a selector, an extension or an option raised")
            return
        self._open(connection, agreement)

    def _connection(self, request: Request, settings: Settings, agreement: Agreement) -> WebSocketConnection:
        server = self._server
        return WebSocketConnection(
            server,
            settings.limits,
            settings.callbacks,
            server._steps,
            server._turn,
            agreement,
            request,
            is_client=False,
            is_secure=self._secure,
            addresses=None,
        )

    def _open(self, connection: WebSocketConnection, agreement: Agreement) -> None:
        server, transport, head = self._server, self._transport, self._head
        assert head is not None
        self._leave()
        transport.write(agreement.head)
        agreement.head = b""  # the connection keeps the agreement, not the answer's bytes
        server._connections.add(connection)
        Protocol(connection).open(transport, head.rest)

    # --- an ASGI application's websocket (`firefly_ws.asgi.hosting.Handshake`)

    def _ask_application(self, application: Hosted, request: Request) -> None:
        """Have the application decide."""
        try:
            self._task = application.websocket(self, request)
        except Refused as refusal:
            self._refuse(refusal.response, refusal.reason)

    def open(self, request: Request, settings: Settings, agreement: Agreement) -> WebSocketConnection:
        """It accepts."""
        connection = self._connection(request, settings, agreement)
        self._transport.resume_reading()
        self._open(connection, agreement)
        return connection

    def answer(self, status: int, data: bytes, why: str) -> None:
        """It does not: *data* is the answer."""
        self._transport.resume_reading()
        self._write_refusal(status, data, why)

    @property
    def local_address(self) -> Any:
        """Our end's address."""
        return self._transport.get_extra_info("sockname")

    def _no_upgrade(self, request: Request, refusal: Refused) -> None:
        """A request that is no upgrade as it should be; it may be none at all, and there may be HTTP at its path."""
        found = self._server._app.routes.match(request.raw_path)
        if wants_upgrade(request) or found is None or not found[0].methods:
            self._refuse(refusal.response, refusal.reason)
        else:
            self._serve(request)

    def _serve(self, request: Request) -> None:
        """HTTP: from now on another's connection."""
        transport, head = self._transport, self._head
        assert head is not None
        self._leave()
        serving = self._server._http.serving(transport, self._secure)
        transport.set_protocol(serving)
        serving.begin(request, head.rest)

    def take_over(self, transport: Any, request: Request, rest: bytes) -> None:
        """Go on with a connection that has spoken HTTP until *request*, which may be an upgrade."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if self._head is not None:
            self._head.rest = rest
            self._decide(request)

    def _refuse(self, response: Response, why: str) -> None:
        self._write_refusal(response.status, response.encode(), why)

    def _write_refusal(self, status: int, answer: bytes, why: str) -> None:
        self._server.count_refused(status)
        seldom(
            f"refused {status}", logging.INFO, "refused a request from %s: %d, %s",
            self._transport.get_extra_info("peername"), status, why,
        )  # fmt: skip
        self._leave()
        self._transport.write(answer)
        # What the client still sends would turn our answer into a reset: end our side, and read on for a moment.
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._server._loop.call_later(1, self._transport.abort)
        else:
            self._transport.close()

    @property
    def is_silent(self) -> bool:
        """Nothing of a request has come."""
        return self._task is None and self._head is not None and self._head.is_empty

    def _leave(self) -> None:
        self._head = None
        self._server._waiting.discard(self)
        self._server._handshaking.discard(self)

    def eof_received(self) -> bool:
        """The client went away."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone before an upgrade."""
        if self._head is not None:
            self._server._abandoned += 1
        self._leave()
        if self._task is not None:
            self._task.cancel()

    def too_slow(self) -> None:
        """``open_timeout`` has passed."""
        if self._transport is not None and self._head is not None:
            if self._task is not None:
                self._task.cancel()
            self._refuse(Response(408, "the request did not arrive within open_timeout\n"), "open_timeout")

    def abort(self) -> None:
        """The server closes."""
        self._leave()
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()
