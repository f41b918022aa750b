"""Every error the library raises; each carries its facts, the text is derived from them.

WebSocketException
 ├ WebSocketConnectionException (also OSError)   no connection came about
 │  ├ HandshakeError                             the peer answered, but not with a websocket
 │  └ ProxyError                                 the proxy refused
 ├ ConnectionClosed                              the connection has ended
 │  ├ ConnectionClosedOK                         with 1000 or 1001
 │  └ ConnectionClosedError                      with anything else
 ├ ProtocolError                                 the peer broke a rule; has the close code
 │  ├ FrameTooBig, MessageTooBig                 1009
 │  ├ InflatesTooMuch                            1009
 │  ├ RateExceeded                               1008
 │  └ InvalidPayload                             1007
 ├ PingTimeout                                   the peer was silent for too long, and did not answer a Ping
 ├ ReadTimeout                                   the peer was silent for too long
 ├ WriteTimeout                                  the peer took nothing of what it was sent for too long
 ├ QueueOverflow                                 more is waiting to be sent than allowed
 ├ ConverterNotFound                             no converter takes text, or binary messages
 └ DeserializeError                              a message does not fit the asked type
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .codes import CloseCode, CloseReason, is_sendable
from .details import CloseDetails

__all__ = [
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConverterNotFound",
    "DeserializeError",
    "FrameTooBig",
    "HandshakeError",
    "InflatesTooMuch",
    "InvalidPayload",
    "MessageTooBig",
    "PingTimeout",
    "ProtocolError",
    "ProxyError",
    "QueueOverflow",
    "RateExceeded",
    "ReadTimeout",
    "WebSocketConnectionException",
    "WebSocketException",
    "WriteTimeout",
]


class WebSocketException(Exception):
    """Base of all errors of this library. They may be copied and pickled, as for another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By default what made it would be called with the text, which is made from the facts and is none of them.
        facts = dict(self.__dict__)
        if isinstance(self, OSError) and self.errno is not None:
            facts["errno"] = self.errno
        return _again, (type(self), self.args), facts


def _again(kind: type[WebSocketException], args: tuple[object, ...]) -> WebSocketException:
    error = kind.__new__(kind)
    error.args = args
    return error


class WebSocketConnectionException(WebSocketException, OSError):
    """No connection could be made; ``__cause__`` has the operating system's error, if any.

    ``tries`` (int) is how often it was tried: more than once only with ``.reconnect()`` or ``forever()``.
    """

    tries: int = 1

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class HandshakeError(WebSocketConnectionException):
    """The server's answer was no valid upgrade (RFC 6455 §4.1).

    ``status`` (int, 0 when no status line came), ``headers`` (a mapping) and
    ``body`` (bytes, what arrived of it) are the answer's.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", message: str = ""
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.body = body
        super().__init__(message or f"the server answered {status} instead of 101 Switching Protocols")


class ProxyError(WebSocketConnectionException):
    """The proxy did not open the way, or could not be reached.

    ``status`` (int), ``headers`` (a mapping) and ``body`` (bytes) are its answer's. Of SOCKS, ``status`` is the reply's
    code (RFC 1928 §6); it is 0 where no answer came, or none that has a code.
    """

    def __init__(
        self, message: str, status: int = 0, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.body = body
        super().__init__(message)


class ConnectionClosed(WebSocketException):
    """The connection has ended, or its end has begun.

    ``reason`` is the final `CloseReason`; ``sent`` and ``received`` are those of
    the two Close frames, ``None`` where none went or came. ``details`` (`CloseDetails`) has the whole story as of the
    moment this was raised; its line is the text.
    """

    def __init__(
        self,
        reason: CloseReason,
        sent: CloseReason | None = None,
        received: CloseReason | None = None,
        doing: str = "",
        details: CloseDetails | None = None,
    ) -> None:
        self.reason = reason
        self.sent = sent
        self.received = received
        self.doing = doing
        if details is None:
            words = reason.message if received is None else ""
            details = CloseDetails(reason=reason, sent=sent, received=received, cause=words)
        self.details = details
        super().__init__(reason, sent, received, doing, details)

    def __str__(self) -> str:
        return f"{self.doing}: the connection is closed: {self.details}" if self.doing else str(self.details)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def code(self) -> int:
        """The final close code."""
        return self.reason.code


class ConnectionClosedOK(ConnectionClosed):
    """Ended with 1000 or 1001."""


class ConnectionClosedError(ConnectionClosed):
    """Ended with any other code, or without a Close frame."""


def is_of_the_end(error: BaseException | None) -> bool:
    """Whether *error* is a `ConnectionClosed`, or a group of nothing else, as a ``TaskGroup`` makes of several."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(ConnectionClosed)[1] is None
    return isinstance(error, ConnectionClosed)


class ProtocolError(WebSocketException):
    """The peer broke a rule; ``code`` is the close code it is told (RFC 6455 §7.4.1), with the beginning of the text.

    An extension of one's own raises it as well. Raises ``TypeError`` or ``ValueError`` for what no Close can say.
    """

    def __init__(self, message: str, code: int = CloseCode.PROTOCOL_ERROR) -> None:
        if not isinstance(message, str):
            raise TypeError(f"message={message!r} must be a str")
        if isinstance(code, bool) or not isinstance(code, int):
            raise TypeError(f"code={code!r} must be an int")
        if not is_sendable(code):
            raise ValueError(
                f"code={int(code)} may not be sent; allowed: 1000-1003, 1007-1014, 3000-4999 (RFC 6455 §7.4)"
            )
        self.code = int(code)
        self.message = message
        super().__init__(message)

    @property
    def close_text(self) -> str:
        """What the Close frame says: at most 123 bytes of UTF-8 (RFC 6455 §5.5)."""
        return self.message.encode(errors="replace")[:123].decode(errors="ignore")


