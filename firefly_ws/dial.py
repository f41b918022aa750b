"""From an address to an open connection: proxy, name look-up, TCP, TLS, upgrade, redirects. Knows no frames."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl as _ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohappyeyeballs

from ._core.delivery import Callbacks
from ._core.protocol import Protocol as Wire
from ._core.steps import Steps
from .connection import WebSocketConnection
from .errors import HandshakeError, ProxyError, WebSocketConnectionException
from .handshake import make_offer, verify
from .http.head import ResponseHead
from .http.request import Request
from .http.said import answered, one_line, quoted, secrets_of
from .options import Settings
from .per_loop import runtime_of
from .proxy import ProxyURL
from .redirects import REDIRECTS, follow, is_redirect, without_credentials
from .sockets import keep_alive, no_delay
from .tunnel import PATIENCE, Tunnel, through_socks
from .turns import turn_of
from .url import WebSocketURL, without_user

if TYPE_CHECKING:
    from .http.head import ResponseBody, ResponseInfo

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
"""OpenSSL's reasons for bytes that are none of TLS."""
_WANTS_CERTIFICATE: Final = ("CERTIFICATE_REQUIRED", "certificate required", "HANDSHAKE_FAILURE", "handshake failure")
"""An alert that a server sends, TLS 1.3's and what there was before, to who has not identified himself."""

__all__ = ["ClientHandshake", "Target", "dial"]

_LONG: Final = 1e8
"""Seconds: where somebody wants a limit, and open_timeout is the one that counts."""
_A_MOMENT: Final = 0.01
"""Seconds between two looks at a unix socket whose queue is full."""


@dataclass(slots=True)
class Target:
    """Where to connect and what to say there; made by the builder, checked already."""

    url: WebSocketURL
    settings: Settings
    context: Callable[[], _ssl.SSLContext]
    """TLS for the server."""
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # they may be credentials
    origin: str | None
    owner: Any
    redirects: int = 0
    proxy: Callable[[WebSocketURL], ProxyURL | None] | None = None
    """The proxy for an address."""
    proxy_context: Callable[[], _ssl.SSLContext] | None = None
    """TLS for an https proxy."""
    unix: str | None = None
    """The path of a unix socket, instead of host and port."""
    sock: socket.socket | None = None
    """A connected socket, instead of both."""


class _Stage(Protocol):
    """What is being waited for; it may know better than the clock why nothing has come."""

    def refusal(self) -> WebSocketConnectionException | None:
        """What was answered, if it was no yes."""


async def dial(target: Target, callbacks: Callbacks) -> WebSocketConnection:
    """Connect and upgrade, all hops within ``open_timeout``; *callbacks* are the connection's."""
    seconds = target.settings.policy.open_timeout
    trying = _Dial(target, callbacks)
    try:
        async with asyncio.timeout(seconds):
            return await trying.follow()
    except TimeoutError as error:
        refusal = trying.stage.refusal() if trying.stage is not None else None
        if refusal is not None:
            raise refusal from error
        raise WebSocketConnectionException(
            f"cannot connect to {target.url}: not open within open_timeout={seconds} seconds, which ended while "
            f"{trying.doing}; .open_timeout(seconds) allows more"
        ) from error
    finally:
        if target.sock is not None and trying.stage is None:
            target.sock.close()


