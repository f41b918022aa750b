"""The fluent face: stores checked values and begins servers and connections; holds no behaviour of its own."""

from __future__ import annotations

import base64
import os
import socket
import ssl as _ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from . import url as _url
from .client import Connecting, Target
from .connection import WebSocketConnection
from .extensions.base import Extension
from .handshake import Offer, check_header, make_offer
from .http.request import Request
from .options import ConnectionDefaults, ConnectionOptions, check_extensions
from .per_loop import current_loop
from .policy import WebSocketPolicy
from .routes import RouteTable
from .runtime import Handle, submit
from .server import Server, bind_tcp, bind_unix, serve_socket

__all__ = ["HttpClient", "HttpConfig", "HttpServer", "WebSocketClient", "WebSocketRoute", "http_client", "http_server"]

# None is a value: it switches the limit off.
_OF_POLICY: Any = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpConfig:
    """Defaults of a server or a client. Sizes are bytes, times are seconds, ``None`` switches a limit off.

    ``policy`` and ``extensions`` hold for routes and connections that set none of their
    own; ``ssl`` is the context for TLS. The three limits that follow are fields of the
    policy, written shorter: on a server they hold before a route is known.
    """

    policy: WebSocketPolicy = field(default_factory=WebSocketPolicy)
    extensions: tuple[str | Extension, ...] | None = None
    ssl: _ssl.SSLContext | None = None
    max_header_size: int | None = _OF_POLICY
    max_header_count: int | None = _OF_POLICY
    open_timeout: float | None = _OF_POLICY

    def __post_init__(self) -> None:
        if not isinstance(self.policy, WebSocketPolicy):
            raise TypeError(f"policy={self.policy!r} must be a WebSocketPolicy")
        _check_context(self.ssl, optional=True)
        if self.extensions is not None:
            object.__setattr__(self, "extensions", check_extensions(self.extensions))
        names = ("max_header_size", "max_header_count", "open_timeout")
        given = {name: value for name in names if (value := getattr(self, name)) is not _OF_POLICY}
        if given:
            object.__setattr__(self, "policy", self.policy.replace(**given))
        for name in names:
            object.__setattr__(self, name, getattr(self.policy, name))


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
            _check("certificate", certificate, (str, bytes, os.PathLike), "a path or an ssl.SSLContext")
            _check("key", key, (str, bytes, os.PathLike, type(None)), "a path or None")
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
        _check("host", host, (str, type(None)), "a str or None")
        _check("sock", sock, (socket.socket, type(None)), "a socket or None")
        _check("path", path, (str, bytes, os.PathLike, type(None)), "a path or None")
        _check("reuse_port", reuse_port, (bool, type(None)), "a bool or None")
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
            _check_port(number, 0)
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
        self.config = _check_config(config)
        super().__init__(self.config.policy, self.config.extensions)
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

    def on_sub_protocol_select(self, callback: Callable[[tuple[str, ...], Request], str | None]) -> Self:
        """Have ``callback(offered, request)`` choose: one of those offered, or ``None`` for none."""
        if not callable(callback):
            raise TypeError(f"on_sub_protocol_select({callback!r}): a callback must be callable")
        if self.sub_protocol_hook is not None:
            raise ValueError(f"on_sub_protocol_select() is set already, to {self.sub_protocol_hook!r}")
        self.sub_protocol_hook = callback
        return self


