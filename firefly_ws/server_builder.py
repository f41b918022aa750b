"""The server's fluent face: stores checked values and begins servers; holds no behaviour of its own."""

from __future__ import annotations

import os
import socket
import ssl as _ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from .callables import check_callable
from .codes import CloseReason
from .config import HttpConfig, check, check_config, check_count, check_origins, check_port, check_seconds, check_size
from .ending import HowToClose
from .health import Health, check_table
from .http.exchange import METHODS, Endpoint
from .http.request import Request
from .http.response import Response
from .http.static import StaticFiles
from .metrics import Metrics, Page, counted_in
from .options import ConnectionDefaults, ConnectionOptions
from .per_loop import current_loop
from .policy import WebSocketPolicy
from .routes import Place, RouteTable
from .runtime import submit
from .selecting import AnyExtensionSelector, AnySubProtocolSelector
from .server import Server, bind_tcp, bind_unix, serve_sockets
from .unentered import Unentered

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from .asgi.hosting import Mounted

__all__ = ["HttpServer", "WebSocketRoute", "http_server"]


_OF_SERVER: Any = object()


def _hook(name: str, callback: Any, before: Any, *arguments: str) -> Any:
    check_callable(f"{name}({callback!r})", callback, *arguments)
    if before is not None:
        raise ValueError(f"{name}() is set already, to {before!r}")
    return callback


