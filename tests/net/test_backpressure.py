"""High water, low water and the bound above them: who waits, who does not, and that nothing is lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from judge import BINARY, PONG, TEXT
from peers import Peer, binary, eventually, ping, text

from firefly_ws import DONE, ConnectionClosedError, PerMessageDeflate, QueueOverflow

KIB, MIB = 1024, 1024 * 1024
BIG = 256 * KIB


def slow(route: Any, high: int = 64 * KIB, low: int = 16 * KIB) -> Any:
    """Water marks that a peer which does not read is soon above."""
    return route.write_high_water(high).write_low_water(low)


async def serve(net: Any, route: Any) -> tuple[Any, Peer]:
    """A server's connection, and its peer, between which the kernel keeps little."""
    server = await net.listen(route, send_buffer=8 * KIB)
    peer = await net.peer(server, receive_buffer=8 * KIB)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def fill(connection: Any) -> Any:
    """Send until a send has to be awaited, and more than TLS on both sides keeps of it."""
    waiting = [connection.send(bytes(BIG)) for _ in range(24)][-1]
    assert waiting is not DONE
    return waiting


async def drain(peer: Peer, count: int) -> None:
    """Read so many big messages, all whole, and nothing else."""
    for _ in range(count):
        one = await peer.frame()
        assert one is not None
        assert (one.opcode, len(one.payload)) == (BINARY, BIG)


async def test_a_send_returns_done_below_high_water_and_something_to_await_above(net: Any) -> None:  # F5
    connection, peer = await serve(net, slow(net.route().discard()))
    assert connection.send("small") is DONE
    assert connection.is_writable
    waiting = await fill(connection)
    assert not waiting.done()
    assert not connection.is_writable
    assert connection.buffered_amount > 64 * KIB
    assert connection.send("one more") is not DONE
    count = connection.messages_sent - 2
    await asyncio.sleep(0.03)
    assert not waiting.done()
    assert await peer.texts(1) == ["small"]
    await drain(peer, count)
    assert await peer.texts(1) == ["one more"]
    await waiting
    assert connection.is_writable
    assert connection.buffered_amount == 0
    assert connection.send("small") is DONE


