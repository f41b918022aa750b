"""A listening server: its sockets, what came of each connection, and the end of all; knows no requests."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as _ssl
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ._core.listening import Listener
from ._core.outbox import Turn
from ._core.poll import Poller, available
from ._core.steps import Steps
from ._core.totals import Accounts
from .accepting import ServerHandshake
from .admission import Admission, Gate
from .answering import HttpHost
from .arrival import Entrance, Lobby
from .blocking import watch_blocking
from .codes import CloseReason
from .connection import WebSocketConnection
from .counts import Counts, Histogram, ServerStats
from .ending import Ending, HowToClose, check_patience
from .errors import WebSocketConnectionException
from .greeting import Greetings
from .http.answers import error_page
from .per_loop import runtime_of
from .seldom import seldom
from .sockets import bound, bound_unix, keep_alive, no_delay, remove_unix
from .turns import PerLoop, turn_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from .asgi.hosting import Hosted
    from .http.request import Request
    from .http.response import Response
    from .server_builder import HttpServer

__all__ = ["Server"]

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
        self._thread = threading.get_ident()
        self._steps = Steps(loop)
        self._turn: Turn = turn_of(loop)
        self._what = what
        self._servers: list[Listening] = []
        self._admission = _admission(self, app, loop)
        self._greeting: weakref.WeakSet[asyncio.Protocol] = weakref.WeakSet()  # in TLS's handshake
        self._greetings: list[Greetings] = []
        self._connections: set[WebSocketConnection] = self._places(lambda one: one.request.remote_address)
        self._metrics = app.metrics_of
        self._durations = Histogram()  # of handshakes
        self._took = None if self._metrics is None else self._durations.observe
        self._waiting = Lobby(self)
        mounted = app.mounted
        self._application: Hosted | None = None if mounted is None else mounted.on(loop, self.look_quiet)
        self._http = HttpHost(self, loop)
        self._starting: asyncio.Task[None] | None = None
        self._awaited = False
        self._shut = False
        self._closed = loop.create_future()
        self._ending = Ending(self)
        self._accounts = Accounts()
        self._refused: dict[int, int] = {}  # by status
        self._abandoned = 0
        self._ungreeted = 0  # with TLS
        self._pings = Histogram()
        self._addresses: tuple[Any, ...] = ()
        self._remove_file: Callable[[], None] = _nothing
        self._unwatch: Callable[[], None] = _nothing
        if self._metrics is not None:
            self._metrics.began(self, loop)

    def _places(self, peer: Callable[[Any], Any]) -> set[Any]:
        """A set of what connects; *peer* tells a member's address, where that is counted."""
        return set() if self._admission is None else self._admission.places(peer)

    # --- beginning

    def _start(self, binding: Callable[[Server], Any]) -> Server:
        """Begin to bind; for the builder."""
        self._unwatch = watch_blocking(self._loop, self._app.slowest_callback)
        self._runtime.track(self)
        self._starting = self._loop.create_task(self._bind(binding), name=f"firefly_ws listen {self._what}")
        self._runtime.begin_listen(self._starting)
        self._starting.add_done_callback(self._bound)
        return self

    async def _bind(self, binding: Callable[[Server], Any]) -> None:
        application = self._application
        if application is not None:
            self._runtime.inside_listen()
            await application.startup(self._what)
        try:
            self._servers = await binding(self)
        except BaseException as error:
            if application is not None:
                await application.shutdown(None)
            if not isinstance(error, OSError):
                raise
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
        elif self._ending.began:
            self._ending.stop_listening()

    def __await__(self) -> Generator[Any, None, Self]:
        self._awaited = True
        if self._starting is not None:
            yield from asyncio.shield(self._starting).__await__()
        return self

    async def __aenter__(self) -> Self:
        try:
            return await self
        except asyncio.CancelledError:
            self.abort()  # nobody will leave it
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self.close_gracefully()

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
        return bool(self._servers)

    @property
    def is_draining(self) -> bool:
        """It accepts nothing new and is not closed yet: behind `drain` or `close`."""
        return self._ending.began and not self._closed.done()

    def stats(self) -> ServerStats:
        """What goes on and what has been done, in numbers: connections, messages, bytes, close codes, errors, HTTP."""
        return self.counts().stats()

    def counts(self) -> Counts:
        """The numbers behind `stats`, by route, status and method. May be called by any thread."""
        http = self._http
        found = Counts(
            self._accounts.by_route(self._connections),
            len(self._waiting),
            dict(self._refused),
            self._abandoned,
            len(http),
            dict(http.answers),
            http.failures,
            self._ungreeted,
        )
        found.pings.merge(self._pings)
        found.handshakes.merge(self._durations)
        found.http_durations.merge(http.durations)
        return found

    @property
    def paths(self) -> list[str]:
        """The paths of its websockets, as registered."""
        return [path for path, place in self._app.routes.items() if place.websocket is not None]

    @property
    def is_over(self) -> bool:
        """It has closed, and the last callback of its connections has ended."""
        return self._closed.done() and not self._connections and not self._http

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

    def drain(self, timeout: float | None = None) -> asyncio.Future[bool]:
        """Accept nothing new, and leave what there is to end by itself; `close` is still the caller's.

        The listening sockets close, behind those who have connected already. Upgrades that are asked for on HTTP
        connections from before get 503 with ``Retry-After``; other HTTP requests are answered, with
        ``Connection: close``. What it returns may be awaited and need not be: ``True`` once the connections have
        ended and their callbacks and HTTP handlers too, ``False`` where *timeout* seconds were not enough, or `close`
        came meanwhile. An HTTP connection without a request is nothing to wait for. May be called again. Raises
        ``ValueError`` for a negative timeout.
        """
        self._check_thread("drain")
        check_patience("timeout", timeout)
        self._ending.begin()
        return self._runtime.hold(self._loop.create_task(self._ending.drained(timeout)), bounded=True)

    def close(
        self, code: int | CloseReason = 1001, reason: str = "", grace: float | None = 10, *, spread: float = 0
    ) -> asyncio.Future[None]:
        """Stop accepting, close every connection with *code*, and *grace* seconds from now abort the rest.

        With *spread*, in seconds, not all connections get their Close at once, but evenly over that time and in no
        order, so that their clients do not all come back at once; until then they go on as before. HTTP requests are
        answered within the grace, and callbacks may run on until it ends; then they are cancelled. Who has connected
        and not shaken hands yet may do so for a second. Only the first call counts.

        What it returns may be awaited and need not be. Raises ``ValueError`` for a code that may not be sent, and for
        a spread longer than the grace.
        """
        self._check_thread("close")
        self._ending.close(HowToClose.checked(code, reason, grace, spread))
        return asyncio.shield(self._closed)

    def _check_thread(self, doing: str) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                f"{doing}: a server belongs to its loop's thread; from another thread use server.threadsafe"
            )

    async def wait_closed(self) -> None:
        """Return once it has closed and all its connections have ended."""
        await asyncio.shield(self._closed)

    @property
    def close_limit(self) -> float | None:
        """For the runtime: seconds in which `close_gracefully` has ended."""
        return self._app.how_to_close.grace

    async def close_gracefully(self) -> None:
        """Close as the builder's `closing` says; for the runtime."""
        self._ending.close(self._app.how_to_close)
        await self.wait_closed()

    def abort(self) -> None:
        """End everything now."""
        if self._starting is not None:
            self._starting.cancel()
        for handshake in list(self._waiting):
            handshake.abort()
        for connection in list(self._connections):
            connection.terminate()
            connection._cancel_callbacks()
        self._http.abort()
        if self._application is not None:
            self._application.abort()
        self._finish()

    def _finish(self) -> None:
        self._ending.stop_listening(now=True)
        self._shut = True
        self.end_greetings()
        if self._admission is not None:
            self._admission.close()
        self._remove_file()
        self._unwatch()
        self._waiting.clear()
        self._http.clear()
        if not self._closed.done():
            self._closed.set_result(None)
        self._ending.look()
        if self._metrics is not None:
            self._metrics.ended(self)
        self._runtime.untrack(self)

    def refuse_upgrade(self, request: Request) -> Response:
        """Nothing new is accepted; from HTTP connections that stay."""
        self.count_refused(503)
        seldom(
            "refused draining", logging.INFO, "refused an upgrade from %s: the server is draining",
            request.remote_address,
        )  # fmt: skip
        return error_page(request, 503, "this server is being replaced: ask again", [("Retry-After", "1")])

    def ended(self, connection: WebSocketConnection) -> None:
        """*connection*'s last callback has ended; from the connection."""
        if connection in self._connections:
            self._connections.discard(connection)
            self._accounts.close(connection)
        if self._ending.began:
            self._ending.look()

    def answered(self, seconds: float) -> None:
        """A Ping to one of the connections has been answered."""
        self._pings.observe(seconds)

    def end_greetings(self) -> None:
        """It is too late for TLS's handshakes that are under way."""
        for greetings in self._greetings:
            greetings.cancel()

    def count_ungreeted(self) -> None:
        """TLS's handshake with somebody has failed."""
        self._ungreeted += 1

    def count_refused(self, status: int) -> None:
        """A connection's first request was refused."""
        self._refused[status] = self._refused.get(status, 0) + 1

    def look_quiet(self) -> None:
        """Something has ended; from connections of both kinds."""
        self._ending.look()


