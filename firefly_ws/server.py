"""Accepting connections: sockets, the upgrade of each, and the end of all. Meets sockets; knows no frames."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as _ssl
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeAlias

from ._core.frames import close_payload
from ._core.outbox import Turn
from ._core.poll import Poller, available
from ._core.protocol import Protocol
from ._core.steps import Steps
from ._core.tcp import Listener
from .codes import CloseReason
from .connection import WebSocketConnection
from .deadlines import Deadlines
from .errors import WebSocketConnectionException
from .handshake import Refused, accept, check
from .http.head import BadRequest, RequestHead
from .http.request import Request
from .http.response import Response
from .per_loop import runtime_of
from .settled import settled
from .sockets import bound, bound_unix, keep_alive, no_delay, remove_unix
from .turns import PerLoop, turn_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from .server_builder import HttpServer, WebSocketRoute

__all__ = ["Server"]

_log = logging.getLogger("firefly_ws")

Listening: TypeAlias = "asyncio.AbstractServer | Listener"

#: The `Poller` of a loop: all its plain connections.
poller_of = PerLoop(Poller)


class Server:
    """A listening server and its connections; from ``listen`` inside a running loop.

    ``await server`` resolves to itself once bound and raises the bind error;
    ``async with server`` closes it at the end.
    """

    def __init__(self, app: HttpServer, loop: asyncio.AbstractEventLoop, what: str) -> None:
        self._app = app
        self._loop = loop
        self._runtime = runtime_of(loop)
        self._steps = Steps(loop)
        self._turn: Turn = turn_of(loop)
        self._what = what
        self._servers: list[Listening] = []
        self._handshaking = Deadlines(loop, app.default_policy.open_timeout, _too_slow)
        self._waiting: set[ServerHandshake] = set()
        self._connections: set[WebSocketConnection] = set()
        self._starting: asyncio.Task[None] | None = None
        self._awaited = False
        self._closing: asyncio.Task[None] | None = None
        self._closers: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()  # told of the end, so not cancelled
        self._quiet: asyncio.Future[None] | None = None
        self._closed = loop.create_future()
        self._opened = 0
        self._refused = 0
        self._addresses: tuple[Any, ...] = ()
        self._remove_file: Callable[[], None] = _nothing

    # --- beginning

    def _start(self, binding: Callable[[Server], Any]) -> Server:
        """Begin to bind; for the builder."""
        self._runtime.track(self)
        self._starting = self._loop.create_task(self._bind(binding), name=f"firefly_ws listen {self._what}")
        self._runtime.begin_listen(self._starting)
        self._starting.add_done_callback(self._bound)
        return self

    async def _bind(self, binding: Callable[[Server], Any]) -> None:
        try:
            self._servers = await binding(self)
        except OSError as error:
            failed = WebSocketConnectionException(f"cannot listen on {self._what}: {error.strerror or error}")
            failed.errno = error.errno
            raise failed from error
        self._addresses = tuple(
            sock.getsockname() for server in self._servers for sock in getattr(server, "sockets", ())
        )

    def _bound(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._finish()
            error = None if task.cancelled() else task.exception()
            if error is not None and not self._awaited:
                self._runtime.report(error, f"listening on {self._what}", fatal=True)

    def __await__(self) -> Generator[Any, None, Server]:
        self._awaited = True
        if self._starting is not None:
            yield from asyncio.shield(self._starting).__await__()
        return self

    async def __aenter__(self) -> Server:
        return await self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self.close()

    # --- facts

    @property
    def addresses(self) -> tuple[Any, ...]:
        """What it listens on: (host, port, …) for TCP, a path for a unix socket."""
        return self._addresses

    @property
    def port(self) -> int | None:
        """The TCP port, None for a unix socket or before it is bound."""
        for address in self._addresses:
            if isinstance(address, tuple):
                return int(address[1])
        return None

    @property
    def connections(self) -> frozenset[WebSocketConnection]:
        """The connections that are open or closing (a copy: it may be walked while they come and go)."""
        return frozenset(connection for connection in self._connections if not connection.is_closed)

    @property
    def is_listening(self) -> bool:
        """Bound, and accepting."""
        return bool(self._servers) and self._closing is None

    def stats(self) -> dict[str, int]:
        """Connections now and in all, handshakes under way and refused."""
        return {
            "connections": len(self.connections),
            "opened": self._opened,
            "handshaking": len(self._waiting),
            "refused": self._refused,
        }

    @property
    def threadsafe(self) -> Any:
        """The same methods for other threads; each returns a handle with ``.result(timeout)``."""
        from .threads import ThreadSafeServer

        return ThreadSafeServer(self)

    def __repr__(self) -> str:
        state = "listening" if self.is_listening else "closed" if self._closed.done() else "not listening"
        return f"<Server {self._what} {state} {len(self.connections)} connections>"

    def unregister(self, path: str) -> None:
        """Free a route's path: new upgrades there get 404, open connections stay. ``KeyError`` if there is none."""
        self._app.routes.remove(path)

    # --- the end

    def close(self, code: int | CloseReason = 1001, reason: str = "", grace: float | None = 10) -> asyncio.Future[None]:
        """Stop accepting, close every connection with *code*, and after *grace* seconds abort the rest.

        What it returns may be awaited and need not be. Raises ``ValueError`` for a code that may not be sent.
        """
        if isinstance(code, CloseReason):
            code, reason = code
        close_payload(code, reason)
        if grace is not None and (isinstance(grace, bool) or not isinstance(grace, (int, float))):
            raise TypeError(f"grace={grace!r} must be a number of seconds, or None to wait for ever")
        if grace is not None and not grace >= 0:
            raise ValueError(f"grace={grace!r} must be at least 0 seconds, or None to wait for ever")
        if (closer := asyncio.current_task(self._loop)) is not None:
            self._closers.add(closer)
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(code, reason, grace))
        return asyncio.shield(self._closed)

    async def wait_closed(self) -> None:
        """Return once it has closed and all its connections have ended."""
        await asyncio.shield(self._closed)

    async def close_gracefully(self) -> None:
        """Close with 1001; for the runtime."""
        await self.close()

    def abort(self) -> None:
        """End everything now."""
        if self._starting is not None:
            self._starting.cancel()
        for server in self._servers:
            server.close()
        for handshake in list(self._waiting):
            handshake.abort()
        for connection in list(self._connections):
            connection.terminate()
            connection._cancel_callbacks()
        self._finish()

    async def _close(self, code: int, reason: str, grace: float | None) -> None:
        deadline = None if grace is None else self._loop.time() + grace
        if self._starting is not None and not self._starting.done():
            await asyncio.wait({self._starting})
        for server in self._servers:
            server.close()
        for handshake in list(self._waiting):
            handshake.abort()
        ends = [asyncio.ensure_future(connection.close(code, reason)) for connection in list(self._connections)]
        if ends:
            _, late = await asyncio.wait(ends, timeout=grace)
            if late:
                for connection in self.connections:
                    connection.terminate()
                await asyncio.wait(late)
        if self._connections:
            # Callbacks may run on; what holds the loop for them ends with the last one, or with the grace.
            self._quiet = self._runtime.hold(self._loop.create_future())
            if deadline is not None:
                self._loop.call_at(deadline, self._cancel_callbacks)
        self._finish()

    def _cancel_callbacks(self) -> None:
        for connection in list(self._connections):
            connection._cancel_callbacks(self._closers)
        self._end_quiet()

    def _end_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def _finish(self) -> None:
        self._servers = []
        self._remove_file()
        self._handshaking.clear()
        if not self._closed.done():
            self._closed.set_result(None)
        self._runtime.untrack(self)

    def ended(self, connection: WebSocketConnection) -> None:
        """*connection*'s last callback has ended; from the connection."""
        self._connections.discard(connection)
        if not self._connections:
            self._end_quiet()


