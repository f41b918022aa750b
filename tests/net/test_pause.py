"""pause_reading and resume_reading, and that one connection's flood leaves the others their turn."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from judge import CONT, KEY, PONG, frame
from peers import binary, close, eventually, ping, text

from firefly_ws import CloseReason


async def opened(net: Any, route: Any) -> tuple[Any, Any]:
    """A server's connection and its peer."""
    server = await net.listen(route)
    peer = await net.peer(server)
    await eventually(lambda: server.connections)
    (connection,) = server.connections
    return connection, peer


async def test_paused_nothing_is_delivered_and_the_peer_is_held_back(net: Any) -> None:
    got: list[int] = []
    connection, peer = await opened(net, net.route().on_binary(lambda data, conn: got.append(len(data))))
    connection.pause_reading()
    for _ in range(400):
        peer.write(binary(bytes(60_000)))
    await asyncio.sleep(0.05)
    assert got == []
    # Over TLS what has been read from the socket is ours, beside one read that was under way.
    assert connection.bytes_read < 1024 * 1024
    connection.resume_reading()
    await eventually(lambda: len(got) == 400)


async def test_sending_and_pings_of_ours_work_while_paused_and_the_pong_waits(net: Any) -> None:
    connection, peer = await opened(net, net.route().on_text(lambda data, conn: None))
    connection.pause_reading()
    connection.send("a")
    trip = connection.ping(b"p")
    assert await peer.texts(1) == ["a"]
    assert (await peer.frame()).payload == b"p"
    peer.write(b"\x8a\x81" + bytes(4) + b"p")
    await asyncio.sleep(0.03)
    assert not trip.done()
    connection.resume_reading()
    assert await trip > 0.02


async def test_pausing_and_resuming_again_and_again_changes_nothing(net: Any) -> None:
    got: list[str] = []
    connection, peer = await opened(net, net.route().on_text(lambda data, conn: got.append(data)))
    for number in range(50):
        connection.pause_reading()
        connection.pause_reading()
        peer.write(text(str(number)))
        if number % 3:
            await asyncio.sleep(0)
        connection.resume_reading()
        connection.resume_reading()
    await eventually(lambda: len(got) == 50)
    assert got == [str(number) for number in range(50)]


async def test_a_pending_callback_may_pause_and_another_task_resume(net: Any) -> None:
    got: list[str] = []

    async def on_text(data: str, conn: Any) -> None:
        await asyncio.sleep(0)
        got.append(data)
        conn.pause_reading()
        asyncio.get_running_loop().call_later(0.001, conn.resume_reading)

    _, peer = await opened(net, net.route().on_text(on_text))
    peer.write(*[text(str(number)) for number in range(20)])
    await eventually(lambda: len(got) == 20)
    assert got == [str(number) for number in range(20)]


async def test_what_came_before_a_reset_is_delivered_though_paused_behind_close_timeout(plain: Any) -> None:
    got: list[object] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        if data == "a":
            conn.pause_reading()

    route = plain.route().close_timeout(0.05).on_text(on_text).on_close(lambda conn, reason: got.append(reason.code))
    connection, peer = await opened(plain, route)
    peer.write(text("a"), text("b"))
    await eventually(lambda: got == ["a"])
    peer.abort()
    await asyncio.sleep(0.1)
    if not connection.is_closed:
        connection.resume_reading()  # a paused transport need not notice the end
    await eventually(lambda: got == ["a", "b", 1006])


async def test_a_close_behind_a_pause_takes_effect_when_resumed(net: Any) -> None:
    got: list[object] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        conn.pause_reading()

    connection, peer = await opened(net, net.route().on_text(on_text).on_close(lambda conn, reason: got.append(reason)))
    peer.write(text("a"), close(3000))
    assert await peer.silent()
    assert connection.is_open
    connection.resume_reading()
    assert [one.code for one in await peer.rest()] == [3000]
    await eventually(lambda: got == ["a", CloseReason(3000, "")])


async def test_a_flood_on_one_connection_does_not_starve_another(net: Any) -> None:
    answered = 0
    flooded = 0

    def on_text(data: str, conn: Any) -> None:
        nonlocal flooded
        if data == "x":
            flooded += 1
        else:
            conn.send(f"{flooded}")

    server = await net.listen(net.route().on_text(on_text))
    flood, other = await net.peer(server), await net.peer(server)
    flood.write(*[text("x")] * 200_000)
    while answered < 20:
        before = flooded
        other.write(text("me"))
        behind = int((await other.texts(1))[0])
        # A turn delivers no more than a few thousand; so each answer comes within a few turns.
        assert behind - before < 20_000
        answered += 1
    await eventually(lambda: flooded == 200_000)


async def test_in_one_turn_of_the_loop_a_bounded_number_of_messages_is_delivered(plain: Any) -> None:
    counts: list[int] = []
    got = 0

    def on_text(data: str, conn: Any) -> None:
        nonlocal got
        got += 1
        if got == 1:
            turn()

    def turn() -> None:
        counts.append(got)
        if got < 30_000:
            asyncio.get_running_loop().call_soon(turn)

    _, peer = await opened(plain, plain.route().on_text(on_text))
    peer.write(*[text("x")] * 30_000, ping(b"p"))
    assert await peer.frame() == (PONG, b"p")
    assert max(later - earlier for earlier, later in itertools.pairwise(counts)) <= 2 * 2048


async def test_in_one_turn_a_bounded_number_of_fragments_is_shown_to_on_frame(plain: Any) -> None:
    counts: list[int] = []
    got = 0

    def on_frame(one: Any, conn: Any) -> None:
        nonlocal got
        got += 1
        if got == 1:
            turn()

    def turn() -> None:
        counts.append(got)
        if got < 30_000:
            asyncio.get_running_loop().call_soon(turn)

    _, peer = await opened(plain, plain.route().discard().on_frame(on_frame))
    peer.write(text("", fin=False), *[frame(CONT, b"", mask=KEY, fin=False)] * 30_000, ping(b"p"))
    assert await peer.frame() == (PONG, b"p")
    assert max(later - earlier for earlier, later in itertools.pairwise(counts)) <= 2 * 2048


async def test_a_message_that_inflates_hugely_is_one_turns_work_and_others_go_on(plain: Any) -> None:
    server = await plain.listen(
        plain.route().max_message_size(None).max_queue(None).on_binary(lambda data, conn: conn.send(str(len(data))))
    )
    client = await plain.connect(
        server, lambda b: b.extensions(["permessage-deflate"]).on_text(lambda data, conn: got.append(data))
    )
    got: list[str] = []
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(got) < 40:
            asyncio.get_running_loop().call_soon(turn)

    for _ in range(40):
        client.send(bytes(1024 * 1024))
    turn()
    await eventually(lambda: len(got) == 40)
    assert got == [str(1024 * 1024)] * 40
    assert turns >= 20
