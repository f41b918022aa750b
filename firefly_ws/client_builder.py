"""The client's fluent face: stores checked values and begins connections; holds no behaviour of its own."""

from __future__ import annotations

import base64
import ssl as _ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from . import url as _url
from .client import Connecting, Target
from .config import HttpConfig, check, check_config, check_context, check_port
from .connection import WebSocketConnection
from .handshake import Offer, check_header, make_offer
from .options import ConnectionDefaults, ConnectionOptions
from .per_loop import current_loop
from .runtime import Handle, submit

__all__ = ["HttpClient", "WebSocketClient", "http_client"]


class HttpClient(ConnectionDefaults):
    """Makes connections; its settings hold for all that set none of their own."""

    def __init__(self, config: HttpConfig | None = None) -> None:
        self.config = check_config(config)
        super().__init__(self.config.policy, self.config.extensions, self.config.converter)

    def websocket(self, url: str, port: int | None = None, path: str | None = None) -> WebSocketClient:
        """A connection to be: from a URL (``ws://`` or ``wss://``), or from host, port and path.

        Raises ``ValueError`` for another scheme, a ``#fragment``, or no host.
        """
        check("url", url, str, "a str: a URL, or a host with port and path")
        if port is None and path is None and "://" in url:
            return WebSocketClient(self, _url.parse(url))
        return self._parts("ws", url, port, path)

    def ws(self, url: str, port: int | None = None, path: str | None = None) -> WebSocketClient:
        """The same as `websocket`."""
        return self.websocket(url, port, path)

    def wss(self, url: str, port: int | None = None, path: str | None = None) -> WebSocketClient:
        """The same with TLS; from host, port (443) and path, or from a ``wss://`` URL."""
        check("url", url, str, "a str: a URL, or a host with port and path")
        if port is None and path is None and "://" in url:
            parsed = _url.parse(url)
            if not parsed.secure:
                raise ValueError(f"wss({url!r}): the URL's scheme must be wss")
            return WebSocketClient(self, parsed)
        return self._parts("wss", url, port, path)

    def _parts(self, scheme: str, host: str, port: int | None, path: str | None) -> WebSocketClient:
        path = "/" if path is None else path
        check("path", path, str, "a str")
        if not path.startswith("/"):
            raise ValueError(f"path={path!r} must start with '/'")
        if port is not None:
            check_port(port, 1)
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

    _receives = True

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
        check("headers", headers, (Mapping, Iterable), "a mapping or pairs")
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            self.header(name, value)
        return self

    def basic_auth(self, user: str, password: str) -> Self:
        """``Authorization: Basic`` (RFC 7617); a URL's ``user:password@`` does the same."""
        check("user", user, str, "a str")
        check("password", password, str, "a str")
        if ":" in user:
            raise ValueError(f"user={user!r} may have no ':' (RFC 7617 §2)")
        return self._authorization("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def bearer(self, token: str) -> Self:
        """``Authorization: Bearer`` (RFC 6750)."""
        check("token", token, str, "a str")
        return self._authorization(f"Bearer {token}")

    def _authorization(self, value: str) -> Self:
        check_header("Authorization", value)
        self._headers = [(name, old) for name, old in self._headers if name != "Authorization"]
        self._headers.append(("Authorization", value))
        return self

    def cookies(self, cookies: Mapping[str, str]) -> Self:
        """``Cookie`` (RFC 6265 §4.2)."""
        check("cookies", cookies, Mapping, "a mapping of str to str")
        for name, value in cookies.items():
            check("cookie", name, str, "a str")
            check(f"cookie {name!r}", value, str, "a str")
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
        check_context(context, optional=False)
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


def http_client(config: HttpConfig | None = None) -> HttpClient:
    """A new client builder."""
    return HttpClient(config)


def _default_context() -> _ssl.SSLContext:
    global _context
    if _context is None:
        _context = _ssl.create_default_context()
    return _context


_context: _ssl.SSLContext | None = None
