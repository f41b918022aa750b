"""The client's fluent face: stores checked values and begins connections; holds no behaviour of its own."""

from __future__ import annotations

import base64
import copy
import os
import socket
import ssl as _ssl
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, Self

from . import proxy as _proxy
from . import url as _url
from .backoff import Backoff, Reconnect
from .callables import check_callable
from .capabilities import Capability, WebSocketCapability, WebSocketExtensionsCapability
from .client import Again, Callback, Connecting, forever, keep_open, open_once, open_with
from .config import HttpConfig, check, check_config, check_context, check_port
from .connection import WebSocketConnection
from .dial import Target
from .extensions.base import Extension
from .extensions.negotiation import client_offer
from .extensions.registry import known_extensions
from .handshake import check_header
from .http.headers import header_pairs, is_token
from .options import ConnectionDefaults, ConnectionOptions, check_extensions
from .per_loop import current_loop, runtime_of
from .runtime import Handle, submit
from .unentered import Unentered

__all__ = ["HttpClient", "WebSocketClient", "http_client"]


_AGAIN: Final = Reconnect()


class _Way:
    """How to get to a server: a client has it for all its connections, a connection for itself."""

    _via: Callable[[_url.WebSocketURL], _proxy.ProxyURL | None] | None = None
    _proxy_ssl: _ssl.SSLContext | None = None

    def proxy(self, url: str | None, *, ssl: _ssl.SSLContext | None = None) -> Self:
        """Connect through this proxy; ``None``: directly, whatever the client says.

        ``http://`` and ``https://`` proxies are asked with CONNECT, ``socks4://``, ``socks4a://``, ``socks5://`` and
        ``socks5h://`` ones through python-socks (``pip install 'firefly-ws[proxy]'``); ``user:password@`` goes to the
        proxy. *ssl* is the context for an ``https`` proxy itself. Raises ``ValueError`` for any other URL and
        ``ImportError`` where python-socks is missing; a proxy that refuses gives a `ProxyError`.
        """
        found = None if url is None else _proxy.parse(url)
        check_context(ssl, optional=True, not_for=_ssl.PROTOCOL_TLS_SERVER)
        if ssl is not None and (found is None or found.scheme != "https"):
            raise ValueError(f"ssl={ssl!r}: the proxy {found} has no TLS to set up, only an https:// one has")
        self._via = lambda _: found
        self._proxy_ssl = ssl
        return self

    def _way(self) -> tuple[Callable[[_url.WebSocketURL], _proxy.ProxyURL | None] | None, _ssl.SSLContext | None]:
        return self._via, self._proxy_ssl

    def proxy_from_env(self) -> Self:
        """Connect through the proxy that the environment names when a connection begins.

        HTTPS_PROXY for ``wss``, HTTP_PROXY for ``ws``, else ALL_PROXY, unless NO_PROXY lists the host. A value that
        is no proxy's URL raises from ``connect``, naming the variable.
        """
        self._via = lambda url: _proxy.from_environment(url, os.environ)
        self._proxy_ssl = None
        return self


