"""When bytes leave: one write a turn, what may overtake what, partial writes, masks."""

from __future__ import annotations

import asyncio
import os
import socket
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import MASK, Peer, Transport, turns
from judge import BINARY, CLOSE, PING, TEXT, Event, close_payload, frame, judge

from firefly_ws import DONE
from firefly_ws._core.outbox import Outbox, Turn


def stuck(**how: Any) -> Peer:
    """A connection whose peer reads nothing."""
    peer = Peer(**how)
    peer.transport.stuck = True
    return peer


# ---- when it leaves ------------------------------------------------------------------------------------------------


async def test_the_first_send_of_a_turn_leaves_at_once_and_the_others_at_its_end() -> None:
    peer = Peer()
    for number in range(10):
        peer.connection.send(str(number))
    assert peer.got == [("text", "0")]
    await turns(1)
    assert len(peer.transport.writes) == 2
    assert peer.got == [("text", str(number)) for number in range(10)]
    await turns(1)
    peer.connection.send("next")
    assert peer.got[-1] == ("text", "next")


async def test_flush_does_not_wait_for_the_turn() -> None:
    peer = Peer()
    peer.connection.send("0")
    peer.connection.send("1")
    assert peer.connection.flush() is DONE
    assert peer.got == [("text", "0"), ("text", "1")]
    await turns()
    assert len(peer.transport.writes) == 2


async def test_close_does_not_wait_for_the_turn_nor_overtakes() -> None:
    peer = Peer()
    peer.connection.send("0")
    peer.connection.send("1")
    peer.connection.close()
    assert peer.got == [("text", "0"), ("text", "1"), ("close", 1000, "")]


async def test_one_turn_serves_all_connections_of_a_loop() -> None:
    turn = Turn(asyncio.get_running_loop())
    peers = [Peer(turn=turn) for _ in range(5)]
    for text in ("a", "b", "c"):
        for peer in peers:
            peer.connection.send(text)
    await turns(1)
    for peer in peers:
        assert len(peer.transport.writes) == 2
        assert peer.got == [("text", "a"), ("text", "b"), ("text", "c")]


async def test_a_send_from_a_callback_to_another_connection_leaves_with_it() -> None:
    other = Peer()
    peer = Peer(text=lambda text, connection: other.connection.send(text))
    peer.feed(peer.frame(TEXT, b"1"), peer.frame(TEXT, b"2"))
    await turns(1)
    assert other.got == [("text", "1"), ("text", "2")]


async def test_a_batch_of_answers_that_grows_large_is_written_on_the_way() -> None:
    peer = Peer(binary=lambda data, connection: connection.send(data))
    peer.feed(*[peer.frame(BINARY, bytes(10_000))] * 40)
    assert 1 < len(peer.transport.writes) < 40
    assert len(peer.got) == 40


async def test_a_connection_that_ends_within_the_turn_is_left_alone_at_its_end() -> None:
    peer = Peer()
    peer.connection.send("0")
    peer.connection.send("never leaves")
    peer.connection.terminate()
    await turns()
    assert peer.got == [("text", "0")]


# ---- what may overtake what ----------------------------------------------------------------------------------------


def sent(peer: Peer) -> list[Event]:
    """All of it, also what the peer has not read."""
    return judge(b"".join(peer.transport.writes) + peer.transport.waiting, "client", max_message_size=None)


async def test_a_pong_overtakes_whole_frames_that_wait_and_only_the_newest_is_sent() -> None:
    peer = stuck()
    peer.connection.send("given to the transport")
    await turns()
    for number in range(3):
        peer.connection.send(f"waits {number}")
    peer.feed(peer.frame(PING, b"old"))
    peer.feed(peer.frame(PING, b"older"), peer.frame(PING, b"newest"))
    peer.connection.send("waits too")
    peer.transport.take()
    await turns()
    assert peer.got == [
        ("text", "given to the transport"), ("pong", b"newest"), ("text", "waits 0"), ("text", "waits 1"),
        ("text", "waits 2"), ("text", "waits too"),
    ]  # fmt: skip


async def test_nothing_overtakes_what_the_transport_has_in_part() -> None:
    peer = stuck()
    peer.connection.send("x" * 100)
    await turns()
    peer.transport.take(50)
    peer.send(PING, b"p")
    assert judge(b"".join(peer.transport.writes), "client") == []
    peer.transport.take()
    await turns()
    assert peer.got == [("text", "x" * 100), ("pong", b"p")]


