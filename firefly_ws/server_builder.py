"""The server's fluent face: stores checked values and begins servers; holds no behaviour of its own."""

from __future__ import annotations

import os
import socket
import ssl as _ssl
from collections.abc import Callable, Iterable
from typing import Any, Self

from .config import HttpConfig, check, check_config, check_port
from .extensions.base import ExtensionOffer
from .http.request import Request
from .options import ConnectionDefaults, ConnectionOptions
from .per_loop import current_loop
from .routes import RouteTable
from .runtime import submit
from .server import Server, bind_tcp, bind_unix, serve_socket

__all__ = ["HttpServer", "WebSocketRoute", "http_server"]


class ServerMethods:
    """What a server offers; a route has it too, so that one chain builds it all."""

    _server: HttpServer

    def websocket(self, path: str) -> WebSocketRoute:
        """A route: exact (``/chat``), with parameters (``/room/{name}``, ``/room/:name``), or ``/files/*``.

        Raises ``ValueError`` for a path that is registered already or does not begin with ``/``.
        """
        server = self._server
        route = WebSocketRoute(server)
        server.routes.add(path, route)
        return route

    def unregister(self, path: str) -> HttpServer:
        """Remove a route; open connections stay. Raises ``KeyError`` if there is none."""
        self._server.routes.remove(path)
        return self._server

    def on_upgrade(self, callback: Callable[[Request], object]) -> Self:
        """Ask ``callback(request)`` before each upgrade: ``None`` accepts, a `Response` refuses. May be async."""
        server = self._server
        if not callable(callback):
            raise TypeError(f"on_upgrade({callback!r}): a callback must be callable")
        if server.upgrade_hook is not None:
            raise ValueError(f"on_upgrade() is set already, to {server.upgrade_hook!r}")
        server.upgrade_hook = callback
        return self

    def secure(
        self, certificate: str | os.PathLike[str] | _ssl.SSLContext, key: str | os.PathLike[str] | None = None
    ) -> Self:
        """TLS, from a certificate chain and its key in PEM files, or from an `ssl.SSLContext`."""
        if isinstance(certificate, _ssl.SSLContext):
            context = certificate
        else:
            check("certificate", certificate, (str, bytes, os.PathLike), "a path or an ssl.SSLContext")
            check("key", key, (str, bytes, os.PathLike, type(None)), "a path or None")
            context = _ssl.SSLContext(_ssl.PROTOCOL_TLS_SERVER)
            try:
                context.load_cert_chain(certificate, key)
            except FileNotFoundError as error:
                raise ValueError(f"secure({certificate!r}, {key!r}): no such file") from error
            except _ssl.SSLError as error:
                raise ValueError(f"secure({certificate!r}, {key!r}): no certificate with its key: {error}") from error
        self._server.ssl_context = context
        return self

    def listen(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        path: str | os.PathLike[str] | None = None,
        reuse_port: bool | None = None,
        backlog: int = 4096,
    ) -> Any:
        """Listen on *host* and *port* (0: any free one), on a bound socket, or on a unix socket's *path*.

        Inside a running loop: begins at once and returns a `Server` to await. In a plain
        script: blocks until bound, or raises the bind error, and returns the `Server`
        for other threads. Without *port*: 443 with TLS, else 80.
        """
        app = self._server
        context = app.ssl_context or app.config.ssl
        if sum(given is not None for given in (port if host is None else host, sock, path)) > 1:
            raise ValueError(f"listen(host={host!r}, port={port!r}, sock={sock!r}, path={path!r}): give one of them")
        if isinstance(backlog, bool) or not isinstance(backlog, int) or backlog < 1:
            raise ValueError(f"backlog={backlog!r} must be an int, at least 1")
        check("host", host, (str, type(None)), "a str or None")
        check("sock", sock, (socket.socket, type(None)), "a socket or None")
        check("path", path, (str, bytes, os.PathLike, type(None)), "a path or None")
        check("reuse_port", reuse_port, (bool, type(None)), "a bool or None")
        if sock is not None:
            _check_listenable(sock)
            what = f"{sock!r}"

            def binding(server: Server) -> Any:
                return _one(serve_socket(server, sock, context, backlog))
        elif path is not None:
            name = os.fsdecode(path)
            what = name.replace("\0", "@")  # as Linux writes abstract ones

            def binding(server: Server) -> Any:
                return bind_unix(server, name, context, backlog)
        else:
            number = (443 if context is not None else 80) if port is None else port
            check_port(number, 0)
            what = f"{host or '*'}:{number}"

            def binding(server: Server) -> Any:
                return bind_tcp(server, host, number, context, backlog, reuse_port)

        for _, route in app.routes.items():
            route.current()
        loop = current_loop()
        if loop is not None:
            return Server(app, loop, what)._start(binding)

        async def start() -> Any:
            running = current_loop()
            assert running is not None
            return (await Server(app, running, what)._start(binding)).threadsafe

        return submit(start, what=f"listening on {what}").result()