async def test_it_is_resolved_below_low_water_and_not_before(plain: Any) -> None:
    connection, peer = await serve(plain, slow(plain.route().discard(), high=MIB, low=MIB // 2))
    waiting = await fill(connection)
    seen: list[int] = []
    waiting.add_done_callback(lambda _: seen.append(connection.buffered_amount))
    while not waiting.done():
        await peer.frame()
    await asyncio.sleep(0)
    assert seen
    assert seen[0] <= MIB // 2


async def test_nobody_has_to_await_it_and_the_end_is_not_logged(net: Any, errors: Any) -> None:
    connection, peer = await serve(net, slow(net.route().discard()))
    for _ in range(20):
        connection.send(bytes(BIG))
    connection.terminate()
    await connection.wait_closed()
    del connection, peer
    await asyncio.sleep(0.01)
    assert not errors()


async def test_who_awaits_a_send_when_the_connection_ends_gets_connection_closed(net: Any) -> None:
    connection, _ = await serve(net, slow(net.route().discard()))
    waiting = await fill(connection)
    asyncio.get_running_loop().call_later(0.01, connection.terminate)
    with pytest.raises(ConnectionClosedError) as caught:
        await waiting
    assert caught.value.code == 1006


async def test_cancelling_one_who_awaits_leaves_the_others_alone(net: Any) -> None:
    connection, peer = await serve(net, slow(net.route().discard()))
    waiting = await fill(connection)

    async def wait(what: Any) -> str:
        await what
        return "drained"

    one, other, third = (asyncio.ensure_future(wait(what)) for what in (waiting, waiting, connection.send(b"")))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 0.01)
    one.cancel()
    await asyncio.sleep(0.01)
    assert one.cancelled()
    assert not other.done()
    while not other.done():
        await peer.frame()
    assert await other == await third == "drained"


@pytest.mark.parametrize("returned", [True, False])
async def test_a_callbacks_own_sends_above_high_water_hold_back_its_next_message(net: Any, returned: bool) -> None:
    got: list[str] = []

    def on_text(data: str, conn: Any) -> object:
        got.append(data)
        waiting = [conn.send(bytes(BIG)) for _ in range(40)][-1]
        return waiting if returned else None

    _, peer = await serve(net, slow(net.route().on_text(on_text)))
    peer.write(text("a"), text("b"), ping(b"p"))
    await eventually(lambda: got)
    await asyncio.sleep(0.05)
    assert got == ["a"]
    pongs = 0
    for _ in range(41):
        one = await peer.frame()
        assert one is not None
        pongs += one.opcode == PONG
    assert pongs == 1, "a Pong overtakes what waits"
    await eventually(lambda: got == ["a", "b"])


async def test_an_async_callbacks_sends_behind_its_suspension_hold_back_its_next_message_too(net: Any) -> None:
    got: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        got.append(data)
        await asyncio.sleep(0.001)
        for _ in range(40):
            conn.send(bytes(BIG))
        got.append("end")

    _, peer = await serve(net, slow(net.route().on_text(on_text)))
    peer.write(text("a"), text("b"))
    await eventually(lambda: len(got) == 2)
    await asyncio.sleep(0.05)
    assert got == ["a", "end"]
    for _ in range(40):
        await peer.frame()
    await eventually(lambda: got[:3] == ["a", "end", "b"])


async def test_sends_from_elsewhere_never_hold_back_a_message(net: Any) -> None:
    got: list[str] = []
    connection, peer = await serve(net, slow(net.route().on_text(lambda data, conn: got.append(data))))
    await fill(connection)
    peer.write(text("a"), text("b"))
    await eventually(lambda: got == ["a", "b"])
    assert not connection.is_writable


async def test_sends_of_one_connections_callback_on_another_hold_back_neither(plain: Any) -> None:
    got: list[str] = []
    connections: list[Any] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        for _ in range(40):
            connections[0].send(bytes(64 * KIB))

    route = slow(plain.route().on_accept(connections.append).on_text(on_text)).max_write_buffer(None)
    server = await plain.listen(route, send_buffer=8 * KIB)
    full = await plain.peer(server, receive_buffer=8 * KIB)
    await eventually(lambda: connections)
    other = await plain.peer(server)
    other.write(text("a"), text("b"))
    await eventually(lambda: got == ["a", "b"])
    full.write(text("c"))
    await eventually(lambda: got == ["a", "b", "c"])


async def test_beyond_max_write_buffer_a_send_raises_and_loses_nothing_queued(net: Any) -> None:
    connection, peer = await serve(net, slow(net.route().discard()).max_write_buffer(MIB))
    sent = 0
    with pytest.raises(QueueOverflow) as caught:  # noqa: PT012
        while True:
            connection.send(bytes(BIG))
            sent += 1
    assert caught.value.limit == MIB
    assert caught.value.size > MIB
    assert "max_write_buffer" in str(caught.value)
    assert connection.is_open
    assert connection.messages_sent == sent
    await drain(peer, sent)
    assert connection.send("again") is DONE
    assert await peer.texts(1) == ["again"]


async def test_a_single_message_above_max_write_buffer_is_refused_whole(plain: Any) -> None:
    connection, peer = await serve(plain, slow(plain.route().discard()).max_write_buffer(MIB))
    with pytest.raises(QueueOverflow):
        connection.send(bytes(2 * MIB))
    connection.send("small")
    assert await peer.texts(1) == ["small"]


async def test_a_refused_message_leaves_the_compressors_window_as_the_peer_knows_it(plain: Any) -> None:
    route = plain.route().discard().extensions([PerMessageDeflate(context_takeover=True)])
    server = await plain.listen(slow(route).max_write_buffer(MIB), send_buffer=8 * KIB)
    got: list[str] = []
    client = await plain.connect(
        server,
        lambda b: (
            b.extensions([PerMessageDeflate(context_takeover=True)])
            .max_message_size(None)
            .on_text(lambda data, conn: got.append(data))
            .on_binary(lambda data, conn: None)
        ),
    )
    (connection,) = server.connections
    client.pause_reading()
    noise = random.Random(1).randbytes(BIG)
    with pytest.raises(QueueOverflow):  # noqa: PT012
        for _ in range(100):
            connection.send(noise)
            noise = noise[1:] + noise[:1]
            noise = bytes(byte ^ 0x5A for byte in noise)
    client.resume_reading()
    await connection.flush()
    connection.send("what comes behind it, what comes behind it")
    await eventually(lambda: got or not client.is_open)
    assert got == ["what comes behind it, what comes behind it"]


async def test_flush_resolves_once_all_has_been_written(net: Any) -> None:  # S4, C4
    connection, peer = await serve(net, slow(net.route().discard()))
    assert connection.flush() is DONE
    await fill(connection)
    flushed = connection.flush()
    await asyncio.sleep(0.02)
    assert not flushed.done()
    count = connection.messages_sent
    reading = asyncio.ensure_future(drain(peer, count))
    await asyncio.wait_for(flushed, 5)
    assert connection.buffered_amount == 0
    await reading


async def test_flush_may_be_called_behind_close_and_at_the_end(net: Any) -> None:  # S4
    connection, _ = await serve(net, slow(net.route().discard()))
    await fill(connection)
    connection.close()
    flushed = connection.flush()
    connection.terminate()
    await flushed
    await connection.wait_closed()
    await connection.flush()


async def test_reading_pauses_at_max_queue_and_resumes(net: Any) -> None:
    gate = asyncio.Event()
    got: list[str] = []

    async def on_binary(data: bytes, conn: Any) -> None:
        await gate.wait()
        got.append(str(len(data)))

    connection, peer = await serve(net, net.route().max_queue((8, None)).on_binary(on_binary))
    size = 16 * KIB
    for _ in range(600):
        peer.write(binary(bytes(size)))
    await asyncio.sleep(0.1)
    # The pending one, eight that wait, and one read that was under way.
    assert connection.messages_received <= 1 + 8 + 1
    assert connection.bytes_read < 2 * MIB
    gate.set()
    await eventually(lambda: len(got) == 600)


async def test_reading_pauses_at_max_queue_bytes_and_small_messages_count_by_number(plain: Any) -> None:
    gate = asyncio.Event()

    async def on_binary(data: bytes, conn: Any) -> None:
        await gate.wait()

    connection, peer = await serve(plain, plain.route().max_queue((None, 64 * KIB)).on_binary(on_binary))
    for _ in range(600):
        peer.write(binary(bytes(16 * KIB)))
    await asyncio.sleep(0.05)
    assert connection.messages_received <= 1 + 4 + 1
    gate.set()
    await eventually(lambda: connection.messages_received == 600)


async def test_control_frames_in_a_full_queue_are_answered_when_it_moves(plain: Any) -> None:
    gate = asyncio.Event()

    async def on_text(data: str, conn: Any) -> None:
        await gate.wait()

    _, peer = await serve(plain, plain.route().max_queue(2).on_text(on_text))
    peer.write(*[text("a")] * 5, ping(b"p"))
    assert await peer.silent(0.03)
    gate.set()
    assert await peer.frame() == (PONG, b"p")


async def test_the_clients_sends_are_held_to_the_same_marks(net: Any) -> None:
    server = await net.listen(net.route().on_text(lambda data, conn: conn.pause_reading()).on_binary(lambda d, c: None))
    client = await net.connect(server, lambda b: slow(b.discard()).max_write_buffer(None))
    client.send("pause")
    await asyncio.sleep(0.02)
    waiting = [client.send(bytes(BIG)) for _ in range(100)][-1]
    assert waiting is not DONE
    (connection,) = server.connections
    connection.resume_reading()
    await asyncio.wait_for(waiting, 5)
    await eventually(lambda: connection.messages_received == 101)


async def test_a_peer_that_never_reads_does_not_hold_a_close_longer_than_close_timeout(net: Any) -> None:
    connection, peer = await serve(net, slow(net.route().discard().close_timeout(0.1)))
    await fill(connection)
    begin = asyncio.get_running_loop().time()
    assert (await connection.close()).code == 1006
    assert 0.05 < asyncio.get_running_loop().time() - begin < 1
    peer.abort()


async def test_the_messages_before_a_close_reach_a_slow_peer_whole_and_the_close_behind_them(net: Any) -> None:
    connection, peer = await serve(net, slow(net.route().discard()))
    await fill(connection)
    connection.send("last")
    count = connection.messages_sent
    ending = connection.close(3000)
    frames = await peer.rest_until_close()
    assert len(frames) == count + 1
    assert frames[-2] == (TEXT, b"last")
    assert (await ending).code == 3000
