"""One accepted connection until its upgrade, or until it turns out to speak HTTP; knows no listening socket."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from .arrival import Arrival
from .handshake import Agreement, Refused, accept, check, wants_upgrade
from .http.exchange import late_head
from .http.head import BadRequest, RequestHead
from .http.request import Request
from .http.response import Response
from .seldom import seldom
from .selecting import Selection, Undecided
from .settled import settled

if TYPE_CHECKING:
    from .asgi.hosting import Hosted
    from .connection import WebSocketConnection
    from .options import Settings
    from .server_builder import WebSocketRoute

__all__ = ["ServerHandshake"]

_log = logging.getLogger("firefly_ws")


class ServerHandshake(Arrival, asyncio.Protocol):
    """One accepted connection until its upgrade: reads the request, answers it, and hands the transport over."""

    __slots__ = ()

    def _read(self, data: bytes) -> None:
        if not self._here:
            return
        if self._task is not None:
            # on_upgrade, or a selector, has not decided yet, and what comes meanwhile belongs to the websocket.
            self._rest += data
            self._transport.pause_reading()
            return
        head = self._head
        if head is None:
            policy = self._server._app.default_policy
            head = self._head = RequestHead(policy.max_header_size, policy.max_header_count)
        try:
            request = head.feed(data)
        except BadRequest as error:
            self._refuse(error.response, error.why)
            return
        if request is not None:
            self._rest = head.rest
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
                why = f"nothing is at {request.path!r}; .websocket(path) serves one"
                self._refuse(Response(404, f"no websocket at {request.path}\n"), why)
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
        except Exception as error:
            self._hook_raised(request, error)
        else:
            self._settle(answer, request, route)

    def _settle(self, answer: Any, request: Request, route: WebSocketRoute) -> None:
        """What on_upgrade has returned: an answer, or something to wait for."""
        if answer is None or isinstance(answer, Response):
            self._answered(answer, request, route)
        else:
            self._task = self._server._loop.create_task(self._ask(answer, request, route))

    def _hook_raised(self, request: Request, error: Exception) -> None:
        _log.error("on_upgrade raised for %s", request.path, exc_info=error)
        if self._here and not self._transport.is_closing():
            self._refuse(Response(500, "Internal Server Error\n"), "on_upgrade raised")

    def _origins(self, route: WebSocketRoute) -> tuple[str, ...] | None:
        return route.allowed_origins or self._server._app.allowed_origins

    async def _ask(self, asked: Any, request: Request, route: WebSocketRoute) -> None:
        """Have on_upgrade decide, which takes its time."""
        try:
            answer = await settled(asked)
            if answer is not None and not isinstance(answer, Response):
                raise TypeError(f"on_upgrade returns None or a Response, not {answer!r}")
        except Exception as error:
            self._hook_raised(request, error)
            return
        if self._here and not self._transport.is_closing():
            self._transport.resume_reading()
            self._answered(answer, request, route)

    def _answered(self, answer: Response | None, request: Request, route: WebSocketRoute) -> None:
        """on_upgrade has decided."""
        if not self._here or self._transport.is_closing():
            return
        if answer is None:
            self._upgrade(request, route)
        else:
            self._refuse(answer, "on_upgrade refused")

    def _upgrade(self, request: Request, route: WebSocketRoute, selection: Selection | None = None) -> None:
        selection = selection or Selection()
        try:
            settings = route.current()
            agreement = accept(
                request,
                extensions=settings.extensions,
                sub_protocols=settings.sub_protocols,
                select_sub_protocol=selection.of("sub_protocol", route.sub_protocol_hook),
                select_extensions=selection.of("extensions", route.extension_hook),
                origins=self._origins(route),
            )
            self._open(request, settings, agreement.sub_protocol, agreement.extensions, agreement.head)
        except Undecided:
            self._task = self._server._loop.create_task(self._select(request, route, selection))
        except Exception as error:
            if not self._here:
                raise
            self._failed(request, error)

    async def _select(self, request: Request, route: WebSocketRoute, selection: Selection) -> None:
        """Have a selector choose, which takes its time."""
        try:
            await selection.wait()
        except Exception as error:
            self._failed(request, error)
            return
        if self._here and not self._transport.is_closing():
            self._transport.resume_reading()
            self._upgrade(request, route, selection)

    def _failed(self, request: Request, error: Exception) -> None:
        """The upgrade came to nothing."""
        if isinstance(error, Refused):
            self._no_upgrade(request, error)
            return
        where = "the handshake for %s failed in a selector, an extension or an option"
        _log.error(where, request.path, exc_info=error)
        if not self._here or self._transport.is_closing():
            return
        self._refuse(Response(500, "Internal Server Error\n"), "a selector, an extension or an option raised")

    # --- an ASGI application's websocket (`firefly_ws.asgi.hosting.Handshake`)

    def _ask_application(self, application: Hosted, request: Request) -> None:
        """Have the application decide."""
        try:
            self._task = application.websocket(self, request)
        except Refused as refusal:
            self._refuse(refusal.response, refusal.reason)

    def open(self, request: Request, settings: Settings, agreement: Agreement) -> WebSocketConnection:
        """It accepts."""
        self._transport.resume_reading()
        return self._open(request, settings, agreement.sub_protocol, agreement.extensions, agreement.head)

    def answer(self, status: int, data: bytes, why: str) -> None:
        """It does not: *data* is the answer."""
        self._transport.resume_reading()
        self._write_refusal(status, data, why)

    @property
    def local_address(self) -> Any:
        """Our end's address."""
        return self._transport.get_extra_info("sockname")

    def _no_upgrade(self, request: Request, refusal: Refused) -> None:
        """A request that is no upgrade as it should be; one that is none at all is HTTP's to answer."""
        if wants_upgrade(request):
            self._refuse(refusal.response, refusal.reason)
        else:
            self._serve(request)

    def _serve(self, request: Request) -> None:
        """HTTP: from now on another's connection."""
        transport = self._transport
        self._leave()
        serving = self._server._http.serving(transport, self._secure)
        transport.set_protocol(serving)
        serving.begin(request, self._rest)

    def take_over(self, transport: Any, request: Request, rest: bytes) -> None:
        """Go on with a connection that has spoken HTTP until *request*, which may be an upgrade."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if self._here:
            self._rest = rest
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
        else:
            self._transport.close()
        # TLS has its own word of farewell, which a client may owe us for as long: the event loops wait 30 s for it.
        self._farewell = self._server._loop.call_later(1, self._transport.abort)

    @property
    def is_silent(self) -> bool:
        """Nothing of a request has come."""
        return self._here and self._task is None and self._head is None

    def eof_received(self) -> bool:
        """The client went away."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone before an upgrade."""
        if self._farewell is not None:
            self._farewell.cancel()
        if self._here:
            self._server._abandoned += 1
        self._leave()
        if self._task is not None:
            self._task.cancel()

    def too_slow(self) -> None:
        """``open_timeout`` has passed."""
        if not self._here:
            return
        seconds = self._server._http.open_timeout
        if self._task is None:
            late = late_head(seconds, 0 if self._head is None else self._head.size)
        else:
            self._task.cancel()
            sets = ".open_timeout(seconds) sets it"
            message = f"nothing was decided within open_timeout={seconds} s"
            late = BadRequest(408, message, why=f"{message}, by on_upgrade, a selector or the application; {sets}")
        self._refuse(late.response, late.why)

    def abort(self) -> None:
        """The server closes."""
        self._leave()
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()
