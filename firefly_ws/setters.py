"""A method for each limit, for all that has a policy; what it does with the value is the business of others."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

__all__ = ["PolicySetters"]


class PolicySetters:
    """The fields of `WebSocketPolicy` as methods: each takes a value (``None``: no limit) and returns the builder.

    Raises ``TypeError`` or ``ValueError`` that names the field, the value and what is allowed.
    """

    __slots__ = ()

    @abstractmethod
    def _set(self, name: str, value: object) -> Self:
        """Have *value* hold for the field *name*."""

    def max_message_size(self, size: int | None) -> Self:
        """Bytes of a whole message, after inflation."""
        return self._set("max_message_size", size)

    def max_text_message_size(self, size: int | None) -> Self:
        """Bytes of a text message; ``None``: as ``max_message_size``."""
        return self._set("max_text_message_size", size)

    def max_binary_message_size(self, size: int | None) -> Self:
        """Bytes of a binary message; ``None``: as ``max_message_size``."""
        return self._set("max_binary_message_size", size)

    def max_frame_size(self, size: int | None) -> Self:
        """Bytes of one data frame as on the wire."""
        return self._set("max_frame_size", size)

    def max_fragments(self, number: int | None) -> Self:
        """Frames of one message."""
        return self._set("max_fragments", number)

    def max_inflate_ratio(self, ratio: float | None) -> Self:
        """How many times as long as it came a message may become by inflating (a number, at least 1).

        It is looked at behind each 64 KiB that have been inflated: a shorter message may have any. What honest
        peers send can be compressed 1000 times (zeros, or what their window still holds): there is no limit by default.
        """
        return self._set("max_inflate_ratio", ratio)

    def open_timeout(self, seconds: float | None) -> Self:
        """Until the upgrade. Of a server, not of a route: the route is not known yet."""
        return self._set("open_timeout", seconds)

    def close_timeout(self, seconds: float | None) -> Self:
        """From our Close to the peer's."""
        return self._set("close_timeout", seconds)

    def idle_timeout(self, seconds: float | None) -> Self:
        """Without a message in either direction: then Close 1001."""
        return self._set("idle_timeout", seconds)

    def read_timeout(self, seconds: float | None) -> Self:
        """Without a byte from the peer: then the end with 1006, and `ReadTimeout`."""
        return self._set("read_timeout", seconds)

    def write_timeout(self, seconds: float | None) -> Self:
        """Without the peer taking any of the bytes that wait: then the end with 1006, and `WriteTimeout`."""
        return self._set("write_timeout", seconds)

    def ping_interval(self, seconds: float | None) -> Self:
        """Silence of the peer after which it gets a Ping."""
        return self._set("ping_interval", seconds)

    def ping_timeout(self, seconds: float | None) -> Self:
        """Silence behind that Ping: then the end with 1006, and `PingTimeout`."""
        return self._set("ping_timeout", seconds)

    def connection_timeout(self, seconds: float | None) -> Self:
        """Silence of the peer: a Ping after half of it; after all of it the end with 1006, and `PingTimeout`."""
        return self._set("connection_timeout", seconds)

    def write_high_water(self, size: int) -> Self:
        """Bytes waiting to be sent above which a send returns something to await."""
        return self._set("write_high_water", size)

    def write_low_water(self, size: int) -> Self:
        """Bytes below which it goes on."""
        return self._set("write_low_water", size)

    def max_write_buffer(self, size: int | None) -> Self:
        """Bytes above which a send raises `QueueOverflow`."""
        return self._set("max_write_buffer", size)

    def slow_consumer(self, how: str) -> Self:
        """What becomes of sends to a peer that reads too slowly.

        ``"wait"``: nothing is lost, the sender may wait; ``"close"``: beyond ``max_write_buffer`` the connection
        closes with 1013; ``"drop_oldest"``: above ``write_high_water`` the oldest messages that have not left are
        dropped; ``"latest"``: ``send_latest(data, key)`` replaces the message of that key that has not left.
        """
        return self._set("slow_consumer", how)

    def max_pending_pings(self, number: int | None) -> Self:
        """Pings whose Pong has not come, above which ``ping`` raises `QueueOverflow`."""
        return self._set("max_pending_pings", number)

    def max_queue(self, messages: int | tuple[int | None, int | None] | None) -> Self:
        """Messages waiting for a callback: their number, or (number, bytes)."""
        return self._set("max_queue", messages)

    def max_message_rate(self, number: float | None) -> Self:
        """Messages, Pings and Pongs that a peer may send a second, on average."""
        return self._set("max_message_rate", number)

    def max_byte_rate(self, size: float | None) -> Self:
        """Bytes as on the wire that a peer may send a second, on average."""
        return self._set("max_byte_rate", size)

    def rate_burst(self, seconds: float) -> Self:
        """How many seconds' worth of the two rates may come at once."""
        return self._set("rate_burst", seconds)

    def over_rate(self, how: str) -> Self:
        """Above a rate: ``"close"`` with 1008, or ``"pause"`` reading until the peer is below it."""
        return self._set("over_rate", how)

    def max_header_size(self, size: int | None) -> Self:
        """Bytes of the handshake's head. Of a server, not of a route, as `open_timeout`."""
        return self._set("max_header_size", size)

    def max_header_count(self, number: int | None) -> Self:
        """Header lines of the handshake; as `max_header_size`."""
        return self._set("max_header_count", number)

    def compression_threshold(self, size: int | None) -> Self:
        """Bytes below which a message goes uncompressed."""
        return self._set("compression_threshold", size)