class HttpClient(ConnectionDefaults, Unentered, _Way):
    """Makes connections; its settings hold for all that set none of their own."""

    _entered_as = "async with client.websocket(url) as connection"

    def __init__(self, config: HttpConfig | None = None) -> None:
        self.config = check_config(config)
        super().__init__(self.config.policy, self.config.extensions, self.config.converter)
        check_context(self.config.ssl, optional=True, not_for=_ssl.PROTOCOL_TLS_SERVER)
        self._ssl = self.config.ssl

    def ssl(self, context: _ssl.SSLContext) -> Self:
        """TLS with this context for all ``wss`` connections that set none of their own."""
        check_context(context, optional=False, not_for=_ssl.PROTOCOL_TLS_SERVER)
        self._ssl = context
        return self

    def extensions(self, extensions: Iterable[str | Extension]) -> Self:
        """As `HttpServer.extensions`; ``ValueError`` also for an order that no server can agree to."""
        return super().extensions(_check_offered(extensions))

    def is_supported(self, capability: Capability) -> bool:
        """Whether this client can do it: `WebSocketCapability`, `WebSocketExtensionsCapability`."""
        check("capability", capability, Capability, "a capability, as WebSocketCapability")
        if capability is WebSocketExtensionsCapability:
            return bool(self.supported_extensions())
        return capability is WebSocketCapability

    def supported_extensions(self) -> tuple[str, ...]:
        """The names that ``.extensions([...])`` takes."""
        return known_extensions()

    def websocket(
        self, url: str | None = None, port: int | None = None, path: str | None = None, *, host: str | None = None
    ) -> WebSocketClient:
        """A connection to be: from a URL (``ws://`` or ``wss://``), or from host, port and path, also by these names.

        Raises ``ValueError`` for another scheme, a ``#fragment``, or no host.
        """
        where = _one_of(url, host)
        if port is None and path is None and "://" in where:
            return WebSocketClient(self, _url.parse(where))
        return self._parts("ws", where, port, path)

    def ws(
        self, url: str | None = None, port: int | None = None, path: str | None = None, *, host: str | None = None
    ) -> WebSocketClient:
        """The same as `websocket`."""
        return self.websocket(url, port, path, host=host)

    def wss(
        self, url: str | None = None, port: int | None = None, path: str | None = None, *, host: str | None = None
    ) -> WebSocketClient:
        """The same with TLS; from host, port (443) and path, or from a ``wss://`` URL."""
        where = _one_of(url, host)
        if port is None and path is None and "://" in where:
            parsed = _url.parse(where)
            if not parsed.secure:
                raise ValueError(f"wss({_url.without_user(where)!r}): the URL's scheme must be wss")
            return WebSocketClient(self, parsed)
        return self._parts("wss", where, port, path)

    def _parts(self, scheme: str, host: str, port: int | None, path: str | None) -> WebSocketClient:
        path = "/" if path is None else path
        check("path", path, str, "a str")
        if not path.startswith("/"):
            raise ValueError(f"path={path!r} must start with '/'")
        if port is not None:
            check_port(port, 1)
        if not host or set(host) & set("/?#@\\"):
            shown = _url.without_user(f"//{host}")[2:]
            raise ValueError(f"{shown!r} is no host name; give a URL alone, or host, port and path")
        if host.count(":") == 1:  # an IPv6 address has two at least
            raise ValueError(f"{host!r} is no host name; a URL begins with ws:// or wss://, as '{scheme}://{host}'")
        name = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return WebSocketClient(self, _url.parse(f"{scheme}://{name}{'' if port is None else f':{port}'}{path}"))

    def ended(self, connection: WebSocketConnection) -> None:
        """*connection*'s last callback has ended; from the connection."""
        runtime_of(connection.loop).untrack(connection)


