"""Receiving by asking, over sockets: handlers, iteration, channels, who receives where, and what the end leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from peers import LIMIT, binary, close, eventually, ping, text
from peers import Frame as Seen

from firefly_ws import (
    BinaryFrame,
    CloseFrame,
    CloseReason,
    ConnectionClosedError,
    ConnectionClosedOK,
    Frame,
    TextFrame,
    http_server,
)


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(LIMIT):
        return await awaitable


async def test_a_handler_loops_over_what_comes_and_closes_on_bye(net: Any) -> None:  # S2
    async def serve(connection: Any) -> None:
        async for frame in connection.incoming:
            match frame:
                case TextFrame(said):
                    await connection.outgoing.send(TextFrame(f"YOU SAID: {said}"))
                    if said.lower() == "bye":
                        connection.outgoing.close(CloseReason(1000, "Client said BYE"))

    server = await net.listen(net.route().handler(serve))
    connection = await net.connect(server)
    connection.send("hello")
    connection.send("Bye")
    assert [frame async for frame in connection.incoming] == [
        TextFrame("YOU SAID: hello"),
        TextFrame("YOU SAID: Bye"),
        CloseFrame(1000, "Client said BYE"),
    ]
    assert connection.close_reason == (1000, "Client said BYE")


async def test_a_handler_over_a_filtered_stream_of_texts(net: Any) -> None:  # S3
    async def serve(connection: Any) -> None:
        async for said in connection.texts():
            connection.send(f"YOU SAID {said}")

    peer = await net.serve(net.route().handler(serve))
    peer.write(text("a"), binary(b"left out"), text("b"))
    assert await peer.texts(2) == ["YOU SAID a", "YOU SAID b"]


async def test_binaries_leave_texts_out(plain: Any) -> None:
    got: list[bytes] = []

    async def serve(connection: Any) -> None:
        async for data in connection.binaries():
            got.append(data)

    peer = await plain.serve(plain.route().handler(serve))
    peer.write(text("a"), binary(b"1"), binary(), close())
    await peer.rest()
    assert got == [b"1", b""]


async def test_the_client_receives_without_a_callback_and_scoped_use_closes_with_1000(net: Any) -> None:  # C3
    reasons: list[Any] = []
    route = net.route().on_message(lambda frame, connection: connection.send(frame))
    server = await net.listen(route.on_close(lambda connection, reason: reasons.append(reason)))
    async with net.builder(server) as connection:
        connection.send("text")
        connection.send(b"data")
        assert await soon(connection.receive_text()) == "text"
        assert await soon(connection.receive_data()) == b"data"
    await eventually(lambda: reasons)
    assert reasons == [(1000, "")]


async def test_connect_async_receives_too_and_beside_on_open(plain: Any) -> None:
    got: list[Any] = []
    server = await plain.listen(plain.route().on_message(lambda frame, connection: connection.send(frame)))

    async def talk(connection: Any) -> None:
        connection.send("x")
        got.append(await connection.receive())
        await connection.close()

    await soon(plain.builder(server).on_open(lambda connection: got.append("open")).connect_async(talk))
    assert got == ["open", "x"]


async def test_a_handler_on_the_client_closes_when_it_returns(plain: Any) -> None:
    server = await plain.listen(plain.route().on_message(lambda frame, connection: connection.send(frame)))
    got: list[Any] = []

    async def talk(connection: Any) -> None:
        connection.send("x")
        got.append(await connection.receive())

    connection = await plain.builder(server).handler(talk).connect()
    assert await soon(connection.wait_closed()) == (1000, "")
    assert got == ["x"]


async def test_incoming_as_a_channel_gives_messages_the_close_and_then_raises(net: Any) -> None:  # C4
    async def serve(connection: Any) -> None:
        connection.send("1")
        connection.send(b"2")
        await connection.flush()

    server = await net.listen(net.route().handler(serve))
    connection = await net.connect(server)
    frames: list[Frame] = [await soon(connection.incoming.receive()) for _ in range(3)]
    assert frames == [TextFrame("1"), BinaryFrame(b"2"), CloseFrame(1000)]
    with pytest.raises(ConnectionClosedOK):
        await connection.incoming.receive()
    assert [frame async for frame in connection.incoming] == []


async def test_outgoing_sends_by_type_and_flush_may_follow_the_close(plain: Any) -> None:  # C4, S4
    async def serve(connection: Any) -> None:
        for one in ("text", b"data", bytearray(b"array"), TextFrame("frame")):
            connection.outgoing.send(one)
        connection.outgoing.close(3000, "bye")
        await connection.outgoing.flush()
        await connection.flush()

    peer = await plain.serve(plain.route().handler(serve))
    frames = await peer.rest_until_close()
    assert frames[:-1] == [Seen(1, b"text"), Seen(2, b"data"), Seen(2, b"array"), Seen(1, b"frame")]
    assert (frames[-1].code, frames[-1].reason) == (3000, "bye")


async def test_without_a_close_from_the_peer_incoming_raises_and_shows_no_close_frame(plain: Any) -> None:
    raised: list[Any] = []

    async def serve(connection: Any) -> None:
        try:
            async for frame in connection.incoming:
                raised.append(frame)
        except ConnectionClosedError as error:
            raised.append(error.code)

    peer = await plain.serve(plain.route().handler(serve))
    peer.write(text("x"))
    await eventually(lambda: raised)
    peer.abort()
    await eventually(lambda: len(raised) == 2)
    assert raised == [TextFrame("x"), 1006]


async def test_an_empty_close_is_shown_as_it_came_and_is_no_quiet_end(plain: Any) -> None:
    shown: list[Any] = []

    async def serve(connection: Any) -> None:
        try:
            async for frame in connection.incoming:
                shown.append(frame)
        except ConnectionClosedError as error:
            shown.append(error.code)

    peer = await plain.serve(plain.route().handler(serve))
    peer.write(close(None))
    await peer.rest()
    await eventually(lambda: len(shown) == 2)
    assert shown == [CloseFrame(), 1005]


async def test_a_slow_reader_delays_neither_pongs_nor_the_close_below_its_bound(net: Any) -> None:  # C5
    never = asyncio.Event()

    async def serve(connection: Any) -> None:
        await never.wait()

    server = await net.listen(net.route().max_queue(64).handler(serve))
    peer = await net.peer(server)
    peer.write(*[text("unread")] * 63, ping(b"p"), close(1000, "bye"))
    assert await peer.frame() == Seen(10, b"p")
    end = await peer.frame()
    assert (end.opcode, end.code, end.reason) == (8, 1000, "bye")
    assert await peer.frame() is None
    await server.close(grace=0)


async def test_a_flood_that_nobody_receives_stops_at_the_bound_and_all_of_it_arrives_later(net: Any) -> None:
    begin = asyncio.Event()
    total = 300
    sizes: list[int] = []

    async def serve(connection: Any) -> None:
        await begin.wait()
        async for data in connection:
            sizes.append(len(connection._inbox))
            assert data == len(sizes).to_bytes(4, "big") * 4096
            if len(sizes) == total:
                return

    server = await net.listen(net.route().max_queue((None, 100_000)).handler(serve))
    peer = await net.peer(server)
    for number in range(total):
        peer.write(binary((number + 1).to_bytes(4, "big") * 4096))
    (connection,) = server.connections
    await eventually(lambda: connection._inbox.size >= 100_000)
    await asyncio.sleep(0.02)
    assert connection.bytes_read < 1_000_000 < total * 16384
    begin.set()
    end = await peer.closed()
    assert (end.code, len(sizes)) == (1000, total)
    assert max(sizes) <= 100_000 // 16384 + 1


async def test_server_close_ends_a_handler_that_receives_and_cancels_one_that_does_not(plain: Any) -> None:
    ends: list[str] = []

    async def serve(connection: Any) -> None:
        try:
            async for _ in connection:
                pass
            ends.append("quietly")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    server = await plain.listen(plain.route().handler(serve))
    peer = await plain.peer(server)
    closing = server.close(grace=0.1)
    assert (await peer.closed()).code == 1001
    await closing
    await eventually(lambda: len(ends) == 2)
    assert ends == ["quietly", "cancelled"]


async def test_the_events_come_in_the_stated_order_around_a_handler(plain: Any) -> None:  # S6
    log: list[Any] = []

    async def serve(connection: Any) -> None:
        log.append("open")
        log.append(await connection.receive())
        raise LookupError

    route = plain.route().handler(serve)
    route.on_error(lambda connection, error: log.append((type(error), connection.close_reason)))
    route.on_close(lambda connection, reason: log.append((reason, connection.close_reason)))
    peer = await plain.serve(route)
    peer.write(text("message"))
    assert (await peer.closed()).code == 1011
    await eventually(lambda: len(log) == 4)
    assert log == ["open", "message", (LookupError, (1011, "")), ((1011, ""), (1011, ""))]


async def test_from_another_thread_a_message_is_received_through_threadsafe(plain: Any) -> None:
    server = await plain.listen(plain.route().on_message(lambda frame, connection: connection.send(frame)))
    connection = await plain.connect(server)
    one = connection.threadsafe

    def other() -> list[Any]:
        for what in ("a", "b", b"c", "d"):
            one.send(what)
        return [
            one.receive().result(LIMIT),
            one.receive_text().result(LIMIT),
            one.receive_data().result(LIMIT),
            one.receive_frame().result(LIMIT),
        ]

    assert await asyncio.to_thread(other) == ["a", "b", b"c", TextFrame("d")]


async def test_a_type_that_no_message_can_become_is_refused_in_another_thread_at_once(plain: Any) -> None:
    server = await plain.listen(plain.route().discard())
    one = (await plain.connect(server)).threadsafe

    def other() -> None:
        with pytest.raises(TypeError, match=r"type=<object object .*: no message can become that"):
            one.receive_deserialized(object()).result(LIMIT)

    await asyncio.to_thread(other)


async def test_a_handle_of_another_thread_that_was_cancelled_in_time_has_taken_nothing(plain: Any) -> None:
    # cancel() returned True and the message that came at that moment was gone.
    server = await plain.listen(plain.route().on_message(lambda frame, connection: connection.send(frame)))
    one = (await plain.connect(server)).threadsafe

    def other() -> tuple[list[Any], int]:
        got, cancelled = [], 0
        for number in range(300):
            handle = one.receive()
            one.send(str(number))
            if number % 2:
                one.flush().result(LIMIT)  # the answer is on its way, or here
            if handle.cancel():
                cancelled += 1
                handle = one.receive()
            got.append(handle.result(LIMIT))
        return got, cancelled

    got, cancelled = await asyncio.to_thread(other)
    assert got == [str(number) for number in range(300)]
    assert cancelled


# ---- who receives where ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", ["on_accept", "on_accept_async", "nothing", "discard"])
async def test_a_route_without_a_message_callback_discards_and_receive_says_so(plain: Any, only: str) -> None:
    server = await plain.listen(
        {
            "on_accept": lambda route: route.on_accept(lambda connection: None),
            "on_accept_async": lambda route: route.on_accept_async(lambda connection: None),
            "nothing": lambda route: route,
            "discard": lambda route: route.discard(),
        }[only](plain.route().max_queue(2))
    )
    peer = await plain.peer(server)
    peer.write(*[text("x")] * 100, ping(b"p"))
    assert await peer.frame() == Seen(10, b"p")
    (connection,) = server.connections
    with pytest.raises(RuntimeError, match=r"discarded.*\.handler\("):
        await connection.receive()


async def test_a_client_that_discards_cannot_receive(plain: Any) -> None:
    server = await plain.listen(plain.route())
    connection = await plain.connect(server, lambda builder: builder.discard())
    with pytest.raises(RuntimeError, match=r"discarded.*handler"):
        await connection.receive()


@pytest.mark.parametrize("other", ["on_message", "on_text", "on_binary", "on_accept", "on_open", "on_accept_async"])
def test_a_handler_and_a_callback_in_its_place_exclude_each_other(other: str) -> None:
    async def callback(*arguments: object) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match=r"handler\(\) .*exclude each other|is set already"):
        getattr(http_server().websocket("/").handler(callback), other)(callback)
    with pytest.raises(ValueError, match=r"handler\(\) and .* exclude each other"):
        getattr(http_server().websocket("/"), other)(callback).handler(callback)


def test_a_handler_is_set_once_is_callable_and_excludes_discard_and_a_service() -> None:
    class Service:
        def received(self, message: object, connection: object) -> None: ...

    def route() -> Any:
        return http_server().websocket("/")

    with pytest.raises(TypeError, match="must be callable"):
        route().handler(None)
    with pytest.raises(ValueError, match="is set already"):
        route().handler(print).handler(print)
    with pytest.raises(ValueError, match="exclude each other"):
        route().handler(print).discard()
    with pytest.raises(ValueError, match="exclude each other"):
        route().discard().handler(print)
    with pytest.raises(ValueError, match="exclude each other"):
        route().handler(print).service(Service())
    with pytest.raises(ValueError, match="exclude each other"):
        route().service(Service()).handler(print)