async def test_a_close_never_overtakes() -> None:
    peer = stuck()
    peer.connection.send("first")
    await turns()
    peer.connection.send("second")
    peer.send(PING, b"p")
    ending = peer.connection.close(1000, "last")
    peer.transport.take()
    await turns()
    assert peer.got == [("text", "first"), ("pong", b"p"), ("text", "second"), ("close", 1000, "last")]
    peer.send(CLOSE, close_payload(1000))
    assert await ending == (1000, "")


async def test_tcp_ends_only_behind_the_last_byte() -> None:
    peer = stuck()
    peer.connection.send("first")
    await turns()
    peer.connection.send("second")
    peer.send(CLOSE, close_payload(1000))
    await turns()
    assert not peer.transport.ended
    peer.transport.take()
    assert peer.transport.ended == "close"
    assert peer.got == [("text", "first"), ("text", "second"), ("close", 1000, "")]


async def test_a_peer_that_reads_nothing_does_not_keep_a_closing_connection() -> None:
    peer = stuck(limits={"close_timeout": 0.01})
    peer.connection.send("first")
    await turns()
    peer.connection.send("second")
    await asyncio.wait_for(peer.connection.close(), 5)
    assert peer.transport.ended == "abort"
    assert peer.connection.buffered_amount == 0


async def test_a_lingering_end_waits_for_its_close_to_be_written() -> None:
    peer = stuck()
    peer.connection.send("first")
    await turns()
    peer.send(3)
    assert not peer.transport.eof_written
    peer.transport.take()
    assert peer.transport.eof_written
    assert peer.got[-1][:2] == ("close", 1002)


async def test_flush_resolves_once_all_is_written_also_while_closing() -> None:
    peer = stuck()
    peer.connection.send("first")
    await turns()
    peer.connection.send("second")
    first = peer.connection.flush()
    peer.connection.close()
    second = peer.connection.flush()
    await turns()
    assert not first.done()  # type: ignore[attr-defined]
    peer.transport.take()
    await asyncio.wait_for(asyncio.gather(first, second), 1)
    assert peer.connection.flush() is DONE
    peer.lose()
    assert peer.connection.flush() is DONE


async def test_flush_ends_with_the_connection_and_never_raises() -> None:
    peer = stuck()
    peer.connection.send("first")
    await turns()
    waiting = peer.connection.flush()
    peer.lose(OSError())
    await asyncio.wait_for(waiting, 1)


async def test_bytes_written_counts_what_the_transport_got() -> None:
    peer = Peer()
    peer.connection.send("12345")
    await turns()
    assert peer.connection.bytes_written == 7
    peer.transport.stuck = True
    peer.connection.send("12345")
    await turns()
    assert peer.connection.bytes_written == 14
    peer.connection.send("12345")
    await turns()
    assert (peer.connection.bytes_written, peer.connection.buffered_amount) == (14, 14)


async def test_a_mutable_payload_may_change_behind_the_send() -> None:
    peer = stuck()
    data = bytearray(b"a" * 100_000)
    peer.connection.send(data)
    data[:] = b"b" * 100_000
    peer.connection.send(data)
    data.clear()
    peer.transport.take()
    await turns()
    assert peer.got == [("binary", b"a" * 100_000), ("binary", b"b" * 100_000)]


# ---- straight to the descriptor ------------------------------------------------------------------------------------


