"""A connection's facts: who, where, since when, by which handshake. What runs per message is in `_core`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ._core.chain import Chain
from ._core.deflate import BoundedDeflate, Deflate
from ._core.delivery import Callbacks
from ._core.limits import Limits
from ._core.outbox import Turn
from ._core.steps import Steps
from .codes import CloseReason
from .converters import default_converters
from .receiving import Receiving
from .streaming import send_stream

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .extensions.base import AgreedExtension
    from .handshake import Agreement
    from .http.head import ResponseInfo
    from .http.request import Request
    from .policy import WebSocketPolicy
    from .threads import ThreadSafeConnection

__all__ = ["WebSocketConnection"]


class Owner(Protocol):
    """Whoever keeps a connection: a server, or a client."""

    def ended(self, connection: WebSocketConnection) -> None:
        """Its last callback has ended."""

    def answered(self, seconds: float) -> None:
        """A Ping has been answered after *seconds*; a server is told."""


class WebSocketConnection(Receiving):
    """One WebSocket connection, of a server or a client; sends, receives, closes and tells how it stands.

    It belongs to the thread of its loop; from others, use `threadsafe`.
    """

    __slots__ = ()

    #: A number that no other connection of this process has (int).
    id: int
    #: The handshake's request (`Request`).
    request: Request
    #: The handshake's answer (client; None on the server).
    response: ResponseInfo | None
    #: Whether TLS is underneath (bool).
    is_secure: bool
    #: The subprotocol agreed on (RFC 6455 §1.9; str or None).
    sub_protocol: str | None
    #: The extensions agreed on (RFC 6455 §9; a tuple), in the order of the answer.
    extensions: tuple[AgreedExtension, ...]

    def __init__(
        self,
        owner: Owner,
        limits: Limits,
        callbacks: Callbacks,
        steps: Steps,
        turn: Turn,
        agreement: Agreement,
        request: Request,
        *,
        is_client: bool,
        is_secure: bool,
        url: str | None = None,
        response: ResponseInfo | None = None,
        addresses: tuple[Any, Any] | None = None,
    ) -> None:
        deflate = chain = None
        if agreement.extensions:
            deflate, chain = coding(agreement.extensions, is_client, limits.policy)
        super().__init__(limits, callbacks, steps, turn, is_client, deflate, chain)
        sub_protocol, agreed = agreement.sub_protocol, agreement.extensions
        self._begin_with(owner, sub_protocol, agreed, request, is_secure, url, response, addresses)

    def __repr__(self) -> str:
        role = "client" if self.is_client else "server"
        return f"<WebSocketConnection {self.id} {role} {self.path} {self.state.name}>"

    @property
    def url(self) -> str:
        """``ws://`` or ``wss://``, as the client asked for it."""
        if self._url is None:
            scheme = "wss" if self.is_secure else "ws"
            self._url = f"{scheme}://{self.request.headers.get('host', '')}{self.request.target}"
        return self._url

    @property
    def path(self) -> str:
        """The path of the request, percent-decoded."""
        return self.request.path

    @property
    def path_params(self) -> Mapping[str, str]:
        """The parameters of the route's path."""
        return self.request.path_params

    @property
    def remote_address(self) -> Any:
        """The peer's address: (host, port, …) for TCP, a path for unix sockets."""
        return self.request.remote_address if self._addresses is None else self._addresses[0]

    @property
    def local_address(self) -> Any:
        """Our address; on the server None once TCP has ended."""
        if self._addresses is None:
            # A system call, and asked for rarely.
            return self._extra("sockname")
        return self._addresses[1]() if callable(self._addresses[1]) else self._addresses[1]

    @property
    def server(self) -> Any:
        """The `Server` it belongs to, None on the client."""
        return None if self.is_client else self._owner

    @property
    def client(self) -> Any:
        """The client it was made by, None on the server."""
        return self._owner if self.is_client else None

    @property
    def attributes(self) -> dict[Any, Any]:
        """A dict of the user's."""
        if self._attributes is None:
            self._attributes = {}
        return self._attributes

    @property
    def masking(self) -> bool:
        """Whether what we send is masked: on the client always, on the server never (RFC 6455 §5.1)."""
        return self.is_client

    # Live settings: checked as those of the policy are, in force at once, for this connection alone.

    def _replace(self, name: str, value: object) -> None:
        self._limit(Limits(self.policy.replace(**{name: value})), name)

    @property
    def max_message_size(self) -> int | None:
        """Bytes of a whole message, after inflation, where no limit by type holds (int).

        May be set: ``connection.max_message_size = 4096``, for this connection alone, in force at once, also for a
        message that has begun. ``None``: no limit. Raises ``TypeError`` for what is no whole number and ``ValueError``
        for one below 0, with the value and what is allowed, and ``RuntimeError`` in another thread.
        """
        return self.policy.max_message_size

    @max_message_size.setter
    def max_message_size(self, size: int | None) -> None:
        self._replace("max_message_size", size)

    @property
    def max_frame_size(self) -> int | None:
        """Bytes of one frame, as on the wire (int).

        May be set: ``connection.max_frame_size = 4096``, for this connection alone, from the next frame on. ``None``:
        no limit. Raises ``TypeError`` for what is no whole number and ``ValueError`` for one below 0, with the value
        and what is allowed, and ``RuntimeError`` in another thread.
        """
        return self.policy.max_frame_size

    @max_frame_size.setter
    def max_frame_size(self, size: int | None) -> None:
        self._replace("max_frame_size", size)

    @property
    def ping_interval(self) -> float | None:
        """Seconds of the peer's silence after which it gets a Ping (float).

        May be set: ``connection.ping_interval = 20``, for this connection alone, in force at once. ``None``: no Pings.
        Raises ``TypeError`` for what is no number and ``ValueError`` for 0 and below, with the value and what is
        allowed, and ``RuntimeError`` in another thread.
        """
        return self.policy.ping_interval

    @ping_interval.setter
    def ping_interval(self, seconds: float | None) -> None:
        self._replace("ping_interval", seconds)

    @property
    def ping_timeout(self) -> float | None:
        """Seconds of silence behind that Ping, which end the connection with `PingTimeout` (float).

        May be set: ``connection.ping_timeout = 10``, for this connection alone, in force at once. ``None``: no limit.
        Raises ``TypeError`` for what is no number and ``ValueError`` for 0 and below, with the value and what is
        allowed, and ``RuntimeError`` in another thread.
        """
        return self.policy.ping_timeout

    @ping_timeout.setter
    def ping_timeout(self, seconds: float | None) -> None:
        self._replace("ping_timeout", seconds)

    @property
    def read_timeout(self) -> float | None:
        """Seconds without a byte from the peer, which end the connection with `ReadTimeout` (float).

        May be set: ``connection.read_timeout = 60``, for this connection alone, in force at once. ``None``: no limit.
        Raises ``TypeError`` for what is no number and ``ValueError`` for 0 and below, with the value and what is
        allowed, and ``RuntimeError`` in another thread.
        """
        return self.policy.read_timeout

    @read_timeout.setter
    def read_timeout(self, seconds: float | None) -> None:
        self._replace("read_timeout", seconds)

    @property
    def write_timeout(self) -> float | None:
        """Seconds in which the peer takes nothing of what waits, which end the connection with `WriteTimeout` (float).

        May be set: ``connection.write_timeout = 10``, for this connection alone, in force at once. ``None``: no limit.
        Raises ``TypeError`` for what is no number and ``ValueError`` for 0 and below, with the value and what is
        allowed, and ``RuntimeError`` in another thread.
        """
        return self.policy.write_timeout

    @write_timeout.setter
    def write_timeout(self, seconds: float | None) -> None:
        self._replace("write_timeout", seconds)

    @property
    def open_time(self) -> float | None:
        """When it opened, seconds since the epoch."""
        return _epoch(self._times()[0])

    @property
    def close_time(self) -> float | None:
        """When TCP ended, seconds since the epoch; None before."""
        return _epoch(self._times()[1])

    @property
    def last_read(self) -> float | None:
        """When bytes last came, seconds since the epoch; None before the first."""
        return _epoch(self._times()[2]) if self.bytes_read else None

    @property
    def last_write(self) -> float | None:
        """When bytes were last sent, seconds since the epoch; None before the first."""
        return _epoch(self._times()[3])

    def send_stream(
        self, pieces: Iterable[str | Buffer] | AsyncIterable[str | Buffer], *, text: bool | None = None
    ) -> Awaitable[None]:
        """Send one message in fragments (RFC 6455 §5.4) from an iterable or async iterable; to be awaited.

        The pieces are all str (a text message) or all bytes-like (a binary one); *text* says
        which where there may be none. What is sent meanwhile waits for its end, control
        frames do not. Raises what the iterable raises, `TypeError` for other pieces, and
        `ConnectionClosed`; if a part of the message has left by then, the connection is closed
        with 1011, for its rest will never come. The same holds when it is cancelled.
        """
        return send_stream(self, pieces, text=text)

    @property
    def stats(self) -> dict[str, int]:
        """Messages and bytes in both directions, what a slow peer was not sent, and what waits to be sent."""
        return {
            "messages_received": self.messages_received,
            "messages_sent": self.messages_sent,
            "messages_dropped": self.messages_dropped,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "bytes_discarded": self.discarded,
            "buffered_amount": self.buffered_amount,
        }

    def send_serialized(self, value: object) -> Awaitable[Any]:
        """Send *value* as the first of the connection's converters has it: by default as JSON, in a text message.

        As `send`; also raises what the converter raises for a value it has no words for, ``TypeError`` as a rule.
        """
        return self.send((self._converters or default_converters()).serialize(value))

    @property
    def threadsafe(self) -> ThreadSafeConnection:
        """The same methods for other threads; each returns a handle with ``.result(timeout)``."""
        from .threads import ThreadSafeConnection

        return ThreadSafeConnection(self)

    async def __aenter__(self) -> WebSocketConnection:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # RFC 6455 §7.4.1: 1011 where an exception ends it; its text is not the peer's business.
        await self.close(1000 if kind is None else 1011)

    # For the runtime.

    async def close_gracefully(self) -> CloseReason:
        """Close with 1001."""
        reason: CloseReason = await self.close(1001)
        return reason

    def abort(self) -> None:
        """End TCP now."""
        self.terminate()


def coding(
    extensions: tuple[AgreedExtension, ...], is_client: bool, policy: WebSocketPolicy
) -> tuple[Deflate | None, Chain | None]:
    """What the core does with frames: permessage-deflate by itself, anything else as a chain."""
    threshold, ratio = policy.compression_threshold, policy.max_inflate_ratio
    links = [
        (str(extension), extension.rsv, codec)
        for extension in extensions
        if (codec := extension.codec(is_client, threshold)) is not None
    ]
    if ratio is not None:
        links = [(name, rsv, one.bounded(ratio) if isinstance(one, Deflate) else one) for name, rsv, one in links]
    if len(links) == 1:
        only = links[0][2]
        if isinstance(only, Deflate) and type(only) in (Deflate, BoundedDeflate):
            return only, None
    return None, Chain(links) if links else None


#: By how much the clock on the wall is ahead of the other one. Kept, so that a fact is the same whenever it is read.
_ahead = time.time() - time.monotonic()


def _epoch(monotonic: float) -> float | None:
    global _ahead
    if not monotonic:
        return None
    ahead = time.time() - time.monotonic()
    if abs(ahead - _ahead) > 1:  # that clock has been set
        _ahead = ahead
    return _ahead + monotonic