class HttpClient(ConnectionDefaults):
    """Makes connections; its settings hold for all that set none of their own."""

    def __init__(self, config: HttpConfig | None = None) -> None:
        self.config = _check_config(config)
        super().__init__(self.config.policy, self.config.extensions)

    def websocket(self, url: str, port: int | None = None, path: str | None = None) -> WebSocketClient:
        """A connection to be: from a URL (``ws://`` or ``wss://``), or from host, port and path.

        Raises ``ValueError`` for another scheme, a ``#fragment``, or no host.
        """
        _check("url", url, str, "a str: a URL, or a host with port and path")
        if port is None and path is None and "://" in url:
            return WebSocketClient(self, _url.parse(url))
        return self._parts("ws", url, port, path)

    def ws(self, url: str, port: int | None = None, path: str | None = None) -> WebSocketClient:
        """The same as `websocket`."""
        return self.websocket(url, port, path)

    def wss(self, url: str, port: int | None = None, path: str | None = None) -> WebSocketClient:
        """The same with TLS; from host, port (443) and path, or from a ``wss://`` URL."""
        _check("url", url, str, "a str: a URL, or a host with port and path")
        if port is None and path is None and "://" in url:
            parsed = _url.parse(url)
            if not parsed.secure:
                raise ValueError(f"wss({url!r}): the URL's scheme must be wss")
            return WebSocketClient(self, parsed)
        return self._parts("wss", url, port, path)

    def _parts(self, scheme: str, host: str, port: int | None, path: str | None) -> WebSocketClient:
        path = "/" if path is None else path
        _check("path", path, str, "a str")
        if not path.startswith("/"):
            raise ValueError(f"path={path!r} must start with '/'")
        if port is not None:
            _check_port(port, 1)
        if not host or set(host) & set("/?#@\\"):
            raise ValueError(f"{host!r} is no host name; give a URL alone, or host, port and path")
        name = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return WebSocketClient(self, _url.parse(f"{scheme}://{name}{'' if port is None else f':{port}'}{path}"))

    def ended(self, connection: WebSocketConnection) -> None:
        """*connection*'s last callback has ended; from the connection."""
        from .per_loop import runtime_of

        runtime_of(connection.loop).untrack(connection)


