"""Many messages both ways: in order, compressed or not, plain and over TLS, on one connection and on fifty."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from peers import LIMIT, eventually

from firefly_ws import DONE, BinaryFrame, PingFrame, PongFrame, TextFrame

TEXTS = [f"message {index}, {'x' * (index * 37 % 400)}" for index in range(100)]


@pytest.mark.parametrize("extensions", [[], ["permessage-deflate"]], ids=["none", "permessage-deflate"])
async def test_a_hundred_messages_each_way_arrive_in_order(net: Any, extensions: list[str]) -> None:  # F7, K3, F2
    at_server: list[str] = []
    at_client: list[str] = []

    async def say_all(connection: Any) -> None:
        for one in TEXTS:
            await connection.send_text(one)

    route = net.route().extensions(extensions).on_open(say_all).on_text(lambda one, _: at_server.append(one))
    server = await net.listen(route)
    connection = await net.connect(
        server, lambda builder: builder.extensions(extensions).on_text(lambda one, _: at_client.append(one))
    )
    assert [one.name for one in connection.extensions] == extensions
    assert connection.is_secure is net.secure
    await say_all(connection)
    await eventually(lambda: len(at_server) == len(at_client) == 100)
    assert at_server == at_client == TEXTS


@pytest.mark.parametrize("count", [1, 50])
async def test_both_ends_stream_at_the_same_time_without_deadlock(net: Any, count: int) -> None:  # F12
    """Each end sends more than all buffers hold and answers for none of it: both must read while they write."""
    size, messages = 64 * 1024, 64 if count == 1 else 8
    if count == 1:
        size *= 4
    got: dict[Any, int] = {}
    everything = asyncio.Event()

    def take(data: bytes, connection: Any) -> None:
        assert data[0] == got.get(connection, 0) // size % 256
        got[connection] = got.get(connection, 0) + len(data)
        if len(got) == 2 * count and set(got.values()) == {size * messages}:
            everything.set()

    async def stream(connection: Any) -> None:
        for index in range(messages):
            await connection.send(bytes([index % 256]) + bytes(size - 1))

    def narrow(builder: Any) -> Any:
        return builder.on_binary(take).write_high_water(size).write_low_water(size // 4).extensions([])

    server = await net.listen(narrow(net.route()).on_open(stream), send_buffer=65536)
    connections = [await net.connect(server, narrow) for _ in range(count)]
    async with asyncio.timeout(6 * LIMIT):
        await asyncio.gather(*map(stream, connections))
        await everything.wait()
    assert len(server.connections) == count


async def test_each_way_to_send_returns_something_to_await(net: Any) -> None:  # F5, F3
    heard: list[Any] = []
    route = net.route().on_message(lambda frame, _: heard.append(frame)).on_ping(lambda data, _: heard.append(data))
    server = await net.listen(route)
    connection = await net.connect(server)
    assert await connection.send_text("text") is None
    assert await connection.send_data(b"data") is None
    assert await connection.send_binary(bytearray(b"binary")) is None
    assert await connection.send_frame(TextFrame("frame")) is None
    assert await connection.send_frame(PingFrame(b"ping")) > 0  # the round trip, as ping() gives
    assert await connection.send_frame(PongFrame(b"pong")) is None
    assert await connection.send("either") is None
    reason = await connection.close_async()
    assert reason.code == 1000
    assert heard == [
        TextFrame("text"),
        BinaryFrame(b"data"),
        BinaryFrame(b"binary"),
        TextFrame("frame"),
        b"ping",
        TextFrame("either"),
    ]


async def test_a_message_callback_may_return_done_or_nothing_and_reads_utf8(net: Any) -> None:  # F3
    got: list[str] = []

    def on_message(frame: Any, connection: Any) -> Any:
        if isinstance(frame, TextFrame):
            got.append(frame.payload_as_utf8)
        return DONE if len(got) % 2 else None

    connection = await net.connect(await net.listen(net.route().on_message(on_message)))
    for one in ("grüße", "", "😀"):
        connection.send(one)
    await connection.close()
    assert got == ["grüße", "", "😀"]


async def test_a_server_and_its_clients_live_on_one_loop_from_chained_calls(net: Any) -> None:  # F2, F4
    order: list[str] = []
    route = net.route().on_text(lambda one, _: order.append(one))
    server = await net.listen(route.on_accept_async(lambda connection: connection.send("Server")))
    await (
        net.builder(server)
        .on_text(lambda one, _: order.append(one))
        .connect_async(lambda connection: connection.send("Client"))
    )
    await eventually(lambda: len(order) == 2)
    assert sorted(order) == ["Client", "Server"]
    for connection in server.connections:
        await connection.close()
