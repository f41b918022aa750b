"""The limits of a connection and their defaults; checked when written, never when a message passes."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import Any

__all__ = ["KIB", "MIB", "WebSocketPolicy"]

KIB = 1024
MIB = 1024 * KIB

_SECONDS = (
    "open_timeout",
    "close_timeout",
    "idle_timeout",
    "read_timeout",
    "write_timeout",
    "ping_interval",
    "ping_timeout",
    "connection_timeout",
)
_SIZES = (
    "max_message_size",
    "max_text_message_size",
    "max_binary_message_size",
    "max_frame_size",
    "max_write_buffer",
    "max_header_size",
    "compression_threshold",
)
_COUNTS = ("max_fragments", "max_header_count", "max_pending_pings")
_WATER = ("write_high_water", "write_low_water")
# No time at all is a choice here: not to wait for the peer's Close. Who writes 0 elsewhere means "off", which is None.
_MAY_BE_ZERO = ("close_timeout",)
_MOST = sys.maxsize  # what the core counts with
_RATIOS = ("max_inflate_ratio",)
_RATES = ("max_message_rate", "max_byte_rate", "rate_burst")
_CHOICES = {
    "over_rate": ("close", "pause"),
    "slow_consumer": ("wait", "close", "drop_oldest", "latest"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSocketPolicy:
    """Limits of one connection. Sizes are bytes, times are seconds, ``None`` switches a limit off.

    Raises `TypeError` or `ValueError` from the constructor, naming the field, the
    value and what is allowed.
    """

    max_message_size: int | None = MIB
    """A whole message, after inflation, summed over its fragments."""
    max_text_message_size: int | None = None
    """Overrides ``max_message_size`` for text; ``None`` leaves it in force."""
    max_binary_message_size: int | None = None
    """Overrides ``max_message_size`` for binary messages; ``None`` leaves it in force."""
    max_frame_size: int | None = None
    """One data frame as on the wire, control frames have 125 at most; the message limit holds anyway."""
    max_fragments: int | None = 131072
    """Frames of one message: they are appended to one buffer, so they cost bytes, not objects."""
    max_inflate_ratio: float | None = None
    """How many times as long a message may become by inflating, counted from 64 KiB on."""
    open_timeout: float | None = 10.0
    """From the first packet to the upgrade (server), from name look-up to the upgrade (client)."""
    close_timeout: float | None = 10.0
    """From our Close to the peer's, and for callbacks that are still running when the peer's Close came."""
    idle_timeout: float | None = None
    """Without a message in either direction."""
    read_timeout: float | None = None
    """Without a byte from the peer."""
    write_timeout: float | None = 30.0
    """Without progress while bytes wait to be sent."""
    ping_interval: float | None = None
    """Silence of the peer after which a Ping is sent; off by default, as in Ktor."""
    ping_timeout: float | None = 20.0
    """Silence after that Ping which ends the connection."""
    connection_timeout: float | None = None
    """Kitura's: a Ping after half of it in silence, the end after all of it."""
    write_high_water: int = MIB
    """Above it a send returns something to await, and a callback's connection waits."""
    write_low_water: int = 256 * KIB
    """Drained below it, they go on."""
    max_write_buffer: int | None = 16 * MIB
    """Above it a send raises `QueueOverflow`."""
    slow_consumer: str = "wait"
    """A peer that reads too slowly: ``wait``, ``close`` with 1013, ``drop_oldest``, or the ``latest`` of each key."""
    max_pending_pings: int | None = 64
    """Pings of `ping` whose Pong has not come; above it `ping` raises `QueueOverflow`."""
    max_queue: tuple[int | None, int | None] = (64, MIB)
    """Messages waiting for a callback or a reader: their number and their bytes; reading pauses beyond."""
    max_message_rate: float | None = None
    """Messages, Pings and Pongs of the peer, a second on average."""
    max_byte_rate: float | None = None
    """Bytes of its frames as on the wire, a second on average."""
    rate_burst: float = 5.0
    """How many seconds' worth of both may come at once."""
    over_rate: str = "close"
    """What a peer above a rate gets: ``close`` with 1008, or a ``pause`` of reading until it is below it."""
    max_header_size: int | None = 16 * KIB
    """The whole head of a handshake, first line included."""
    max_header_count: int | None = 128
    """Header lines of a handshake."""
    compression_threshold: int | None = 64
    """Shorter messages go uncompressed; ``None`` compresses all."""

    def __post_init__(self) -> None:
        for name in _SECONDS:
            beyond = name not in _MAY_BE_ZERO
            _check(name, getattr(self, name), (int, float), 0, "seconds", optional=True, beyond=beyond)
        for name in _SIZES:
            _check(name, getattr(self, name), (int,), 0, "bytes", optional=True)
        for name in _COUNTS:
            _check(name, getattr(self, name), (int,), 1, "", optional=True)
        for name in _RATIOS:
            _check(name, getattr(self, name), (int, float), 1, "", optional=True)
        for name in _WATER:
            _check(name, getattr(self, name), (int,), 0, "bytes", optional=False)
        for name in _RATES:
            _check_rate(name, getattr(self, name), optional=name != "rate_burst")
        for name, allowed in _CHOICES.items():
            _check_choice(name, getattr(self, name), allowed)
        if self.write_low_water > self.write_high_water:
            raise ValueError(
                f"write_low_water={self.write_low_water} is above write_high_water={self.write_high_water}; "
                "it must be at most that"
            )
        object.__setattr__(self, "max_queue", _queue(self.max_queue))

    def replace(self, **changes: Any) -> WebSocketPolicy:
        """A copy with some fields changed; the same checks, the same errors."""
        unknown = changes.keys() - POLICY_FIELDS
        if unknown:
            raise TypeError(f"unknown policy field {sorted(unknown)[0]!r}; known: {', '.join(sorted(POLICY_FIELDS))}")
        return dataclasses.replace(self, **changes)

    def text_limit(self) -> int | None:
        """The size limit of text messages, in bytes."""
        return self.max_message_size if self.max_text_message_size is None else self.max_text_message_size

    def binary_limit(self) -> int | None:
        """The size limit of binary messages, in bytes."""
        return self.max_message_size if self.max_binary_message_size is None else self.max_binary_message_size


