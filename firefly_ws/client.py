"""Connecting: name look-up, TCP, TLS, the upgrade, and the connection's beginning. Meets sockets; knows no frames."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl as _ssl
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs

from ._core.delivery import Callbacks
from ._core.protocol import Protocol
from ._core.steps import Steps
from .connection import WebSocketConnection
from .errors import HandshakeError, WebSocketConnectionException
from .handshake import Offer, verify
from .http.head import ResponseHead
from .http.request import Request
from .options import Settings
from .per_loop import Runtime, runtime_of
from .settled import settled
from .sockets import keep_alive, no_delay
from .turns import turn_of
from .url import WebSocketURL

if TYPE_CHECKING:
    from .http.head import ResponseBody, ResponseInfo

__all__ = ["Connecting", "Target"]

_log = logging.getLogger("firefly_ws")


@dataclass(slots=True)
class Target:
    """Where to connect and what to say there; made by the builder, checked already."""

    url: WebSocketURL
    settings: Settings
    ssl: _ssl.SSLContext | None
    offer: Callable[[], Offer]
    owner: Any


class Connecting:
    """A connect that has begun: await it, or enter it with ``async with``; an error nobody awaits is logged."""

    def __init__(
        self,
        target: Target,
        loop: asyncio.AbstractEventLoop,
        callback: Callable[[WebSocketConnection], object] | None = None,
    ) -> None:
        self._target = target
        self._callback = callback
        self._runtime: Runtime = runtime_of(loop)
        self._awaited = False
        self._connection: WebSocketConnection | None = None
        self._task: asyncio.Task[Any] = loop.create_task(self._run(), name=f"firefly_ws connect {target.url}")
        self._runtime.hold(self._task)
        self._task.add_done_callback(self._done)

    async def _run(self) -> Any:
        await self._runtime.listens_settled()
        if self._callback is None:
            return await _open(self._target, None)
        first = _First(self._callback)
        try:
            connection = await _open(self._target, first)
            await first.ended
        except asyncio.CancelledError:
            # Who waits for the callback, and gives up, has no other hold on it nor on its connection.
            first.cancel()
            raise
        return connection

    def _done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._awaited:
            self._runtime.report(error, f"connecting to {self._target.url}")

    def __await__(self) -> Generator[Any, None, Any]:
        self._awaited = True
        return self._task.__await__()

    def __repr__(self) -> str:
        return f"<connecting to {self._target.url}{', ended' if self._task.done() else ''}>"

    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done()

    def cancel(self) -> bool:
        """Stop trying; once it is open: cancel the callback of ``connect_async`` and close with 1000."""
        return self._task.cancel()

    def add_done_callback(self, callback: Callable[[asyncio.Task[Any]], object]) -> None:
        """Call ``callback(task)`` once it has ended; its error is then the callback's business."""
        self._awaited = True
        self._task.add_done_callback(callback)

    async def __aenter__(self) -> WebSocketConnection:
        connection: WebSocketConnection = await self
        self._connection = connection
        return connection

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._connection is not None
        await self._connection.__aexit__(kind, error, trace)


class _First:
    """The callback of ``connect_async``: called before the first message; its end ends the awaitable."""

    def __init__(self, callback: Callable[[WebSocketConnection], object]) -> None:
        self._callback = callback
        self._task: asyncio.Task[Any] | None = None
        self._connection: WebSocketConnection | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self, connection: WebSocketConnection) -> None:
        self._connection, self._task = connection, asyncio.current_task()
        try:
            await settled(self._callback(connection))
        except asyncio.CancelledError:
            self.ended.cancel()
            raise
        except Exception as error:
            if self.ended.cancelled():
                # Nobody awaits it any more: it is an error like that of any callback.
                raise
            # Raised where connect_async is awaited, logged there if it is not; the peer gets 1011.
            connection._fail(error)
            self.ended.set_exception(error)
        else:
            if not self.ended.done():
                self.ended.set_result(None)
        finally:
            self._task = None

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if not self.ended.cancel() and not self.ended.cancelled() and (error := self.ended.exception()) is not None:
            # It ended at the same moment.
            _log.error("the callback of connect_async raised: %r", error, exc_info=error)
        if self._connection is not None:
            if self._task is not None:
                self._task.cancel()
            self._connection.close()


async def _open(target: Target, first: _First | None) -> WebSocketConnection:
    """Connect and upgrade within ``open_timeout``."""
    seconds = target.settings.policy.open_timeout
    handshake = ClientHandshake(target, asyncio.get_running_loop(), first)
    try:
        async with asyncio.timeout(seconds):
            return await _upgrade(target, handshake)
    except TimeoutError as error:
        refusal = handshake.refusal()
        if refusal is not None:
            raise refusal from error
        raise WebSocketConnectionException(
            f"cannot connect to {target.url}: not open within open_timeout={seconds} seconds"
        ) from error


