"""The way through a proxy: HTTP CONNECT (RFC 9110 §9.3.6) and SOCKS, up to where the server could be spoken to."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .errors import HandshakeError, ProxyError, WebSocketConnectionException
from .http.head import ResponseHead
from .http.said import answered, quoted
from .proxy import ProxyURL
from .url import WebSocketURL

if TYPE_CHECKING:
    from .http.head import ResponseBody, ResponseInfo

__all__ = ["PATIENCE", "Tunnel", "through_socks"]

PATIENCE: Final = 1.0
"""Seconds that what says no has for the body of its answer: the answer itself is known then."""

# Seconds: python-socks wants a limit of its own, and open_timeout is the one that counts.
_LONG: Final = 1e8
_NO_ANSWER: Final = "it ended the connection before it answered"
# SOCKS replies (RFC 1928 §6; 91 is SOCKS 4's) behind which another address of the server is worth asking for.
_ELSEWHERE: Final = frozenset({1, 3, 4, 5, 6, 8, 91})


def _failure(url: WebSocketURL, proxy: ProxyURL, what: str) -> str:
    return f"cannot connect to {url} through the proxy {proxy}: {what}"


class Tunnel(asyncio.Protocol):
    """The client's side of CONNECT; once `wait` has returned, the transport leads to the server."""

    def __init__(
        self, proxy: ProxyURL, url: WebSocketURL, limits: tuple[int | None, int | None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._proxy = proxy
        self._url = url
        self._head = ResponseHead(*limits)
        self._info: ResponseInfo | None = None
        self._body: ResponseBody | None = None
        self._transport: Any = None
        self._secrets: list[str] = []
        self._loop = loop
        self._is_over = False
        self._enough: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[None] = loop.create_future()
        # Whoever gave up before is not to be told by the loop that nobody has heard of it.
        self._opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The proxy is reached: ask it."""
        self._transport = transport
        to = self._url.authority
        credentials = b""
        if self._proxy.userinfo is not None:
            encoded = b64encode(":".join(self._proxy.userinfo).encode())
            credentials = b"Proxy-Authorization: Basic %s\r\n" % encoded
            self._secrets = [one for one in (encoded.decode(), self._proxy.userinfo[1]) if one]
        request = f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: firefly-ws\r\n".encode("ascii")
        self._transport.write(request + credentials + b"\r\n")

    def data_received(self, data: bytes) -> None:
        """Bytes of the proxy's answer."""
        if self._opened.done():
            return
        try:
            if self._info is None:
                info = self._info = self._head.feed(data)
                if info is None:
                    return
                if 200 <= info.status < 300:
                    # Whatever lengths it names, it has no body (RFC 9110 §9.3.6); and the client speaks first.
                    if self._head.rest:
                        self._fail(ProxyError(self._failure("it sent bytes behind its answer"), info.status))
                    else:
                        self._opened.set_result(None)
                    return
                self._body = info.body()
                self._enough = self._loop.call_later(PATIENCE, lambda: self._fail(self.refusal()))
                data = self._head.rest
            assert self._body is not None
            if self._body.feed(data):
                self._fail(self.refusal())
        except HandshakeError as error:
            self._fail(ProxyError(self._failure(str(error))))

    async def wait(self) -> None:
        """Return once the way is open. Raises `ProxyError`, and `HandshakeError` where it has ended since."""
        try:
            await self._opened
            if self._is_over:
                # Whoever took the transport over now would not hear of it.
                raise HandshakeError(0, message=f"{self._url}: the connection ended before the server answered")
        except BaseException:
            self._transport.abort()
            raise

    def refusal(self) -> ProxyError | None:
        """What the proxy said instead of 2xx, with as much of the body as has come; None if it said nothing yet."""
        info, body = self._info, self._body
        if info is None or body is None:
            return None
        what = f"it answered {answered(info.status, info.reason)}"
        if info.status == 407 and self._proxy.userinfo is None:
            what += "; give user and password in the proxy's URL"
        else:
            what += quoted(info.headers, body.data, self._secrets)
        return ProxyError(self._failure(what), info.status, info.headers, body.data)

    def eof_received(self) -> bool:
        """The proxy ended the connection."""
        self._is_over = True
        self._ended(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._is_over = True
        if self._enough is not None:
            self._enough.cancel()
        self._ended(error)

    def _ended(self, error: Exception | None) -> None:
        if not self._opened.done():
            failed = self.refusal()
            if failed is None:
                failed = ProxyError(self._failure(_NO_ANSWER))
                failed.__cause__ = error or ConnectionResetError("the connection ended")
            self._fail(failed)

    def _fail(self, error: ProxyError | None) -> None:
        if not self._opened.done():
            assert error is not None
            self._opened.set_exception(error)
        self._transport.abort()

    def _failure(self, what: str) -> str:
        return _failure(self._url, self._proxy, what)


class _Way:
    """Reaches a proxy as we do; python-socks, which tries one address alone, takes it for a proxy in between."""

    def __init__(self, reach: Callable[[], Awaitable[socket.socket]]) -> None:
        self._reach = reach

    async def connect(self, *_: Any, **__: Any) -> socket.socket:
        """A socket to the proxy."""
        return await self._reach()


async def through_socks(
    proxy: ProxyURL, url: WebSocketURL, hosts: Sequence[str], reach: Callable[[], Awaitable[socket.socket]]
) -> socket.socket:
    """A socket that the proxy has connected to the server, at the first of *hosts* that it can; ``reach()`` opens one
    to the proxy."""
    for host in hosts[:-1]:
        try:
            return await _ask_socks(proxy, url, host, reach)
        except ProxyError as error:
            if error.status not in _ELSEWHERE:
                raise
    return await _ask_socks(proxy, url, hosts[-1], reach)


async def _ask_socks(
    proxy: ProxyURL, url: WebSocketURL, host: str, reach: Callable[[], Awaitable[socket.socket]]
) -> socket.socket:
    from python_socks import ProxyError as Refused
    from python_socks import ProxyTimeoutError, ProxyType
    from python_socks.async_.asyncio import Proxy

    kind = ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5
    user, password = proxy.userinfo or (None, None)
    forward: Any = _Way(reach)
    way = Proxy(kind, proxy.host, proxy.port, user, password, proxy.resolves, forward)
    try:
        return await way.connect(host, url.port, timeout=_LONG)
    except Refused as error:
        if type(error.__cause__).__name__ == "IncompleteReadError":  # which has no public name
            raise ProxyError(_failure(url, proxy, _NO_ANSWER)) from ConnectionResetError("the connection ended")
        raise ProxyError(_failure(url, proxy, f"it answered: {error}"), error.error_code or 0) from error
    except (ProxyTimeoutError, WebSocketConnectionException):
        raise
    except OSError as error:
        raise ProxyError(_failure(url, proxy, error.strerror or str(error))) from error
    except ValueError as error:
        # A name that does not fit into its answer or our question.
        raise ProxyError(_failure(url, proxy, str(error))) from error