class TCPTransport(Transport):
    """One whose name says that its socket may be written to directly; what it gets itself it writes there too."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ours: socket.socket) -> None:
        super().__init__(loop)
        self.sock = ours

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else default

    def write(self, data: Any) -> None:
        self.waiting += bytes(data)
        self.work()

    def work(self) -> None:
        while self.waiting:
            try:
                self.waiting = self.waiting[self.sock.send(self.waiting) :]
            except BlockingIOError:
                break
        if bool(self.waiting) != self.paused_writing:
            self.paused_writing = bool(self.waiting)
            (self.protocol.pause_writing if self.waiting else self.protocol.resume_writing)()


class Pipe(Peer):
    """A connection on a pair of sockets with small buffers; the peer reads when it is told to."""

    def open(self, rest: bytes = b"") -> None:
        ours, self.theirs = socket.socketpair()
        for one in (ours, self.theirs):
            one.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                one.setsockopt(socket.SOL_SOCKET, option, 8192)
        self.transport = self.direct = TCPTransport(asyncio.get_running_loop(), ours)
        self.taken = bytearray()
        super().open(rest)

    def read(self, count: int = 1 << 30) -> None:
        while count > 0:
            try:
                data = self.theirs.recv(min(count, 65536))
            except BlockingIOError:
                break
            self.taken += data
            count -= len(data)
        self.direct.work()

    async def read_all(self) -> list[Event]:
        size = -1
        while size != len(self.taken):
            size = len(self.taken)
            self.read()
            await asyncio.sleep(0)
        role = "server" if self.is_client else "client"
        return judge(bytes(self.taken), role, max_message_size=None, deflate=self.deflated)


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    made: list[Pipe] = []
    yield made
    for pipe in made:
        pipe.direct.sock.close()
        pipe.theirs.close()


def pipe(pipes: list[Pipe], **how: Any) -> Pipe:
    pipes.append(Pipe(**how))
    return pipes[-1]


async def test_while_the_socket_takes_it_the_transport_hears_nothing(pipes: list[Pipe]) -> None:
    peer = pipe(pipes)
    peer.connection.send("hello")
    assert peer.direct.waiting == b""
    assert await peer.read_all() == [("text", "hello")]
    assert peer.connection.bytes_written == 7


@pytest.mark.parametrize("is_client", [False, True])
@pytest.mark.parametrize("size", [100, 16_383, 16_384, 20_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, str])
async def test_what_the_socket_does_not_take_goes_on_through_the_transport(
    pipes: list[Pipe], is_client: bool, size: int, kind: Any
) -> None:
    peer = pipe(pipes, is_client=is_client, limits={"max_write_buffer": None})
    contents = [bytes([65 + number]) * size for number in range(4)]
    for content in contents:
        peer.connection.send(content.decode() if kind is str else kind(content))
        peer.connection.ping()
    got = await peer.read_all()
    plain = [what.encode() if isinstance(what, str) else what for _, what in got]
    assert plain[::2] == contents
    assert [name for name, _ in got][1::2] == ["ping"] * 4
    assert peer.connection.buffered_amount == 0
    assert peer.connection.bytes_written == len(peer.taken)


async def test_large_answers_of_one_batch_keep_their_order(pipes: list[Pipe]) -> None:
    peer = pipe(pipes, text=lambda text, connection: [connection.send(text), connection.send(bytes(int(text)))])
    sizes = [1, 20_000, 5, 70_000, 16_384, 3]
    peer.feed(*[frame(TEXT, b"%d" % size, mask=MASK) for size in sizes])
    got = await peer.read_all()
    assert got == [one for size in sizes for one in (("text", str(size)), ("binary", bytes(size)))]


async def test_a_pong_overtakes_there_too(pipes: list[Pipe]) -> None:
    peer = pipe(pipes)
    peer.connection.send(b"a" * 100_000)
    assert peer.direct.paused_writing
    peer.connection.send(b"b" * 10)
    peer.feed(frame(PING, b"p", mask=MASK))
    got = await peer.read_all()
    assert [name for name, _ in got] == ["binary", "pong", "binary"]


# ---- its parts -----------------------------------------------------------------------------------------------------


async def test_an_outbox_knows_its_loops_turn() -> None:
    turn = Turn(asyncio.get_running_loop())
    assert turn.loop is asyncio.get_running_loop()
    Outbox(turn, masked=True)
    with pytest.raises(TypeError):
        Outbox(None, masked=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_forked_child_does_not_repeat_its_parents_masks() -> None:
    """RFC 6455 §5.3: a mask must not be predictable, and the parent's next ones are the child's."""

    def masks(peer: Peer) -> list[bytes]:
        for _ in range(20):
            peer.connection.send(b"")
        peer.connection.flush()
        stream = b"".join(peer.transport.writes)
        return [stream[at + 2 : at + 6] for at in range(0, len(stream), 6)]

    masks(Peer(is_client=True))
    reading, writing = os.pipe()
    child = Peer(is_client=True)
    parent = Peer(is_client=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the threads that other tests have left: the child uses none
        process = os.fork()
    if process == 0:
        try:
            os.write(writing, b"".join(masks(child)))
        finally:
            os._exit(0)
    theirs = os.read(reading, 1000)
    os.waitpid(process, 0)  # noqa: ASYNC222 - it has written, so it has ended
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 80
    assert not {theirs[at : at + 4] for at in range(0, 80, 4)} & set(masks(parent))


async def test_a_transport_that_raises_at_the_end_of_the_turn_does_not_hold_up_those_behind_it() -> None:
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    turn = Turn(loop)
    first, second, third = (Peer(turn=turn) for _ in range(3))

    def broken(data: object) -> None:
        raise RuntimeError("of the second")

    for peer in (first, second, third):
        peer.connection.send("1")
        peer.connection.send("2")
    second.transport.write = broken  # type: ignore[method-assign]
    await turns()
    assert first.got == third.got == [("text", "1"), ("text", "2")]
    assert [str(one["exception"]) for one in reported] == ["of the second"]
    third.connection.send("3")
    third.connection.send("4")
    await turns()
    assert third.got[-1] == ("text", "4")
