"""asyncio's side of a connection: what it asks of a transport, and which it writes past."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from fakes import Log, Peer, Transport, slow, turns
from judge import BINARY, TEXT

from firefly_ws import ConnectionState
from firefly_ws._core.protocol import Protocol


class Named(Transport):
    """A transport with a socket."""

    sock: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else default


class TCPTransport(Named):
    """By its name, one of uvloop's plain ones."""


class _SelectorSocketTransport(Named):
    """By its name, asyncio's plain one."""


class SSLTransport(Named):
    """A socket is under TLS too, but nothing may be written past it."""


def opened(kind: type[Named], sock: Any) -> Peer:
    peer = Peer(start=False)
    transport = kind(asyncio.get_running_loop())
    transport.sock = sock
    peer.transport = transport
    peer.open()
    return peer


@pytest.mark.parametrize("kind", [TCPTransport, _SelectorSocketTransport])
async def test_a_plain_transport_is_written_past_while_it_holds_nothing(kind: type[Named]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = opened(kind, ours)
        # The transport tells of the first byte that it has to keep.
        assert (peer.transport.high, peer.transport.low) == (0, 0)
        peer.connection.send("past it")
        assert peer.transport.writes == []
        assert theirs.recv(100) == b"\x81\x07past it"


@pytest.mark.parametrize("why", ["TLS", "no stream", "no socket", "in memory"])
async def test_any_other_is_written_to(why: str) -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM if why == "no stream" else socket.SOCK_STREAM)
    with ours, theirs:
        kind = {"TLS": SSLTransport, "in memory": Named}.get(why, TCPTransport)
        peer = opened(kind, None if why == "no socket" else ours)
        # TLS counts "at high water" as above it: with 0 it would call itself full when it is empty.
        assert (peer.transport.high, peer.transport.low) == (1, 0)
        peer.connection.send("to it")
        assert peer.transport.writes == [b"\x81\x05to it"]
        assert peer.protocol.eof_received() is False


@pytest.mark.parametrize("kind", [TCPTransport, SSLTransport])
async def test_plain_tcp_stays_open_behind_the_peers_end_for_the_answers_to_what_came_before(kind: type[Named]) -> None:
    release = asyncio.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = opened(kind, ours)
        peer.callbacks.text = slow(release, [])
        peer.send(TEXT, b"x")
        assert peer.protocol.eof_received() is (kind is TCPTransport)
        release.set()
        await turns(5)
        if kind is TCPTransport:
            assert theirs.recv(100) == b"\x81\x0banswer to x"
            assert peer.transport.ended == "close"


async def test_opening_takes_over_then_accepts_then_delivers_what_came_with_the_handshake() -> None:
    log = Log()
    peer = Peer(start=False, **log.on("accept", "text"))
    assert peer.connection.state is ConnectionState.CONNECTING
    peer.open(peer.frame(TEXT, b"early"))
    assert peer.transport.protocol is peer.protocol
    assert peer.protocol.connection is peer.connection
    assert log == [("accept",), ("text", "early")]


async def test_a_transport_may_begin_with_it() -> None:
    log = Log()
    peer = Peer(start=False, **log.on("accept"))
    peer.protocol.connection_made(peer.transport)
    assert log == [("accept",)]
    assert peer.connection.is_open


async def test_a_handshake_that_still_waits_to_be_written_comes_first() -> None:
    peer = Peer(start=False)

    def full(high: int | None = None, low: int | None = None) -> None:
        """As a transport does that already holds more than the new limit."""
        peer.transport.paused_writing = True
        peer.transport.protocol.pause_writing()

    peer.transport.stuck = True
    peer.transport.waiting = b"HTTP/1.1 101"
    peer.transport.set_write_buffer_limits = full  # type: ignore[method-assign]
    peer.open()
    peer.connection.send("behind it")
    await turns()
    assert peer.transport.waiting == b"HTTP/1.1 101"
    peer.transport.take()
    assert b"".join(peer.transport.writes) == b"HTTP/1.1 101\x81\x09behind it"


async def test_a_protocol_is_for_one_connection_and_bytes() -> None:
    with pytest.raises(TypeError):
        Protocol(None)  # type: ignore[arg-type]
    peer = Peer()
    for data in (None, "text", bytearray(b"x")):
        with pytest.raises(TypeError):
            peer.protocol.data_received(data)  # type: ignore[arg-type]


async def test_what_comes_behind_the_end_is_counted_and_ignored() -> None:
    log = Log()
    peer = Peer(**log.on("text", "close"))
    peer.lose()
    peer.send(TEXT, b"late")
    peer.protocol.connection_lost(OSError("again"))
    peer.protocol.resume_writing()
    peer.protocol.eof_received()
    await turns()
    assert [entry[0] for entry in log] == ["close"]
    assert peer.connection.discarded == 10
    assert peer.connection.error is None


async def test_a_large_frame_is_read_straight_to_its_place_and_the_next_is_not() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sizes: list[int] = []
        peer = opened(TCPTransport, ours)
        peer.callbacks.binary = lambda data, connection: sizes.append(len(data))
        whole = peer.frame(BINARY, bytes(300_000))
        peer.feed(whole[:1000])
        reader = peer.transport.protocol
        assert isinstance(reader, asyncio.BufferedProtocol)
        rest = whole[1000:]
        while rest:
            view = reader.get_buffer(-1)
            count = min(len(view), 65536)
            view[:count] = rest[:count]
            del view
            rest = rest[count:]
            reader.buffer_updated(count)
        assert sizes == [300_000]
        assert peer.transport.protocol is peer.protocol
        peer.send(BINARY, b"small")
        assert sizes == [300_000, 5]


async def test_a_large_frame_that_is_paused_in_reads_to_a_spare_place() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sizes: list[int] = []
        peer = opened(TCPTransport, ours)
        peer.callbacks.binary = lambda data, connection: sizes.append(len(data))
        whole = peer.frame(BINARY, bytes(300_000))
        peer.feed(whole[:1000])
        reader = peer.transport.protocol
        at = 1000
        for pause in (False, True, True, False):
            if pause:
                peer.connection.pause_reading()
            view = reader.get_buffer(-1)
            count = min(len(view), 3000)
            view[:count] = whole[at : at + count]
            del view
            at += count
            reader.buffer_updated(count)
            peer.connection.resume_reading()
            await turns()
            reader = peer.transport.protocol
            if reader is peer.protocol:
                peer.feed(whole[at : at + 1000])
                at += 1000
                reader = peer.transport.protocol
        if reader is peer.protocol:
            peer.feed(whole[at:])
        else:
            while at < len(whole):
                view = reader.get_buffer(-1)
                count = min(len(view), len(whole) - at)
                view[:count] = whole[at : at + count]
                del view
                at += count
                reader.buffer_updated(count)
        assert sizes == [300_000]