class ServerMethods(Unentered):
    """What a server offers; a route has it too, so that one chain builds it all."""

    _server: HttpServer
    _entered_as = "async with builder.listen(host, port) as server"

    def websocket(self, path: str) -> WebSocketRoute:
        """A route: exact (``/chat``), with parameters (``/room/{name}``, ``/room/:name``), or ``/files/*``.

        Raises ``ValueError`` for a path that is registered already or does not begin with ``/``.
        """
        server = self._server
        route = WebSocketRoute(server, path)
        place = server._place(path)
        if place.websocket is not None:
            raise ValueError(f"path {path!r} is already registered; .unregister(path) frees it")
        place.websocket = route
        return route

    def route(
        self,
        path: str,
        handler: Callable[[Request], object],
        methods: Iterable[str] = ("GET",),
        *,
        max_body_size: int | None = _OF_SERVER,
    ) -> Self:
        """Answer HTTP requests at *path*, spelled as for `websocket`, by ``handler(request)``, plain or async.

        It returns a `Response`, ``str``, ``bytes``, a dict or list (JSON), or an iterable or
        async iterable of ``bytes`` and ``str``, sent as it comes. *max_body_size* (bytes) is
        this route's. A handler of GET answers HEAD too. A path may have a websocket and HTTP.
        Raises ``ValueError`` for a method that has a handler there already, or that nobody knows.
        """
        check_callable(f"route({path!r}, {handler!r})", handler, "request", yields=True)
        if isinstance(methods, str):
            raise TypeError(f"methods={methods!r} must be a list of names, as [{methods!r}]")
        names = tuple(methods)
        if not names:
            raise ValueError("methods is empty; it needs at least one name, as ['GET']")
        for name in names:
            if name not in METHODS:
                raise ValueError(f"methods: {name!r} must be one of {', '.join(METHODS)}")
        own = max_body_size is not _OF_SERVER
        limit = check_size("max_body_size", max_body_size) if own else self._server.body_limit
        self._server._answer(path, names, Endpoint(handler, limit, own))
        return self

    def get(self, path: str, handler: Callable[[Request], object]) -> Self:
        """`route` for GET (and HEAD)."""
        return self.route(path, handler, ("GET",))

    def post(self, path: str, handler: Callable[[Request], object], *, max_body_size: int | None = _OF_SERVER) -> Self:
        """`route` for POST."""
        return self.route(path, handler, ("POST",), max_body_size=max_body_size)

    def put(self, path: str, handler: Callable[[Request], object], *, max_body_size: int | None = _OF_SERVER) -> Self:
        """`route` for PUT."""
        return self.route(path, handler, ("PUT",), max_body_size=max_body_size)

    def patch(self, path: str, handler: Callable[[Request], object], *, max_body_size: int | None = _OF_SERVER) -> Self:
        """`route` for PATCH."""
        return self.route(path, handler, ("PATCH",), max_body_size=max_body_size)

    def delete(self, path: str, handler: Callable[[Request], object]) -> Self:
        """`route` for DELETE."""
        return self.route(path, handler, ("DELETE",))

    def static(self, prefix: str, directory: str | os.PathLike[str]) -> Self:
        """Answer GET and HEAD below *prefix* with the files below *directory*, ``index.html`` for a directory itself.

        Raises ``ValueError`` where *directory* does not exist or *prefix* is taken.
        """
        check("directory", directory, (str, os.PathLike), "a path")
        check("prefix", prefix, str, "a str")
        files = StaticFiles(prefix, directory)
        below = prefix.rstrip("/")
        self.route(below + "/*", files)
        if below and self._server.routes.at(below) is None:
            self.route(below, lambda request: Response.redirect(request.raw_path + "/", 301))
        return self

    def health(
        self,
        path: str = "/healthz",
        *,
        checks: Mapping[str, Callable[[], object]] | Iterable[Callable[[], object]] = (),
        timeout: float | None = 5.0,
    ) -> Self:
        """Answer GET and HEAD at *path*: 200 while the server takes on work, 503 while it drains or closes.

        *checks* (by name, or functions that have names) are called each time, plain ones in the loop; one
        that raises, returns ``False``, or has to be awaited longer than *timeout* seconds makes it 503 and is
        named, all else about it is in the log alone. JSON, or text where ``Accept`` prefers it; never to
        be stored. Raises ``ValueError`` where *path* is taken or two checks have one name.
        """
        handler = Health(check_table(checks), check_seconds("timeout", timeout))
        server = self._server
        server._answer(path, ("GET",), Endpoint(handler, server.body_limit, of_server=True))
        return self

    def metrics(self, path: str | None = "/metrics", *, registry: CollectorRegistry | None = None) -> Self:
        """Answer GET and HEAD at *path* with what the server counts, for Prometheus: its text format, or OpenMetrics.

        Takes effect on servers that listen later. They are counted in *registry*, by default one of the
        builder's own; builders that name the same one are added up, and its page shows what others have
        registered there too (in a thread: their collectors may take their time). ``path=None`` counts without a page.
        Raises ``ImportError`` where prometheus-client is missing (``pip install 'firefly-ws[metrics]'``), and
        ``ValueError`` where *path* is taken, or this has been called already.
        """
        server = self._server
        if server.metrics_of is not None:
            raise ValueError("metrics() is set already; one registry counts a server")
        if path is None and registry is None:
            raise ValueError("metrics(path=None) needs registry=, or nobody could read what is counted")
        shown, counting = counted_in(registry)
        if path is not None:
            server._answer(path, ("GET",), Endpoint(Page(shown, registry is not None), server.body_limit))
        server.metrics_of, server.registry = counting, shown
        return self

    def asgi(
        self,
        app: Callable[..., Any],
        *,
        root_path: str = "",
        max_body_size: int | None = None,
        startup_timeout: float | None = 60,
    ) -> Self:
        """Have an ASGI 3 application (FastAPI, Starlette, Django …) take every request that no route takes.

        HTTP, websockets and the lifespan: startup comes before listening, and where it fails
        that is the error of `listen`. *root_path* is the prefix that a proxy has taken away.
        *max_body_size* (bytes) bounds a request's body; by default it is the application's to do
        so, reading pauses until it asks for more. *startup_timeout* (seconds) bounds its startup.
        Raises ``ValueError`` where there is one already.
        """
        from .asgi.hosting import Mounted

        server = self._server
        _hook("asgi", app, None if server.mounted is None else server.mounted.app, "scope", "receive", "send")
        check("root_path", root_path, str, "a str")
        if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
            raise ValueError(f"root_path={root_path!r} must begin with '/' and not end with one, or be empty")
        check_seconds("startup_timeout", startup_timeout)
        server.mounted = Mounted(app, server, root_path, check_size("max_body_size", max_body_size), startup_timeout)
        return self

    def on_not_found(self, callback: Callable[[Request], object]) -> Self:
        """Answer requests for which there is no route by ``callback(request)``: with 404, unless it says otherwise."""
        server = self._server
        server.not_found_hook = _hook("on_not_found", callback, server.not_found_hook, "request")
        return self

    def on_exception(self, callback: Callable[[Request, Exception], object]) -> Self:
        """Answer where an HTTP handler raised by ``callback(request, exception)``: with 500, unless it says otherwise.

        The exception has been logged. ``None`` leaves the answer to the library.
        """
        server = self._server
        server.exception_hook = _hook("on_exception", callback, server.exception_hook, "request", "exception")
        return self

    def timeout(self, seconds: float | None) -> Self:
        """HTTP's patience, 75 s: with an idle connection, a body, a handler's answer, a client that does not read."""
        self._server.http_timeout = check_seconds("timeout", seconds)
        return self

    def closing(
        self, code: int | CloseReason = 1001, reason: str = "", grace: float | None = 10, *, spread: float = 0
    ) -> Self:
        """How the server closes where nobody calls `Server.close`: at a signal, at the end of ``async with`` or `run`.

        All is as in `Server.close`, which does not look here. Raises ``ValueError`` for what that refuses.
        """
        self._server.how_to_close = HowToClose.checked(code, reason, grace, spread)
        return self

    def slow_callback(self, seconds: float | None) -> Self:
        """Log, with its stack, what blocks the loop for so long. ``None``: as ``FIREFLY_WS_SLOW_CALLBACK`` says."""
        self._server.slowest_callback = check_seconds("slow_callback", seconds)
        return self

    def max_connections(self, number: int | None) -> Self:
        """Connections of all kinds at a time; beyond it 503 with ``Retry-After``. ``None``: any number."""
        self._server.most_connections = check_count("max_connections", number)
        return self

    def max_connections_per_address(self, number: int | None) -> Self:
        """Connections from one IPv4 address, or one IPv6 network of 64 bits; beyond it 429 with ``Retry-After``.

        Behind a proxy all come from the proxy's. Unix sockets are not counted. ``None``: any number.
        """
        self._server.most_per_address = check_count("max_connections_per_address", number)
        return self

    def max_body_size(self, size: int | None) -> Self:
        """Bytes of a request's body, 1 MiB; beyond it 413. For all routes that set none of their own."""
        server = self._server
        server.body_limit = check_size("max_body_size", size)
        for _, place in server.routes.items():
            for endpoint in place.methods.values():
                if not endpoint.own:
                    endpoint.max_body_size = size
        return self

    def unregister(self, path: str) -> HttpServer:
        """Remove a route; open connections stay. Raises ``KeyError`` if there is none."""
        self._server.routes.remove(path)
        return self._server

    def on_upgrade(self, callback: Callable[[Request], object]) -> Self:
        """Ask ``callback(request)`` before each upgrade: ``None`` accepts, a `Response` refuses. May be async."""
        server = self._server
        server.upgrade_hook = _hook("on_upgrade", callback, server.upgrade_hook, "request")
        return self

    def secure(
        self, certificate: str | os.PathLike[str] | _ssl.SSLContext, key: str | os.PathLike[str] | None = None
    ) -> Self:
        """TLS, from a certificate chain and its key in PEM files, or from an `ssl.SSLContext` for servers."""
        if isinstance(certificate, _ssl.SSLContext):
            context = certificate
            if context.protocol == _ssl.PROTOCOL_TLS_CLIENT:
                raise ValueError(
                    f"secure({context!r}) is a context for clients, as ssl.create_default_context() makes them; "
                    "a server's is made by ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), and has a certificate"
                )
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
            except OSError as error:
                raise ValueError(f"secure({certificate!r}, {key!r}): {error.strerror}") from error
        self._server.ssl_context = context
        return self

    def listen(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | Sequence[socket.socket] | None = None,
        path: str | os.PathLike[str] | None = None,
        reuse_port: bool | None = None,
        backlog: int = 4096,
    ) -> Any:
        """Listen on *host* and *port* (0: any free one), on bound sockets, or on a unix socket's *path*.

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
        if host is not None and host.count(":") == 1:  # an IPv6 address has two at least
            raise ValueError(f"host={host!r} must be a host alone; the port comes behind it: listen('127.0.0.1', 8080)")
        sockets = () if sock is None else (sock,) if isinstance(sock, socket.socket) else sock
        check("sock", sockets, (list, tuple), "a socket or None, or several sockets")
        check("path", path, (str, bytes, os.PathLike, type(None)), "a path or None")
        check("reuse_port", reuse_port, (bool, type(None)), "a bool or None")
        if sock is not None:
            if not sockets:
                raise ValueError(f"sock={sock!r} has no socket; was none handed over?")
            for one in sockets:
                _check_listenable(one)
            what = f"{sock!r}"

            def binding(server: Server) -> Any:
                return serve_sockets(server, sockets, context, backlog)
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

        app._check()
        loop = current_loop()
        if loop is not None:
            return Server(app, loop, what)._start(binding)

        async def start() -> Any:
            running = current_loop()
            assert running is not None
            return (await Server(app, running, what)._start(binding)).threadsafe

        return submit(start, what=f"listening on {what}").result()


def _check_listenable(sock: socket.socket) -> None:
    check("sock", sock, socket.socket, "a socket")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"sock={sock!r} must be a stream socket")
    try:
        peer = sock.getpeername()
    except OSError:
        return  # as it must be
    raise ValueError(f"sock={sock!r} is connected, to {peer!r}; it must be bound, or as made")


class HttpServer(ConnectionDefaults, ServerMethods):
    """A server to be: routes and what holds for all of them."""

    def __init__(self, config: HttpConfig | None = None) -> None:
        self.config = check_config(config)
        super().__init__(self.config.policy, self.config.extensions, self.config.converter)
        self._server = self
        self.routes: RouteTable[Place[WebSocketRoute]] = RouteTable()
        self.upgrade_hook: Callable[[Request], Any] | None = None
        self.not_found_hook: Callable[[Request], Any] | None = None
        self.exception_hook: Callable[[Request, Exception], Any] | None = None
        self.mounted: Mounted | None = None
        self.metrics_of: Metrics | None = None
        self.registry: CollectorRegistry | None = None  # what it is counted in
        self.http_timeout = self.config.timeout
        self.how_to_close = HowToClose()
        self.body_limit = self.config.max_body_size
        self.most_connections = self.config.max_connections
        self.slowest_callback = self.config.slow_callback
        self.most_per_address = self.config.max_connections_per_address
        self.ssl_context: _ssl.SSLContext | None = None
        self.allowed_origins: tuple[str, ...] | None = None
        if self.default_extensions is None:
            # On by default for a client that offers it: without context takeover it costs an idle connection nothing.
            self.extensions(["permessage-deflate"])

    def _place(self, path: str) -> Place[WebSocketRoute]:
        """What stands at *path*, or a new one. ``ValueError`` for a path that is malformed, or spelled otherwise."""
        place = self.routes.at(path)
        if place is None:
            place = Place()
            self.routes.add(path, place)
        return place

    def _answer(self, path: str, methods: Iterable[str], endpoint: Endpoint) -> None:
        """Have *endpoint* answer there. ``ValueError`` where a method has one."""
        place = self._place(path)
        for name in methods:
            if name in place.methods:
                raise ValueError(f"{name} {path!r} is already registered; .unregister(path) frees it")
        place.methods.update(dict.fromkeys(methods, endpoint))

    def _check(self) -> None:
        """Raise ``ValueError`` for options of routes that do not fit together."""
        for _, place in self.routes.items():
            if place.websocket is not None:
                place.websocket.current()

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if not name.startswith("_") and hasattr(WebSocketRoute, name):
                raise AttributeError(
                    f"{name}() is a route's: http_server().websocket(path).{name}(...)", name=name, obj=self
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def origins(self, *allowed: str) -> Self:
        """The origins that browsers may connect from, as ``"https://example.com"``; ``"*"`` allows all.

        By default an ``Origin`` must have the authority of the ``Host`` header.
        """
        self.allowed_origins = check_origins(allowed)
        return self


class WebSocketRoute(ConnectionOptions, ServerMethods):
    """A path that websockets are accepted at."""

    def __init__(self, server: HttpServer, path: str) -> None:
        super().__init__(server)
        self._server = server
        self._path = path
        self.allowed_origins: tuple[str, ...] | None = None
        self.extension_hook: Callable[..., Any] | None = None
        self.sub_protocol_hook: Callable[..., Any] | None = None

    def _set(self, name: str, value: object) -> Self:
        if name in _OF_THE_SERVER:
            WebSocketPolicy().replace(**{name: value})
            raise ValueError(_of_the_server(name, value))
        return super()._set(name, value)

    def policy(self, policy: WebSocketPolicy) -> Self:
        """All limits at once; the setters change single fields of it, whatever the order of the calls.

        Raises ``ValueError`` for one of ``open_timeout``, ``max_header_size`` and ``max_header_count`` that is neither
        the server's nor the default: they hold before the route is known.
        """
        for name in _OF_THE_SERVER if isinstance(policy, WebSocketPolicy) else ():
            value = getattr(policy, name)
            if value not in (getattr(WebSocketPolicy(), name), getattr(self._server.default_policy, name)):
                raise ValueError(_of_the_server(name, value))
        return super().policy(policy)

    def origins(self, *allowed: str) -> Self:
        """As `HttpServer.origins`, for this route."""
        self.allowed_origins = check_origins(allowed)
        return self

    def on_extension_select(self, callback: AnyExtensionSelector) -> Self:
        """Have ``callback(offered, request)`` choose among the extensions a client offers, and their order.

        It returns offers, or names of them; ``[]`` for none; ``None`` leaves it to the library. It may be async.
        Only extensions of the route (`extensions`) can be agreed on.
        """
        before = self.extension_hook
        self.extension_hook = _hook("on_extension_select", callback, before, "offered", "request")
        return self

    def on_sub_protocol_select(self, callback: AnySubProtocolSelector) -> Self:
        """Have ``callback(offered, request)`` choose: one of those offered, or ``None`` for none. It may be async."""
        before = self.sub_protocol_hook
        self.sub_protocol_hook = _hook("on_sub_protocol_select", callback, before, "offered", "request")
        return self


_OF_THE_SERVER = ("open_timeout", "max_header_size", "max_header_count")


def _of_the_server(name: str, value: object) -> str:
    return (
        f"{name}={value!r} cannot hold for a route, which is not known before the head has been read; "
        f"set it for all: http_server().{name}({value!r})"
    )


def http_server(config: HttpConfig | None = None) -> HttpServer:
    """A new server builder."""
    return HttpServer(config)