class _Dial:
    """One attempt at one target."""

    def __init__(self, target: Target, callbacks: Callbacks) -> None:
        self._target = target
        self._callbacks = callbacks
        self._loop = asyncio.get_running_loop()
        self.stage: _Stage | None = None
        self.doing = ""
        """What is being waited for, in words."""

    async def follow(self) -> WebSocketConnection:
        """Ask, and go on asking where the answers lead."""
        target = self._target
        url, headers = target.url, target.headers
        seen = [url]
        while True:
            try:
                return await self._ask(url, headers)
            except HandshakeError as answer:
                if not target.redirects or not is_redirect(answer):
                    raise
                found = follow(url, answer)
                if found in seen or len(seen) > target.redirects:
                    over = f"is one more than .redirects({target.redirects})"
                    why = f"leads back to {found}" if found in seen else over
                    raise HandshakeError(
                        answer.status,
                        answer.headers,
                        answer.body,
                        f"cannot connect to {target.url}: the redirect from {url} {why}",
                    ) from None
                headers = without_credentials(headers, url, found)
                seen.append(found)
                url = found

    async def _ask(self, url: WebSocketURL, headers: tuple[tuple[str, str], ...]) -> WebSocketConnection:
        target = self._target
        self.stage = None  # that of the address before has had its answer
        proxy = None if target.proxy is None else target.proxy(url)
        context = target.context() if url.secure else None
        handshake = ClientHandshake(target, url, headers, self._callbacks)
        try:
            if proxy is None or proxy.is_socks:
                await self._directly(await self._socket(proxy, url), handshake, context, url.host)
            else:
                await self._inside(await self._through(proxy, url), handshake, context, url.host)
            self.doing = f"waiting for the answer of {url}"
        except WebSocketConnectionException:
            raise
        except (OSError, _ssl.CertificateError) as error:
            if context is None and isinstance(error, OSError):
                raise _failed(f"cannot connect to {url}", error) from error
            raise _tls_failed(f"cannot connect to {url}", url.host, error, ".ssl(context)") from error
        return await handshake.wait()

    async def _socket(self, proxy: ProxyURL | None, url: WebSocketURL) -> socket.socket:
        target = self._target
        if target.sock is not None:
            return _tuned(target.sock)
        if target.unix is not None:
            return await self._connect_unix(target.unix, url)
        if proxy is not None:
            hosts = [url.host]
            if not proxy.resolves:
                family = socket.AF_INET if proxy.scheme == "socks4" else socket.AF_UNSPEC
                infos = await self._resolve(url.host, url.port, f"cannot connect to {url}", family)
                hosts = list(dict.fromkeys(info[4][0] for info in infos))
            return await through_socks(proxy, url, hosts, lambda: self._reach(proxy, url))
        return await self._connect(url.host, url.port, f"cannot connect to {url}")

    async def _directly(
        self,
        sock: socket.socket,
        stage: ClientHandshake | Tunnel,
        context: _ssl.SSLContext | None,
        host: str,
    ) -> asyncio.BaseTransport:
        """Give a connected socket to *stage*, with TLS for *host*."""
        self.stage = stage
        try:
            transport, _ = await self._loop.create_connection(
                lambda: stage, sock=sock, **({} if context is None else self._tls(context, host))
            )
        except BaseException:
            if stage._transport is not None:  # TLS stood already as the time ended
                stage._transport.abort()
            else:
                sock.close()
            raise
        return transport

    async def _inside(self, transport: Any, stage: ClientHandshake, context: _ssl.SSLContext | None, host: str) -> None:
        """Give a tunnel to *stage*, with TLS for *host* inside it."""
        self.stage = stage
        try:
            if context is None:
                transport.set_protocol(stage)
                stage.connection_made(transport)
            else:
                tls = self._tls(context, host)
                try:
                    inner: Any = await self._loop.start_tls(transport, stage, tls.pop("ssl"), **tls)
                except TypeError as error:  # CPython before 3.11.8 and 3.12.2, of TLS that ends in TLS (gh-113214)
                    raise ConnectionResetError from error
                stage.connection_made(inner)
        except BaseException:
            transport.abort()
            raise

    def _tls(self, context: _ssl.SSLContext, host: str) -> dict[str, Any]:
        """The loop's options for TLS with *host*, which is about to begin."""
        self.doing = f"agreeing on TLS with {host}"
        # SNI and certificates name no zone and no root (RFC 6066 §3). The limit is open_timeout, not one of the loop.
        name = host.partition("%")[0] if ":" in host else host.removesuffix(".")
        return {"ssl": context, "server_hostname": name, "ssl_handshake_timeout": _LONG}

    async def _connect(self, host: str, port: int, what: str) -> socket.socket:
        """Resolve and connect, trying the addresses as RFC 8305 has it."""
        infos = await self._resolve(host, port, what)
        self.doing = f"connecting to {host} port {port}"
        try:
            sock = await aiohappyeyeballs.start_connection(
                infos, happy_eyeballs_delay=0.25, interleave=1, loop=self._loop
            )
        except OSError as error:
            # The loop's own text repeats the address and leaves the reason out.
            raise _failed(f"{what}: {host} port {port}", error) from error
        return _tuned(sock)

    async def _resolve(self, host: str, port: int, what: str, family: int = socket.AF_UNSPEC) -> list[Any]:
        self.doing = f"looking up {host}"
        try:
            return await self._loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except OSError as error:
            raise WebSocketConnectionException(
                f"{what}: the host {host!r} does not resolve: {error.strerror or error}"
            ) from error

    async def _connect_unix(self, path: str, url: WebSocketURL) -> socket.socket:
        shown = path.replace("\0", "@")
        self.doing = f"waiting for room in the queue of the unix socket {shown!r}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            while True:
                try:
                    sock.connect(path)
                    return sock
                except BlockingIOError:
                    # Its backlog is full, and nothing tells when it is not (connect(2), EAGAIN); the loop's own
                    # sock_connect takes this for TCP's way of saying that it has begun.
                    await asyncio.sleep(_A_MOMENT)
        except OSError as error:
            sock.close()
            raise _failed(f"cannot connect to {url}: the unix socket {shown!r}", error) from error
        except BaseException:
            sock.close()
            raise

    async def _reach(self, proxy: ProxyURL, url: WebSocketURL) -> socket.socket:
        """A socket to the proxy itself."""
        try:
            sock = await self._connect(proxy.host, proxy.port, f"cannot connect to {url} through the proxy {proxy}")
        except WebSocketConnectionException as error:
            failed = ProxyError(str(error))
            failed.errno = error.errno
            raise failed from error.__cause__
        self.doing = f"waiting for the answer of the proxy {proxy}"
        return sock

    async def _through(self, proxy: ProxyURL, url: WebSocketURL) -> Any:
        """A transport to *url*, through an HTTP proxy."""
        what = f"cannot connect to {url} through the proxy {proxy}"
        sock = await self._reach(proxy, url)
        policy = self._target.settings.policy
        tunnel = Tunnel(proxy, url, (policy.max_header_size, policy.max_header_count), self._loop)
        context = None
        if proxy.scheme == "https":
            assert self._target.proxy_context is not None
            context = self._target.proxy_context()
        try:
            transport = await self._directly(sock, tunnel, context, proxy.host)
        except (OSError, _ssl.CertificateError) as error:
            failure = _tls_failed(what, proxy.host, error, ".proxy(url, ssl=context)")
            raise ProxyError(str(failure)) from error
        self.doing = f"waiting for the answer of the proxy {proxy}"
        await tunnel.wait()
        return transport


