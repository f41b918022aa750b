"""Servers and connections without a socket: the real handshake, extensions and codec over a `Link`."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from firefly_ws._core.protocol import Protocol
from firefly_ws.accepting import ServerHandshake
from firefly_ws.admission import Gate
from firefly_ws.client_builder import HttpClient, WebSocketClient
from firefly_ws.connection import WebSocketConnection
from firefly_ws.dial import ClientHandshake, Target
from firefly_ws.errors import WebSocketConnectionException
from firefly_ws.server import Server
from firefly_ws.server_builder import HttpServer, WebSocketRoute

from .links import Link
from .transports import MemoryTransport

if TYPE_CHECKING:
    from firefly_ws._core.delivery import Callbacks

__all__ = ["Connecting", "MemoryServer", "connect_in_memory", "listen_in_memory"]

HOST = "in-memory"
LISTENS = 1.0  # seconds for a server to notice the end; one that reads takes a turn of the loop


class MemoryServer(Server):
    """A `Server` that is connected to by `connect_in_memory` alone."""

    def __init__(self, app: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(app, loop, "memory")
        self._running: dict[WebSocketConnection, asyncio.Future[None]] = {}

    def accept(
        self, link: Link, client: asyncio.BaseProtocol, *, secure: bool = False
    ) -> tuple[MemoryTransport, MemoryTransport]:
        """Connect *client*, any protocol, to a handshake of this server; returns the client's and our transport.

        Raises ``ConnectionRefusedError`` where the server does not listen.
        """
        if not self.is_listening:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        if self._admission is not None:
            return link.connect(client, Gate(self, secure))
        return link.connect(client, ServerHandshake(self._waiting, secure))

    def ended(self, connection: WebSocketConnection) -> None:
        """*connection*'s last callback has ended; from the connection."""
        super().ended(connection)
        waiting = self._running.pop(connection, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def callbacks_ended(self, connection: WebSocketConnection) -> None:
        """Return once *connection* has ended and its last callback too."""
        if connection in self._connections:
            waiting = self._running.get(connection)
            if waiting is None:
                waiting = self._running[connection] = self._loop.create_future()
            await asyncio.shield(waiting)


class _Listener:
    """What a memory server closes instead of sockets: a closed server no longer listens anyway."""

    sockets = ()

    def close(self) -> None:
        """Nothing is open."""


async def _bind(server: Server) -> list[Any]:
    return [_Listener()]


def listen_in_memory(server: HttpServer | WebSocketRoute) -> MemoryServer:
    """Begin *server*, as ``listen`` does, without a socket: await what it returns, or enter it with ``async with``.

    Connect to it with `connect_in_memory`, any number of times at once. Raises
    ``RuntimeError`` where no event loop is running, ``TypeError`` for what is no
    server's builder.
    """
    if not isinstance(server, (HttpServer, WebSocketRoute)):
        raise TypeError(f"server={server!r} must be a server's builder, as http_server().websocket(path)")
    app = server._server
    app._check()
    started = MemoryServer(app, asyncio.get_running_loop())
    started._start(_bind)
    return started


class Connecting:
    """What `connect_in_memory` returns: await it, or enter it with ``async with``; it begins then."""

    def __init__(
        self, server: HttpServer | WebSocketRoute | MemoryServer, client: WebSocketClient, link: Link | None
    ) -> None:
        self._given = server
        self._client = client
        self._target = client._target()
        self._link = Link() if link is None else link
        self._begun = False
        self._server: MemoryServer | None = None  # one of our own
        self.connection: WebSocketConnection | None = None
        #: The server's end of it, once the upgrade is done.
        self.accepted: WebSocketConnection | None = None

    def __repr__(self) -> str:
        return f"<connecting in memory to {self._target.url}>"

    def __await__(self) -> Generator[Any, None, WebSocketConnection]:
        return self._open().__await__()

    async def _open(self) -> WebSocketConnection:
        connection = await self._connect()
        if self._server is not None:
            # Nobody else knows it: it ends with its only connection.
            own = self._server
            assert self.accepted is not None
            self.accepted.wait_closed().add_done_callback(lambda _: own.close())
        return connection

    async def _connect(self) -> WebSocketConnection:
        if self._begun:
            raise RuntimeError(f"{self!r} has been begun already; call connect_in_memory(), or conversation(), again")
        self._begun = True
        given = self._given
        server: MemoryServer
        if isinstance(given, MemoryServer):
            server = given
        else:
            server = self._server = listen_in_memory(given)
        try:
            self.connection = await self._dial(await server)
        except Exception as error:
            await self.end_server()
            if self.failed is not None:
                raise self.failed from error
            raise
        except BaseException:
            self.abort()
            raise
        return self.connection

    async def _dial(self, server: MemoryServer) -> WebSocketConnection:
        strategy = self._client._reconnect
        if strategy is None:
            return await self._upgrade(server, self._target)
        tries = 0

        async def dial(target: Target, callbacks: Callbacks) -> WebSocketConnection:
            nonlocal tries
            tries += 1
            if tries > 1:
                self._link = Link()  # what became of the one before is over
            return await self._upgrade(server, target)

        return await self._client._again(strategy, dial=dial).open()

    async def _upgrade(self, server: MemoryServer, target: Target) -> WebSocketConnection:
        handshake = ClientHandshake(target)
        try:
            near, far = server.accept(self._link, handshake, secure=target.url.secure)
        except ConnectionRefusedError as error:
            failed = WebSocketConnectionException(f"cannot connect to {target.url}: {server!r} does not listen")
            failed.errno = error.errno
            raise failed from error
        seconds = target.settings.policy.open_timeout
        try:
            async with asyncio.timeout(seconds):
                connection = await handshake.wait()
        except BaseException as error:
            near.abort()
            if isinstance(error, TimeoutError):
                raise WebSocketConnectionException(
                    f"cannot connect to {target.url}: not open within open_timeout={seconds} seconds; "
                    ".open_timeout(seconds) allows more"
                ) from error
            raise
        protocol = far.get_protocol()
        assert isinstance(protocol, Protocol)
        self.accepted = cast(WebSocketConnection, protocol.connection)
        return connection

    @property
    def path(self) -> str:
        """The path that is asked for, as the server sees it."""
        return unquote(self._target.url.target.partition("?")[0])

    @property
    def server(self) -> MemoryServer:
        """The server connected to, begun by us or not."""
        server = self._server or self._given
        assert isinstance(server, MemoryServer)
        return server

    async def end_server(self) -> None:
        """Close the server, if it is one of our own."""
        if self._server is not None:
            try:
                await self._server.close(grace=0 if self.connection is None else 10)
            except BaseException:
                self._server.abort()
                raise

    def abort(self) -> None:
        """End it now: whoever would have waited for its end has been cancelled."""
        for end in (self.connection, self.accepted):
            if end is not None:
                end.terminate()
        if self.accepted is not None:
            self.accepted._cancel_callbacks()
        if self._server is not None:
            self._server.abort()

    @property
    def failed(self) -> Exception | None:
        """What a function given to the link has raised."""
        return self._link.error

    async def heard(self) -> None:
        """Return once the server's end has learnt that its peer has gone, or will not: it learns it from the link."""
        assert self.accepted is not None
        ended = asyncio.ensure_future(self.accepted.wait_closed())
        await asyncio.wait({ended}, timeout=0 if self._link.to_server.is_held else LISTENS)

    async def __aenter__(self) -> WebSocketConnection:
        return await self._connect()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self.connection is not None
        try:
            await self.connection.__aexit__(kind, error, trace)
            if self._server is not None:
                await self.heard()
                await self.end_server()
        except BaseException:
            self.abort()
            raise


def connect_in_memory(
    server: HttpServer | WebSocketRoute | MemoryServer,
    client: str | WebSocketClient = "/",
    *,
    link: Link | None = None,
) -> Connecting:
    """Connect to *server* without a socket: the real handshake, extensions and codec over two transports in memory.

    *server* is a server's builder, which is begun for this connection and closed behind
    it, or what `listen_in_memory` returned. *client* is a path, or a client's builder
    with its headers, extensions and callbacks; of its URL the path counts, and ``wss``
    makes both ends believe in TLS that is not there; with ``.reconnect()`` it is tried until
    it is open. *link* cuts, delays or splits what flows, of the first try if there are
    several. Returns what to await, or to enter with ``async with``, for the client's
    `WebSocketConnection`; raises there what ``connect()`` would. ``TypeError`` for other
    arguments.
    """
    if isinstance(server, Server) and not isinstance(server, MemoryServer):
        raise TypeError(f"server={server!r} listens on sockets; give its builder, or what listen_in_memory() returns")
    if not isinstance(server, (HttpServer, WebSocketRoute, MemoryServer)):
        raise TypeError(f"server={server!r} must be a server's builder, or what listen_in_memory() returns")
    if isinstance(client, str):
        if not client.startswith("/"):
            raise ValueError(f"client={client!r} must be a path, which starts with '/', or a client's builder")
        client = HttpClient().websocket(f"ws://{HOST}{client}")
    if not isinstance(client, WebSocketClient):
        raise TypeError(f"client={client!r} must be a path or a client's builder, not {type(client).__name__}")
    if link is not None and not isinstance(link, Link):
        raise TypeError(f"link={link!r} must be a Link")
    return Connecting(server, client, link)