async def _upgrade(target: Target, handshake: ClientHandshake) -> WebSocketConnection:
    loop = asyncio.get_running_loop()
    url = target.url
    sock = await _connect(loop, url.host, url.port, url)
    try:
        transport, _ = await loop.create_connection(
            lambda: handshake,
            sock=sock,
            ssl=target.ssl,
            server_hostname=url.host if target.ssl is not None else None,
        )
    except _ssl.SSLCertVerificationError as error:
        raise WebSocketConnectionException(
            f"cannot connect to {url}: the certificate is not valid for {url.host}: {error.verify_message}; "
            "to trust another authority pass .ssl(context)"
        ) from error
    except (OSError, _ssl.CertificateError) as error:
        what = str(error) or "the server ended the connection"
        raise WebSocketConnectionException(f"cannot connect to {url}: TLS failed: {what}") from error
    except BaseException:
        sock.close()
        raise
    try:
        return await handshake.opened
    except BaseException:
        transport.abort()
        raise


async def _connect(loop: asyncio.AbstractEventLoop, host: str, port: int, url: WebSocketURL) -> socket.socket:
    """Resolve and connect, trying the addresses as RFC 8305 has it."""
    try:
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise WebSocketConnectionException(
            f"cannot connect to {url}: the host {host!r} does not resolve: {error.strerror or error}"
        ) from error
    try:
        sock = await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=0.25, interleave=1, loop=loop)
    except OSError as error:
        failed = WebSocketConnectionException(
            # The loop's own text repeats the address and leaves the reason out.
            f"cannot connect to {url}: {host} port {port}: {os.strerror(error.errno) if error.errno else error}"
        )
        failed.errno = error.errno
        raise failed from error
    keep_alive(sock)
    no_delay(sock)
    return sock


class ClientHandshake(asyncio.Protocol):
    """The client's side of the upgrade: sends the request, checks the answer, hands the transport over."""

    def __init__(self, target: Target, loop: asyncio.AbstractEventLoop, first: _First | None) -> None:
        self._target = target
        self._loop = loop
        self._first = first
        policy = target.settings.policy
        self._head = ResponseHead(policy.max_header_size, policy.max_header_count)
        self._offer: Offer | None = None
        self._transport: Any = None
        self._info: ResponseInfo | None = None
        self._body: ResponseBody | None = None
        self.opened: asyncio.Future[WebSocketConnection] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP and TLS stand: ask for the upgrade."""
        self._transport = transport
        self._offer = self._target.offer()
        self._transport.write(self._offer.request)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer, or behind it."""
        if self.opened.done():
            return
        try:
            if self._info is None:
                self._info = self._head.feed(data)
                if self._info is None:
                    return
                if self._info.status == 101:
                    self._begin(self._info)
                    return
                # A refusal says more in its body; open_timeout bounds the wait for it.
                self._body = self._info.body()
                data = self._head.rest
            assert self._body is not None
            if self._body.feed(data):
                self._fail(self.refusal())
        except Exception as error:
            self._fail(error)

    def _begin(self, info: ResponseInfo) -> None:
        offer = self._offer
        assert offer is not None
        agreement = verify(info, offer)
        target, transport, loop = self._target, self._transport, self._loop
        settings = target.settings
        connection = WebSocketConnection(
            target.owner,
            settings.limits,
            _with_first(settings.callbacks, self._first),
            Steps(loop),
            turn_of(loop),
            agreement,
            Request("GET", target.url.target, offer.headers),
            is_client=True,
            is_secure=target.ssl is not None,
            url=str(target.url),
            response=info,
            addresses=(transport.get_extra_info("peername"), transport.get_extra_info("sockname")),
        )
        runtime = runtime_of(loop)
        runtime.track(connection)
        self.opened.set_result(connection)
        Protocol(connection).open(transport, self._head.rest)

    def refusal(self) -> HandshakeError | None:
        """What the server said instead of 101, with as much of the body as has come; None if it said nothing yet."""
        info, body = self._info, self._body
        if info is None or body is None:
            return None
        return HandshakeError(
            info.status,
            info.headers,
            body.data,
            f"{self._target.url} answered {info.status} {info.reason} instead of 101 Switching Protocols",
        )

    def _fail(self, error: BaseException | None) -> None:
        if not self.opened.done():
            assert error is not None
            if isinstance(error, HandshakeError) and str(self._target.url) not in str(error):
                error.args = (f"cannot connect to {self._target.url}: {error}",)
            self.opened.set_exception(error)
        self._transport.abort()

    def eof_received(self) -> bool:
        """The server ended the connection: what came of its answer is all there is."""
        if self._body is not None and not self.opened.done():
            self._fail(self.refusal())
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone before the upgrade."""
        if self.opened.done():
            return
        if self._body is not None:
            self._fail(self.refusal())
            return
        failed = HandshakeError(0, message=f"{self._target.url}: the connection ended before the server answered")
        failed.__cause__ = error
        self.opened.set_exception(failed)


def _with_first(callbacks: Callbacks, first: _First | None) -> Callbacks:
    """The callbacks with ``connect_async``'s, which runs beside on_accept."""
    if first is None:
        return callbacks
    own = Callbacks()
    for slot in ("message", "text", "binary", "frame", "ping", "pong", "close", "error", "pull", "converters"):
        setattr(own, slot, getattr(callbacks, slot))
    accept = callbacks.accept
    if accept is None:
        own.accept = first
    else:

        async def both(connection: WebSocketConnection) -> None:
            value: Awaitable[None] = settled(accept(connection))
            await asyncio.gather(value, first(connection))

        own.accept = both
    return own