def _tls_failed(what: str, host: str, error: Exception, option: str) -> WebSocketConnectionException:
    if isinstance(error, _ssl.SSLCertVerificationError):
        return WebSocketConnectionException(
            f"{what}: the certificate is not valid for {host}: {error.verify_message}; "
            f"to trust another authority pass {option}"
        )
    text = _told(error) or "the server ended the connection"
    if getattr(error, "reason", None) in _NO_TLS:
        text += "; what answered was no TLS: is it a server for ws://?"
    return WebSocketConnectionException(f"{what}: TLS failed: {text}")


def _told(error: BaseException) -> str:
    """What the system, or TLS, says; of an alert that asks for a certificate how to give one."""
    text = str(error)
    if any(alert in text for alert in _WANTS_CERTIFICATE):
        text += "; the server may want a certificate of yours: context.load_cert_chain(...), .ssl(context)"
    return text


def _failed(what: str, error: OSError) -> WebSocketConnectionException:
    failed = WebSocketConnectionException(f"{what}: {os.strerror(error.errno) if error.errno else error}")
    failed.errno = error.errno
    return failed


def _tuned(sock: socket.socket) -> socket.socket:
    keep_alive(sock)
    no_delay(sock)
    return sock


class ClientHandshake(asyncio.Protocol):
    """The client's side of the upgrade: sends the request, checks the answer, hands the transport over."""

    def __init__(
        self,
        target: Target,
        url: WebSocketURL | None = None,
        headers: tuple[tuple[str, str], ...] | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        settings, policy = target.settings, target.settings.policy
        self._target = target
        self._url = target.url if url is None else url
        self._callbacks = settings.callbacks if callbacks is None else callbacks
        self._headers = target.headers if headers is None else headers
        self._offer = make_offer(
            self._url,
            extensions=settings.extensions or (),
            sub_protocols=settings.sub_protocols,
            headers=self._headers,
            origin=target.origin,
        )
        self._loop = asyncio.get_running_loop()
        self._head = ResponseHead(policy.max_header_size, policy.max_header_count)
        self._transport: Any = None
        self._info: ResponseInfo | None = None
        self._body: ResponseBody | None = None
        self._enough: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[WebSocketConnection] = self._loop.create_future()
        # Whoever gave up before is not to be told by the loop that nobody has heard of it.
        self._opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP and TLS stand: ask for the upgrade."""
        self._transport = transport
        self._transport.write(self._offer.request)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer, or behind it."""
        if self._opened.done():
            return
        try:
            if self._info is None:
                self._info = self._head.feed(data)
                if self._info is None:
                    return
                if self._info.status == 101:
                    self._begin(self._info)
                    return
                # A refusal says more in its body, and is one without.
                self._body = self._info.body()
                self._enough = self._loop.call_later(PATIENCE, lambda: self._fail(self.refusal()))
                data = self._head.rest
                if self._target.redirects and self._info.status in REDIRECTS:
                    # Nobody reads what it says beside where to go.
                    self._fail(self.refusal())
                    return
            assert self._body is not None
            if self._body.feed(data):
                self._fail(self.refusal())
        except Exception as error:
            self._fail(error)

    def _begin(self, info: ResponseInfo) -> None:
        agreement = verify(info, self._offer)
        target, transport, loop = self._target, self._transport, self._loop
        connection = WebSocketConnection(
            target.owner,
            target.settings.limits,
            self._callbacks,
            Steps(loop),
            turn_of(loop),
            agreement,
            Request("GET", self._url.target, self._offer.headers),
            is_client=True,
            is_secure=self._url.secure,
            url=str(self._url),
            response=info,
            addresses=(transport.get_extra_info("peername"), transport.get_extra_info("sockname")),
        )
        runtime = runtime_of(loop)
        runtime.track(connection)
        self._opened.set_result(connection)
        Wire(connection).open(transport, self._head.rest)

    async def wait(self) -> WebSocketConnection:
        """The connection, once the upgrade is done."""
        try:
            return await self._opened
        except BaseException:
            self._transport.abort()
            raise

    def refusal(self) -> HandshakeError | None:
        """What the server said instead of 101, with as much of the body as has come; None if it said nothing yet."""
        info, body = self._info, self._body
        if info is None or body is None:
            return None
        what = f"{self._url} answered {answered(info.status, info.reason)} instead of 101 Switching Protocols"
        location = info.headers.get("location") if info.status in REDIRECTS else None
        if location is None:
            what += quoted(info.headers, body.data, secrets_of(self._headers))
        else:
            what += f", but leads to {one_line(without_user(location))!r}"
            what += "" if self._target.redirects else "; .redirects(max) follows it"
        return HandshakeError(info.status, info.headers, body.data, what)

    def _fail(self, error: BaseException | None) -> None:
        if not self._opened.done():
            assert error is not None
            if isinstance(error, HandshakeError) and str(self._url) not in str(error):
                error.args = (f"cannot connect to {self._url}: {error}",)
            self._opened.set_exception(error)
        self._transport.abort()

    def eof_received(self) -> bool:
        """The server ended the connection: what came of its answer is all there is."""
        if self._body is not None and not self._opened.done():
            self._fail(self.refusal())
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone before the upgrade."""
        if self._enough is not None:
            self._enough.cancel()
        if self._opened.done() or self._transport is None:  # TLS failed: nobody waits for us yet
            return
        if self._body is not None:
            self._fail(self.refusal())
            return
        what = f"{self._url}: the connection ended before the server answered"
        if error is not None:
            what += f": {_told(error)}"
        failed = HandshakeError(0, message=what)
        failed.__cause__ = error
        self._opened.set_exception(failed)