def _check_listenable(sock: socket.socket) -> None:
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"sock={sock!r} must be a stream socket")
    try:
        peer = sock.getpeername()
    except OSError:
        return  # as it must be
    raise ValueError(f"sock={sock!r} is connected, to {peer!r}; it must be bound, or as made")


async def _one(listening: Any) -> list[Any]:
    return [await listening]


class HttpServer(ConnectionDefaults, ServerMethods):
    """A server to be: routes and what holds for all of them."""

    def __init__(self, config: HttpConfig | None = None) -> None:
        self.config = check_config(config)
        super().__init__(self.config.policy, self.config.extensions, self.config.converter)
        self._server = self
        self.routes: RouteTable[WebSocketRoute] = RouteTable()
        self.upgrade_hook: Callable[[Request], Any] | None = None
        self.ssl_context: _ssl.SSLContext | None = None
        self.allowed_origins: tuple[str, ...] | None = None
        if self.default_extensions is None:
            # On by default for a client that offers it: without context takeover it costs an idle connection nothing.
            self.extensions(["permessage-deflate"])

    def origins(self, *allowed: str) -> Self:
        """The origins that browsers may connect from, as ``"https://example.com"``; ``"*"`` allows all.

        By default an ``Origin`` must have the authority of the ``Host`` header.
        """
        self.allowed_origins = _check_origins(allowed)
        return self


class WebSocketRoute(ConnectionOptions, ServerMethods):
    """A path that websockets are accepted at."""

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self._server = server
        self.allowed_origins: tuple[str, ...] | None = None
        self.extension_hook: Callable[..., Any] | None = None
        self.sub_protocol_hook: Callable[..., Any] | None = None

    def origins(self, *allowed: str) -> Self:
        """As `HttpServer.origins`, for this route."""
        self.allowed_origins = _check_origins(allowed)
        return self

    def on_extension_select(
        self, callback: Callable[[tuple[ExtensionOffer, ...], Request], Iterable[ExtensionOffer | str] | None]
    ) -> Self:
        """Have ``callback(offered, request)`` choose among the extensions a client offers, and their order.

        It returns offers, or names of them; ``[]`` for none; ``None`` leaves it to the library.
        Only extensions of the route (`extensions`) can be agreed on.
        """
        if not callable(callback):
            raise TypeError(f"on_extension_select({callback!r}): a callback must be callable")
        if self.extension_hook is not None:
            raise ValueError(f"on_extension_select() is set already, to {self.extension_hook!r}")
        self.extension_hook = callback
        return self

    def on_sub_protocol_select(self, callback: Callable[[tuple[str, ...], Request], str | None]) -> Self:
        """Have ``callback(offered, request)`` choose: one of those offered, or ``None`` for none."""
        if not callable(callback):
            raise TypeError(f"on_sub_protocol_select({callback!r}): a callback must be callable")
        if self.sub_protocol_hook is not None:
            raise ValueError(f"on_sub_protocol_select() is set already, to {self.sub_protocol_hook!r}")
        self.sub_protocol_hook = callback
        return self


def http_server(config: HttpConfig | None = None) -> HttpServer:
    """A new server builder."""
    return HttpServer(config)


def _check_origins(allowed: tuple[str, ...]) -> tuple[str, ...]:
    if not allowed:
        raise ValueError("origins() needs at least one origin, as 'https://example.com', or '*' for all")
    for origin in allowed:
        if not isinstance(origin, str):
            raise TypeError(f"origins: {origin!r} must be a str")
        if origin not in ("*", "null") and "://" not in origin:
            raise ValueError(f"origins: {origin!r} has no scheme; an origin is 'https://example.com' (RFC 6454 §6.2)")
    return allowed