POLICY_FIELDS = frozenset(field.name for field in dataclasses.fields(WebSocketPolicy))


def _check(
    name: str, value: object, kinds: tuple[type, ...], least: int, unit: str, *, optional: bool, beyond: bool = False
) -> None:
    """*value* is one of *kinds*, and at least *least*, or *beyond* it."""
    if value is None and optional:
        return
    rest = f"{' ' + unit if unit else ''}{', or None for no limit' if optional else ''}"
    allowed = f"{'more than' if beyond else 'at least'} {least}{rest}"
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name}={value!r} must be {'a number' if float in kinds else 'an int'}, {allowed}")
    number: Any = value
    if not (number > least if beyond else number >= least):  # NaN fails here too
        raise ValueError(f"{name}={value!r} must be {allowed}")
    _check_most(name, number, rest)


def _check_most(name: str, value: float, rest: str) -> None:
    if isinstance(value, int) and value > _MOST:
        raise ValueError(f"{name}={value!r} must be at most {_MOST}{rest}")


def _check_rate(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    unit = "seconds" if name == "rate_burst" else "a second"
    rest = f" {unit}{', or None for no limit' if optional else ''}"
    allowed = f"more than 0{rest}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}={value!r} must be a number, {allowed}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name}={value!r} must be {allowed}")
    _check_most(name, value, rest)


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(f"{name}={value!r} must be {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}")


def _queue(value: object) -> tuple[int | None, int | None]:
    """`max_queue` as (messages, bytes); a single number bounds the messages and leaves the bytes."""
    if value is None:
        return (None, None)
    pair = value if isinstance(value, tuple) else (value, MIB)
    if len(pair) != 2:
        raise TypeError(f"max_queue={value!r} must be a number of messages, or (messages, bytes)")
    _check("max_queue", pair[0], (int,), 1, "message", optional=True)
    _check("max_queue", pair[1], (int,), 1, "bytes", optional=True)
    return pair