class WebSocketClient(ConnectionOptions, _Way):
    """A connection to be, to one URL."""

    _receives = True

    def __init__(self, client: HttpClient, url: _url.WebSocketURL) -> None:
        super().__init__(client)
        self._client = client
        self._url = url
        self._headers: list[tuple[str, str]] = []
        self._cookies: dict[str, str] = {}
        self._ssl: _ssl.SSLContext | None = None
        self._origin: str | None = None
        self._redirects = 0
        self._unix: str | None = None
        self._reconnect: Reconnect | None = None
        self._entered: Connecting | None = None
        if url.userinfo is not None:
            self.basic_auth(*url.userinfo)

    def extensions(self, extensions: Iterable[str | Extension]) -> Self:
        """As `WebSocketRoute.extensions`; ``ValueError`` also for an order that no server can agree to."""
        return super().extensions(_check_offered(extensions))

    def header(self, name: str, value: str) -> Self:
        """Add a header to the request; ``ValueError`` for one that the handshake itself sends, or with a line break.

        ``Authorization`` replaces what was set before; ``Cookie`` and ``Origin`` may be set once.
        """
        check_header(name, value)
        lowered = name.lower()
        if lowered == "authorization":
            return self._authorization(value)
        if lowered == "cookie" and any(old.lower() == "cookie" for old, _ in self._headers):
            raise ValueError(f"header {name!r}: Cookie is set already, and comes once (RFC 6265 §5.4)")
        if lowered == "origin" and self._origin is not None:
            raise ValueError(f"header {name!r}={value!r}: .origin({self._origin!r}) has set it already")
        self._headers.append((name, value))
        return self

    def headers(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Self:
        """Add several; see `header`. ``TypeError`` for what is neither a mapping nor pairs."""
        for name, value in header_pairs(headers):
            self.header(name, value)
        return self

    def basic_auth(self, user: str, password: str) -> Self:
        """``Authorization: Basic`` (RFC 7617); a URL's ``user:password@`` does the same."""
        check("user", user, str, "a str")
        _check_secret("password", password)
        if ":" in user:
            raise ValueError(f"user={user.partition(':')[0] + ':***'!r} may have no ':' (RFC 7617 §2)")
        return self._authorization("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def bearer(self, token: str) -> Self:
        """``Authorization: Bearer`` (RFC 6750)."""
        _check_secret("token", token)
        if not token:
            raise ValueError("bearer(''): the token is empty")
        return self._authorization(f"Bearer {token}")

    def _authorization(self, value: str) -> Self:
        check_header("Authorization", value)
        return self._replace("Authorization", value)

    def _replace(self, name: str, value: str) -> Self:
        self._headers = [(one, old) for one, old in self._headers if one.lower() != name.lower()]
        self._headers.append((name, value))
        return self

    def cookies(self, cookies: Mapping[str, str]) -> Self:
        """``Cookie`` (RFC 6265 §4.2); called again it adds to the ones before, and replaces those of the same name."""
        if not isinstance(cookies, Mapping):
            raise TypeError(f"cookies must be a mapping of str to str, not {type(cookies).__name__}")
        for name, value in cookies.items():
            check("cookie", name, str, "a str")
            _check_secret(f"cookie {name!r}", value)
            if not is_token(name):
                raise ValueError(f"cookie {name!r}: its name must be a token: letters, digits, !#$%&'*+-.^_`|~")
            if any(sign in value for sign in ";,\r\n\t\0 "):
                raise ValueError(f"cookie {name!r}: no blanks, commas or semicolons (RFC 6265 §4.1.1)")
            check_header("Cookie", f"{name}={value}")
        if not self._cookies and any(name.lower() == "cookie" for name, _ in self._headers):
            raise ValueError("cookies(): .header('Cookie', ...) has set it already, and it comes once (RFC 6265 §5.4)")
        self._cookies.update(cookies)
        if not self._cookies:
            return self
        return self._replace("Cookie", "; ".join(f"{name}={value}" for name, value in self._cookies.items()))

    def origin(self, value: str) -> Self:
        """``Origin``, as a browser would send it."""
        check_header("Origin", value)
        if any(name.lower() == "origin" for name, _ in self._headers):
            raise ValueError(f"origin({value!r}): .header('Origin', ...) has set it already")
        self._origin = value
        return self

    def ssl(self, context: _ssl.SSLContext) -> Self:
        """TLS with this context; by default certificates are verified against the system's authorities."""
        check_context(context, optional=False, not_for=_ssl.PROTOCOL_TLS_SERVER)
        if not self._url.secure:
            raise ValueError(f"ssl(): {self._url} is not wss, there is no TLS to set up")
        self._ssl = context
        return self

    def redirects(self, max: int) -> Self:
        """Follow up to so many redirects (301, 302, 303, 307, 308); 0, the default, follows none, as browsers do.

        None leads from ``wss`` to ``ws``; to another origin Authorization and Cookie do not go along.
        """
        if isinstance(max, bool) or not isinstance(max, int):
            raise TypeError(f"redirects({max!r}): the number must be an int, not {type(max).__name__}")
        if max < 0:
            raise ValueError(f"redirects({max!r}): the number must be at least 0")
        self._redirects = max
        return self

    def unix(self, path: str | os.PathLike[str]) -> Self:
        """Connect to the unix socket at *path*; the URL still gives the Host header, the path, and TLS.

        A path that begins with a NUL is one of Linux's abstract ones.
        """
        check("path", path, (str, bytes, os.PathLike), "a path")
        if not hasattr(socket, "AF_UNIX"):
            raise ValueError(f"unix({path!r}): this system has no unix sockets")
        if not path:
            raise ValueError(f"unix({path!r}): the path is empty")
        self._unix = os.fsdecode(path)
        return self

    def reconnect(
        self,
        *,
        base_delay: float = _AGAIN.base_delay,
        max_delay: float = _AGAIN.max_delay,
        factor: float = _AGAIN.factor,
        max_tries: int | None = _AGAIN.max_tries,
        retry_if: Callable[[Exception], object] = _AGAIN.retry_if,
        before_try: Callable[[WebSocketClient], object] | None = _AGAIN.before_try,
    ) -> Self:
        """Try again: `connect` until it is open, `connect_async` also when it is lost, `forever` as set here.

        Before each try but the first it waits a random part of *base_delay* seconds, of *factor* times that, and so
        on, up to *max_delay*; the answers 429 and 503 may ask for more (Retry-After), also up to *max_delay*. After
        *max_tries* tries without a connection it raises `WebSocketConnectionException`, whose ``tries`` says how often
        and whose ``__cause__`` why. ``retry_if(error)`` says whether an error is worth another try, a
        `ConnectionClosed` standing for a lost connection; by default it is for the network's errors, timeouts, 429,
        5xx and every loss. ``before_try(builder)``, plain or async, may change a copy of this builder for each try.
        """
        self._reconnect = Reconnect(base_delay, max_delay, factor, max_tries, retry_if, before_try)
        return self

    def _target(self, sock: socket.socket | None = None) -> Target:
        given = {"proxy()": self._via, "unix()": self._unix, "sock=": sock, "redirects()": self._redirects or None}
        ways = [name for name, value in given.items() if value is not None]
        if len(ways) > 1 and ways != ["proxy()", "redirects()"]:
            raise ValueError(f"{self._url}: {' and '.join(ways)} exclude each other")
        via, proxy_ssl = (self if self._via is not None else self._client)._way()
        if self._unix is not None or sock is not None:
            via = None
        if via is not None:
            via(self._url)  # raises at once for a variable that is no proxy's address
        context = self._ssl or self._client._ssl
        if self._url.secure and context is None:
            # The first one reads all of the system's authorities: not a matter of open_timeout.
            context = _default_context()
        return Target(
            self._url,
            self.current(),
            lambda: context or _default_context(),
            tuple(self._headers),
            self._origin,
            self._client,
            self._redirects,
            via,
            lambda: proxy_ssl or _default_context(),
            self._unix,
            sock,
        )

    def connect(self, *, sock: socket.socket | None = None) -> Any:
        """Connect. Inside a running loop: begins at once; ``await`` it or enter it with ``async with``.

        In a plain script it returns a `Handle` whose ``result(timeout)`` is the connection. *sock* is a connected
        stream socket to use; it belongs to the connection from now on, also if that does not come about.
        Raises, where it is awaited, `WebSocketConnectionException` and its kinds.
        """
        target = self._begin(sock)
        if self._reconnect is None:
            return self._connect(lambda: open_once(target), sock)
        return self._connect(self._again(self._reconnect).open)

    def connect_async(self, callback: Callback, *, sock: socket.socket | None = None) -> Any:
        """Connect, and call ``callback(connection)`` once open; what is returned ends when the callback has ended.

        With `reconnect`, the connection is made again, and the callback called again, when it is lost: by anything but
        a Close of ours. What is returned then ends, with the last connection, once we have closed it; a callback
        that still runs when its connection is lost is cancelled, and one that raises ends it all with its error.
        """
        check_callable(f"connect_async({callback!r})", callback, "connection")
        target = self._begin(sock)
        if self._reconnect is None:
            return self._connect(lambda: open_with(target, callback), sock)
        again = self._again(self._reconnect)
        return self._connect(lambda: keep_open(again, callback))

    def forever(self) -> AsyncGenerator[WebSocketConnection, None]:
        """``async for connection in builder.forever()``: an open connection, and another when the body is done with it.

        A connection still open at the end of the body is closed with 1000. The next one is tried as `reconnect` says,
        at once if we closed the last one. It ends when the loop's runtime does; leave it with ``break``. Raises what
        is not worth another try.
        """
        self._begin(None)
        return forever(self._again(self._reconnect or _AGAIN))

    def _begin(self, sock: socket.socket | None) -> Target:
        """The target as it is now; raises for what cannot be."""
        check("sock", sock, (socket.socket, type(None)), "a socket or None")
        if sock is not None:
            if self._reconnect is not None:
                raise ValueError(f"sock={sock!r} is one connection: reconnect() has nothing to make another from")
            _check_connected(sock)
        return self._target(sock)

    def _again(self, strategy: Reconnect, **how: Any) -> Again:
        def attempt() -> tuple[object, Callable[[], Target]]:
            # Options are read at each try. The hook gets a copy: what it adds must not add up.
            if strategy.before_try is None:
                return None, self._target
            one = self._copy()
            return strategy.before_try(one), one._target

        return Again(self._url, attempt, Backoff(strategy), **how)

    def _copy(self) -> WebSocketClient:
        other = copy.copy(self)
        for name in ("_headers", "_cookies", "_callbacks", "_policy_changes"):
            setattr(other, name, copy.copy(getattr(self, name)))
        return other

    def _connect(
        self, work: Callable[[], Coroutine[Any, Any, WebSocketConnection]], sock: socket.socket | None = None
    ) -> Any:
        unused = None
        if sock is not None:
            unused = sock.close
            _given.add(sock)
        loop = current_loop()
        if loop is not None:
            return Connecting(self._url, loop, work, unused)

        async def start(take: Callable[[], bool]) -> WebSocketConnection:
            running = current_loop()
            assert running is not None
            connection: WebSocketConnection = await Connecting(self._url, running, work, unused)
            if not take():  # cancelled just as it opened: nobody has it, and it would hold the script for ever
                connection.close()
            return connection

        handle: Handle[WebSocketConnection] = submit(start, what=f"connecting to {self._url}", takes=True)
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


def http_client(config: HttpConfig | None = None) -> HttpClient:
    """A new client builder."""
    return HttpClient(config)


def _one_of(url: str | None, host: str | None) -> str:
    """What came as the first argument, or by the name of what it is."""
    if url is not None and host is not None:
        raise TypeError("url and host exclude each other: give a URL alone, or host, port and path")
    name, where = ("url", url) if host is None else ("host", host)
    check(name, where, str, "a str: a URL, or a host with port and path")
    assert where is not None
    return where


def _check_offered(extensions: Iterable[str | Extension]) -> tuple[Extension, ...]:
    """*extensions* as objects; raises where they could not be offered."""
    checked = check_extensions(extensions)
    client_offer(checked)
    return checked


def _check_secret(name: str, value: object) -> None:
    """``TypeError`` where *value*, which is not shown, is no str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def _default_context() -> _ssl.SSLContext:
    global _context
    if _context is None:
        _context = _ssl.create_default_context()
    return _context


_context: _ssl.SSLContext | None = None


_given: weakref.WeakSet[socket.socket] = weakref.WeakSet()
"""Sockets that have become a connection's: a second one would break the first."""


def _check_connected(sock: socket.socket) -> None:
    if isinstance(sock, _ssl.SSLSocket):
        raise ValueError(f"sock={sock!r} speaks TLS already: give the plain socket, and a wss:// URL")
    if sock in _given:
        raise ValueError(f"sock={sock!r} was given to another connection, and belongs to it")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"sock={sock!r} must be a stream socket")
    try:
        sock.getpeername()
    except OSError as error:
        raise ValueError(f"sock={sock!r} must be connected: {error.strerror}") from None