class WebSocketClient(ConnectionOptions):
    """A connection to be, to one URL."""

    def __init__(self, client: HttpClient, url: _url.WebSocketURL) -> None:
        super().__init__(client)
        self._client = client
        self._url = url
        self._headers: list[tuple[str, str]] = []
        self._ssl = client.config.ssl
        self._origin: str | None = None
        self._entered: Connecting | None = None
        if url.userinfo is not None:
            self.basic_auth(*url.userinfo)

    def header(self, name: str, value: str) -> Self:
        """Add a header to the request; ``ValueError`` for one that the handshake itself sends, or with a line break."""
        check_header(name, value)
        self._headers.append((name, value))
        return self

    def headers(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Self:
        """Add several; see `header`."""
        _check("headers", headers, (Mapping, Iterable), "a mapping or pairs")
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            self.header(name, value)
        return self

    def basic_auth(self, user: str, password: str) -> Self:
        """``Authorization: Basic`` (RFC 7617); a URL's ``user:password@`` does the same."""
        _check("user", user, str, "a str")
        _check("password", password, str, "a str")
        if ":" in user:
            raise ValueError(f"user={user!r} may have no ':' (RFC 7617 §2)")
        return self._authorization("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def bearer(self, token: str) -> Self:
        """``Authorization: Bearer`` (RFC 6750)."""
        _check("token", token, str, "a str")
        return self._authorization(f"Bearer {token}")

    def _authorization(self, value: str) -> Self:
        check_header("Authorization", value)
        self._headers = [(name, old) for name, old in self._headers if name != "Authorization"]
        self._headers.append(("Authorization", value))
        return self

    def cookies(self, cookies: Mapping[str, str]) -> Self:
        """``Cookie`` (RFC 6265 §4.2)."""
        _check("cookies", cookies, Mapping, "a mapping of str to str")
        for name, value in cookies.items():
            _check("cookie", name, str, "a str")
            _check(f"cookie {name!r}", value, str, "a str")
            if any(sign in f"{name}{value}" for sign in ";,\r\n\0 "):
                raise ValueError(f"cookie {name!r}={value!r}: no blanks, commas or semicolons (RFC 6265 §4.1.1)")
        return self.header("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()))

    def origin(self, value: str) -> Self:
        """``Origin``, as a browser would send it."""
        check_header("Origin", value)
        self._origin = value
        return self

    def ssl(self, context: _ssl.SSLContext) -> Self:
        """TLS with this context; by default certificates are verified against the system's authorities."""
        _check_context(context, optional=False)
        if not self._url.secure:
            raise ValueError(f"ssl(): {self._url} is not wss, there is no TLS to set up")
        self._ssl = context
        return self

    def _target(self) -> Target:
        settings = self.current()
        headers = tuple(self._headers)
        url, origin = self._url, self._origin
        context = (self._ssl or _default_context()) if url.secure else None
        extensions, sub_protocols = settings.extensions or (), settings.sub_protocols

        def offer() -> Offer:
            return make_offer(url, extensions=extensions, sub_protocols=sub_protocols, headers=headers, origin=origin)

        return Target(url, settings, context, offer, self._client)

    def connect(self) -> Any:
        """Connect. Inside a running loop: begins at once; ``await`` it or enter it with ``async with``.

        In a plain script it returns a `Handle` whose ``result(timeout)`` is the connection.
        Raises, where it is awaited, `WebSocketConnectionException` and its kinds.
        """
        return self._connect(None)

    def connect_async(self, callback: Callable[[WebSocketConnection], object]) -> Any:
        """Connect, and call ``callback(connection)`` once open; what is returned ends when the callback has ended."""
        if not callable(callback):
            raise TypeError(f"connect_async({callback!r}): a callback must be callable")
        return self._connect(callback)

    def _connect(self, callback: Callable[[WebSocketConnection], object] | None) -> Any:
        target = self._target()
        loop = current_loop()
        if loop is not None:
            return Connecting(target, loop, callback)

        async def start() -> WebSocketConnection:
            running = current_loop()
            assert running is not None
            connection: WebSocketConnection = await Connecting(target, running, callback)
            return connection

        handle: Handle[WebSocketConnection] = submit(start, what=f"connecting to {target.url}")
        return handle

    async def __aenter__(self) -> WebSocketConnection:
        if self._entered is not None:
            raise RuntimeError(
                f"{self._url}: this builder is entered already; use builder.connect() for several at once"
            )
        self._entered = self.connect()
        try:
            return await self._entered.__aenter__()
        except BaseException:
            self._entered = None
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        entered, self._entered = self._entered, None
        assert entered is not None
        await entered.__aexit__(kind, error, trace)


def http_server(config: HttpConfig | None = None) -> HttpServer:
    """A new server builder."""
    return HttpServer(config)


def http_client(config: HttpConfig | None = None) -> HttpClient:
    """A new client builder."""
    return HttpClient(config)


def _default_context() -> _ssl.SSLContext:
    global _context
    if _context is None:
        _context = _ssl.create_default_context()
    return _context


_context: _ssl.SSLContext | None = None


def _check_config(config: object) -> HttpConfig:
    if config is None:
        return HttpConfig()
    if not isinstance(config, HttpConfig):
        raise TypeError(f"config={config!r} must be an HttpConfig, not {type(config).__name__}")
    return config


def _check(name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name}={value!r} must be {what}, not {type(value).__name__}")


def _check_port(port: object, least: int) -> None:
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port={port!r} must be an int")
    if not least <= port <= 65535:
        raise ValueError(f"port={port!r} must be {least} to 65535")


def _check_context(context: object, *, optional: bool) -> None:
    if context is None and optional:
        return
    if not isinstance(context, _ssl.SSLContext):
        raise TypeError(f"ssl={context!r} must be an ssl.SSLContext, not {type(context).__name__}")


def _check_origins(allowed: tuple[str, ...]) -> tuple[str, ...]:
    if not allowed:
        raise ValueError("origins() needs at least one origin, as 'https://example.com', or '*' for all")
    for origin in allowed:
        if not isinstance(origin, str):
            raise TypeError(f"origins: {origin!r} must be a str")
        if origin not in ("*", "null") and "://" not in origin:
            raise ValueError(f"origins: {origin!r} has no scheme; an origin is 'https://example.com' (RFC 6454 §6.2)")
    return allowed