def _nothing() -> None:
    """No file to remove."""


def _too_slow(handshake: Hashable) -> None:
    assert isinstance(handshake, ServerHandshake)
    handshake.too_slow()


class ServerHandshake(asyncio.Protocol):
    """One accepted connection until its upgrade: reads the request, answers it, and hands the transport over."""

    __slots__ = ("_head", "_secure", "_server", "_task", "_transport")

    def __init__(self, server: Server, secure: bool) -> None:
        self._server = server
        self._secure = secure
        self._transport: Any = None
        self._head: RequestHead | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection has been accepted."""
        server = self._server
        if server._closing is not None:
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
        if found is None:
            self._refuse(Response(404, f"no websocket at {request.path}\n"), f"nothing is at {request.path!r}")
            return
        route, request.path_params = found
        hook = app.upgrade_hook
        if hook is None:
            self._upgrade(request, route)
            return
        try:
            # What is no upgrade, or not allowed to be one, is no question for the user.
            check(request, self._origins(route))
        except Refused as refusal:
            self._refuse(refusal.response, refusal.reason)
        else:
            self._task = server._loop.create_task(self._ask(hook, request, route))

    def _origins(self, route: WebSocketRoute) -> tuple[str, ...] | None:
        return route.allowed_origins or self._server._app.allowed_origins

    async def _ask(self, hook: Callable[[Request], Any], request: Request, route: WebSocketRoute) -> None:
        """Have on_upgrade decide."""
        try:
            answer = await settled(hook(request))
            if answer is not None and not isinstance(answer, Response):
                raise TypeError(f"on_upgrade returns None or a Response, not {answer!r}")
        except Exception:
            _log.exception("on_upgrade raised for %s", request.path)
            answer = Response(500, "Internal Server Error\n")
        if self._head is None or self._transport.is_closing():
            return
        self._transport.resume_reading()
        if answer is None:
            self._upgrade(request, route)
        else:
            self._refuse(answer, "on_upgrade refused")

    def _upgrade(self, request: Request, route: WebSocketRoute) -> None:
        server, transport, head = self._server, self._transport, self._head
        assert head is not None
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
            connection = WebSocketConnection(
                server,
                settings.limits,
                settings.callbacks,
                server._steps,
                server._turn,
                agreement,
                request,
                is_client=False,
                is_secure=self._secure,
                addresses=(request.remote_address, _sockname(transport)),
            )
        except Refused as refusal:
            self._refuse(refusal.response, refusal.reason)
            return
        except Exception:
            _log.exception("the handshake for %s failed in a selector, an extension or an option", request.path)
            self._refuse(Response(500, "Internal Server Error\n"), "a selector, an extension or an option raised")
            return
        self._leave()
        transport.write(agreement.head)
        agreement.head = b""  # the connection keeps the agreement, not the answer's bytes
        server._connections.add(connection)
        server._opened += 1
        Protocol(connection).open(transport, head.rest)

    def _refuse(self, response: Response, why: str) -> None:
        self._server._refused += 1
        _log.info("refused a request from %s: %d, %s", self._transport.get_extra_info("peername"), response.status, why)
        self._leave()
        self._transport.write(response.encode())
        # What the client still sends would turn our answer into a reset: end our side, and read on for a moment.
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._server._loop.call_later(1, self._transport.abort)
        else:
            self._transport.close()

    def _leave(self) -> None:
        self._head = None
        self._server._waiting.discard(self)
        self._server._handshaking.discard(self)

    def eof_received(self) -> bool:
        """The client went away."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone before an upgrade."""
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