class _TooBig(ProtocolError):
    def __init__(self, size: int, limit: int, what: str, option: str) -> None:
        self.size = size
        self.limit = limit
        self.option = option
        how = f".{option}(bytes)"
        if option == "max_size":
            how = "receive_stream(max_size=...)"
        elif option.startswith("--"):  # of a command line, uvicorn's
            how = option
        super().__init__(
            f"{what} of at least {size} bytes exceeds {option}={limit}; raise it with {how}",
            CloseCode.MESSAGE_TOO_BIG,
        )


class FrameTooBig(_TooBig):
    """A frame longer than ``max_frame_size``: ``size`` and ``limit`` in bytes, ``option`` its setter."""

    def __init__(self, size: int, limit: int, option: str = "max_frame_size") -> None:
        super().__init__(size, limit, "a frame", option)


class MessageTooBig(_TooBig):
    """A message longer than allowed: ``size`` and ``limit`` in bytes, ``option`` the limit's setter, or with uvicorn
    its option.
    """

    def __init__(self, size: int, limit: int, option: str = "max_message_size") -> None:
        super().__init__(size, limit, "a message", option)


class InflatesTooMuch(ProtocolError):
    """A message that becomes too much by inflating: ``size`` bytes, and more, of ``compressed``.

    ``limit`` is the most that the one may be of the other, and ``option`` its setter. The close code is that of a
    message that is too big (RFC 6455 §7.4.1): which of the two limits a bomb meets first is nothing to its sender.
    """

    def __init__(self, size: int, compressed: int, limit: float, option: str = "max_inflate_ratio") -> None:
        self.size = size
        self.compressed = compressed
        self.limit = limit
        self.option = option
        super().__init__(
            f"{compressed} bytes inflate to {size} and more, beyond {option}={limit:g}; "
            f"raise it with .{option}(number)",
            CloseCode.MESSAGE_TOO_BIG,
        )


class RateExceeded(ProtocolError):
    """The peer sent too fast: ``limit`` (a second), ``burst`` (seconds) and ``option``, the limit's setter."""

    def __init__(self, limit: float, burst: float, option: str) -> None:
        self.limit = limit
        self.burst = burst
        self.option = option
        what = "messages" if option == "max_message_rate" else "bytes"
        super().__init__(
            f"more {what} than {option}={limit:g} a second for {burst:g} s; raise it with .{option}({what})",
            CloseCode.POLICY_VIOLATION,
        )


class InvalidPayload(ProtocolError):
    """Text that is no UTF-8, or data that does not inflate (RFC 6455 §8.1, RFC 7692 §7.2.2)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CloseCode.INVALID_PAYLOAD)


class PingTimeout(WebSocketException):
    """The peer was silent and answered no Ping: ``silence`` and ``limit`` in seconds, and the limit's ``option``."""

    def __init__(self, silence: float, limit: float, option: str = "ping_interval + ping_timeout") -> None:
        self.silence = silence
        self.limit = limit
        self.option = option
        super().__init__(f"the peer was silent for {silence:.3g} s, more than {option} = {limit:g} s")


class ReadTimeout(WebSocketException):
    """No byte came from the peer: ``silence`` and ``limit`` in seconds."""

    def __init__(self, silence: float, limit: float) -> None:
        self.silence = silence
        self.limit = limit
        super().__init__(f"the peer was silent for {silence:.3g} s, more than read_timeout = {limit:g} s")


class WriteTimeout(WebSocketException):
    """The peer took nothing of ``waiting`` bytes: ``stuck`` and ``limit`` in seconds."""

    def __init__(self, stuck: float, limit: float, waiting: int) -> None:
        self.stuck = stuck
        self.limit = limit
        self.waiting = waiting
        super().__init__(
            f"the peer took nothing of {waiting} waiting bytes for {stuck:.3g} s, more than write_timeout = {limit:g} s"
        )


class QueueOverflow(WebSocketException):
    """A send would take what waits above the limit: ``size`` and ``limit`` in bytes, for a Ping their number.

    Nothing of the refused message was queued, and nothing queued before it is lost. ``option`` is the limit's setter.
    """

    def __init__(self, size: int, limit: int, option: str = "max_write_buffer") -> None:
        self.size = size
        self.limit = limit
        self.option = option
        if option == "max_write_buffer":
            text = f"{size} bytes would be waiting to be sent, more than {option}={limit}"
            help_ = f"await what send() returns, or raise it with .{option}(bytes)"
        else:
            text = f"{size} pings would be waiting for their pong, more than {option}={limit}"
            help_ = f"await what ping() returns, or raise it with .{option}(number)"
        super().__init__(f"{text}; {help_}")


class ConverterNotFound(WebSocketException):
    """No converter takes messages of this type, text or binary; ``frame`` is the message."""

    def __init__(self, message: str, frame: Any = None) -> None:
        self.frame = frame
        super().__init__(message)


class DeserializeError(WebSocketException):
    """A message does not fit the type asked for; ``frame`` is the message."""

    def __init__(self, message: str, frame: Any = None) -> None:
        self.frame = frame
        super().__init__(message)