def _admission(server: Server, app: HttpServer, loop: asyncio.AbstractEventLoop) -> Admission | None:
    if app.most_connections is None and app.most_per_address is None:
        return None
    return Admission(server, loop, app.most_connections, app.most_per_address)


def _nothing() -> None:
    """No file to remove, no watch to end."""


async def bind_tcp(
    server: Server, host: str | None, port: int, ssl: _ssl.SSLContext | None, backlog: int, reuse_port: bool | None
) -> list[Listening]:
    """Listen on every address of *host*; with port 0 all get the port that the first one got."""
    return await serve_sockets(server, await bound(server._loop, host, port, reuse_port), ssl, backlog)


async def serve_sockets(
    server: Server, sockets: Sequence[socket.socket], ssl: _ssl.SSLContext | None, backlog: int
) -> list[Listening]:
    """Accept on bound sockets, on all or on none."""
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


async def serve_socket(server: Server, sock: socket.socket, ssl: _ssl.SSLContext | None, backlog: int) -> Listening:
    """Accept on a bound socket."""
    keep_alive(sock)
    no_delay(sock)
    if available():
        poller = poller_of(server._loop)
        if ssl is None:
            return Listener(poller, sock, _factory(server, None), backlog)
        greetings = Greetings(server, _factory(server, ssl), _tls(server, ssl))
        server._greetings.append(greetings)
        return Listener(poller, sock, greetings, backlog, bare=True)
    return await server._loop.create_server(
        _factory(server, ssl),
        sock=sock,
        backlog=backlog,
        start_serving=True,
        **_tls(server, ssl),
    )