def _sockname(transport: Any) -> Callable[[], Any]:
    """Asked for rarely, and a system call: made when asked."""
    return lambda: transport.get_extra_info("sockname")


async def bind_tcp(
    server: Server, host: str | None, port: int, ssl: _ssl.SSLContext | None, backlog: int, reuse_port: bool | None
) -> list[Listening]:
    """Listen on every address of *host*; with port 0 all get the port that the first one got."""
    sockets = await bound(server._loop, host, port, reuse_port)
    serving: list[Listening] = []
    try:
        for sock in sockets:
            serving.append(await serve_socket(server, sock, ssl, backlog))
    except BaseException:
        for one in serving:
            one.close()
        for sock in sockets[len(serving) :]:
            sock.close()
        raise
    return serving


async def serve_socket(
    server: Server, sock: socket.socket, ssl: _ssl.SSLContext | None, backlog: int
) -> Listening:
    """Accept on a bound socket."""
    keep_alive(sock)
    no_delay(sock)
    if ssl is None and available():
        return Listener(poller_of(server._loop), sock, lambda: ServerHandshake(server, False), backlog)
    return await server._loop.create_server(
        lambda: ServerHandshake(server, ssl is not None),
        sock=sock,
        backlog=backlog,
        start_serving=True,
        **_tls(server, ssl),
    )


async def bind_unix(
    server: Server, path: str, ssl: _ssl.SSLContext | None, backlog: int
) -> list[Listening]:
    """Listen on a unix socket; its file ends with the server."""
    sock = bound_unix(path)
    try:
        server._remove_file = remove_unix(sock)
        if ssl is None and available():
            return [await serve_socket(server, sock, ssl, backlog)]
        return [
            await server._loop.create_unix_server(
                lambda: ServerHandshake(server, ssl is not None), sock=sock, backlog=backlog, **_tls(server, ssl)
            )
        ]
    except BaseException:
        sock.close()
        raise


def _tls(server: Server, context: _ssl.SSLContext | None) -> dict[str, Any]:
    """Options for the loop: its own limit for TLS handshakes is a minute."""
    if context is None:
        return {}
    seconds = server._app.default_policy.open_timeout
    return {"ssl": context, "ssl_handshake_timeout": None if seconds is None else max(seconds, 0.001)}
