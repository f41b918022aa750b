"""How many connections a server has, and of one address; whoever is one too many is told so and let go.

Knows addresses, and of a connection nothing else. A server without these limits has
none of this: its sets are plain sets, and what it accepts begins as a `ServerHandshake`
and not at a `Gate`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, TypeVar

from .accepting import ServerHandshake
from .deadlines import Deadlines
from .http.response import Response
from .seldom import seldom

if TYPE_CHECKING:
    from .server import Server

__all__ = ["Admission", "Gate", "address_key"]

T = TypeVar("T", bound=Hashable)

PATIENCE = 1.0
"""Seconds in which who is turned away may ask, and read the answer."""
TURNED_AWAY = 256
"""So many may do so at once; beyond them a connection is reset without a word."""


def address_key(peer: Any) -> bytes | None:
    """What counts as one address: an IPv4 address, 64 bits of an IPv6 one; ``None`` for a unix socket."""
    if not isinstance(peer, tuple):
        return None
    host: str = peer[0]
    if ":" not in host:
        return host.encode()
    address = IPv6Address(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped).encode()  # on a socket of both kinds
    # A network of /64 is what one customer gets (RFC 6177): any number of addresses.
    return address.packed[:8]


class Admission:
    """The places of *server*: *most* in all and *most_of_one* for an address, ``None`` for no limit."""

    def __init__(
        self, server: Server, loop: asyncio.AbstractEventLoop, most: int | None, most_of_one: int | None
    ) -> None:
        self._server = server
        self._most = most
        self._most_of_one = most_of_one
        self._taken = 0
        self._of_one: dict[bytes, int] = {}
        self._leaving: set[Gate] = set()
        self._patience = Deadlines(loop, PATIENCE, self._tired)

    def places(self, peer: Callable[[Any], Any]) -> _Places[Any]:
        """A set whose members have a place each; *peer* tells a member's address."""
        return _Places(self, peer)

    def took(self, key: bytes | None) -> None:
        """A place has been taken."""
        self._taken += 1
        if key is not None:
            self._of_one[key] = self._of_one.get(key, 0) + 1

    def left(self, key: bytes | None) -> None:
        """It is free again."""
        self._taken -= 1
        if key is not None:
            count = self._of_one[key] - 1
            if count:
                self._of_one[key] = count
            else:
                del self._of_one[key]

    def refusal(self, peer: Any) -> Response | None:
        """What to answer to a connection from *peer*; ``None``: there is a place for it."""
        if self._most is not None and self._taken >= self._most:
            seldom(
                "max_connections", logging.WARNING,
                "%r turns connections away: it has max_connections=%d; raise it with .max_connections(number)",
                self._server, self._most,
            )  # fmt: skip
            return _answer(503, "this server has as many connections as it takes")
        key = None if self._most_of_one is None else address_key(peer)
        if key is not None and self._of_one.get(key, 0) >= self._most_of_one:  # type: ignore[operator]
            seldom(
                "max_connections_per_address", logging.WARNING,
                "%r turns %s away: it has max_connections_per_address=%d; raise it with "
                ".max_connections_per_address(number)",
                self._server, peer[0], self._most_of_one,
            )  # fmt: skip
            return _answer(429, "this address has as many connections as it may have")
        return None

    def turn_away(self, gate: Gate) -> bool:
        """Whether *gate* may wait for its answer."""
        if len(self._leaving) >= TURNED_AWAY:
            return False
        self._leaving.add(gate)
        self._patience.add(gate)
        return True

    def gone(self, gate: Gate) -> None:
        """It has left."""
        self._leaving.discard(gate)
        self._patience.discard(gate)

    def _tired(self, gate: Hashable) -> None:
        assert isinstance(gate, Gate)
        gate.abort()

    def close(self) -> None:
        """The server ends."""
        for gate in list(self._leaving):
            gate.abort()
        self._patience.clear()


class _Places(set[T]):
    """A set of a server's: who is in it has a place."""

    def __init__(self, admission: Admission, peer: Callable[[T], Any]) -> None:
        super().__init__()
        self._admission = admission
        self._peer = peer
        self._keys: dict[T, bytes | None] = {}  # an address may be unknown by the end

    def add(self, item: T) -> None:
        if item not in self:
            super().add(item)
            key = self._keys[item] = address_key(self._peer(item))
            self._admission.took(key)

    def discard(self, item: Any) -> None:
        if item in self:
            super().discard(item)
            self._admission.left(self._keys.pop(item))


class Gate(asyncio.Protocol):
    """The first that hears of a connection: lets a `ServerHandshake` have it, if there is a place for it."""

    __slots__ = ("__weakref__", "_answer", "_secure", "_server", "_transport")

    def __init__(self, server: Server, secure: bool) -> None:
        self._server = server
        self._secure = secure
        self._transport: Any = None
        self._answer: Response | None = None  # to whoever is turned away, until it has been given

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection has been accepted."""
        server = self._server
        admission = server._admission
        assert admission is not None
        server._greeting.discard(self)
        answer = None if server._shut else admission.refusal(transport.get_extra_info("peername"))
        if answer is None:
            handshake = ServerHandshake(server._waiting, self._secure)
            transport.set_protocol(handshake)
            handshake.connection_made(transport)
            return
        server.count_refused(answer.status)
        self._transport = transport
        self._answer = answer
        if not admission.turn_away(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of the request, or behind it."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        # Not before it asks: an answer to nothing would be taken for one to the next request.
        self._transport.write(answer.encode())
        if self._transport.can_write_eof():
            # What it still sends would turn our answer into a reset: it is read until it ends, or we lose patience.
            self._transport.write_eof()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        assert self._server._admission is not None
        self._server._admission.gone(self)

    def abort(self) -> None:
        """Patience, or the server, has ended."""
        self._transport.abort()


def _answer(status: int, text: str) -> Response:
    return Response.text(status, text, [("Retry-After", "5")])