async def bind_unix(server: Server, path: str, ssl: _ssl.SSLContext | None, backlog: int) -> list[Listening]:
    """Listen on a unix socket; its file ends with the server."""
    sock = bound_unix(path)
    try:
        server._remove_file = remove_unix(sock)
        if available():
            return [await serve_socket(server, sock, ssl, backlog)]
        return [
            await server._loop.create_unix_server(
                _factory(server, ssl), sock=sock, backlog=backlog, **_tls(server, ssl)
            )
        ]
    except BaseException:
        sock.close()
        raise


def _factory(server: Server, context: _ssl.SSLContext | None) -> Callable[[], asyncio.Protocol]:
    """What the loop calls for a connection it has accepted, and with TLS before it has greeted."""
    gated = server._admission is not None
    if context is None:
        return partial(Gate, server, False) if gated else Entrance(ServerHandshake, server._waiting, False)

    def greeted() -> asyncio.Protocol:
        handshake = Gate(server, True) if gated else ServerHandshake(server._waiting, True)
        server._greeting.add(handshake)
        return handshake

    return greeted


def _tls(server: Server, context: _ssl.SSLContext | None) -> dict[str, Any]:
    """Options for the loop: its own limit for TLS handshakes is a minute."""
    if context is None:
        return {}
    seconds = server._app.default_policy.open_timeout
    return {"ssl": context, "ssl_handshake_timeout": None if seconds is None else max(seconds, 0.001)}
