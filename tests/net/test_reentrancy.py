"""Any call on the connection from inside a callback, in the middle of a batch of frames that came in one read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from judge import CLOSE, PING, PONG, TEXT
from peers import Frame, Peer, close, eventually, ping, pong, text

from firefly_ws import CloseReason, ConnectionClosed, TextFrame, http_server

BATCH = 200
MIDDLE = 100


def batch(count: int = BATCH) -> bytes:
    """Many frames for one write."""
    return b"".join(text(str(number)) for number in range(count))


@pytest.fixture(params=["plain function", "async", "async that suspends"])
def style(request: pytest.FixtureRequest) -> Callable[[Callable[[str, Any], object]], Any]:
    """The same callback, written in three ways."""

    def plain(inner: Callable[[str, Any], object]) -> Any:
        def callback(data: str, conn: Any) -> None:
            inner(data, conn)

        return callback

    def at_once(inner: Callable[[str, Any], object]) -> Any:
        async def callback(data: str, conn: Any) -> None:
            inner(data, conn)

        return callback

    def suspending(inner: Callable[[str, Any], object]) -> Any:
        async def callback(data: str, conn: Any) -> None:
            await asyncio.sleep(0)
            inner(data, conn)

        return callback

    return {"plain function": plain, "async": at_once, "async that suspends": suspending}[request.param]


async def test_every_message_of_a_batch_may_send_and_the_answers_keep_their_order(net: Any, style: Any) -> None:
    peer = await net.serve(net.route().on_text(style(lambda data, conn: conn.send(data))))
    peer.write(batch())
    assert await peer.texts(BATCH) == [str(number) for number in range(BATCH)]


async def test_text_data_frames_and_control_frames_sent_in_a_callback_leave_in_the_order_of_the_calls(
    net: Any,
) -> None:
    def on_text(data: str, conn: Any) -> None:
        conn.send(data)
        conn.send_data(b"b")
        conn.ping(data)
        conn.send_frame(TextFrame("t"))
        conn.pong(b"q")

    peer = await net.serve(net.route().on_text(on_text))
    peer.write(batch(50))
    for number in range(50):
        name = str(number).encode()
        expected = [Frame(TEXT, name), Frame(2, b"b"), Frame(PING, name), Frame(TEXT, b"t"), Frame(PONG, b"q")]
        assert [await peer.frame() for _ in range(5)] == expected


async def test_after_close_nothing_more_of_the_batch_is_delivered(net: Any, style: Any) -> None:
    got: list[str] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        if data == str(MIDDLE):
            conn.send("last")
            conn.close(3000, "enough")

    pings: list[bytes] = []
    route = net.route().on_text(style(on_text)).on_ping(lambda data, conn: pings.append(data))
    peer = await net.serve(route)
    peer.write(batch(), ping(b"behind"), text("behind"))
    assert await peer.rest_until_close() == [Frame(TEXT, b"last"), Frame(CLOSE, b"\x0b\xb8enough")]
    assert got == [str(number) for number in range(MIDDLE + 1)]
    assert pings == []


async def test_after_close_from_on_frame_or_on_ping_neither_is_called_again_for_the_batch(net: Any) -> None:
    got: list[object] = []

    def on_frame(one: Any, conn: Any) -> None:
        got.append(one)
        if len(got) == 3:
            conn.close()

    route = net.route().on_frame(on_frame).on_text(lambda data, conn: got.append(data))
    peer = await net.serve(route.on_ping(lambda data, conn: got.append(data)))
    peer.write(ping(b"p"), text("a"), ping(b"q"), text("b"))
    await peer.rest_until_close()
    assert got[1] == b"p"
    assert got[3:] == []


@pytest.mark.parametrize("end", ["terminate", "drop"])
async def test_after_terminate_and_drop_nothing_more_of_the_batch_is_delivered(net: Any, style: Any, end: str) -> None:
    got: list[str] = []
    reasons: list[CloseReason] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        if data == str(MIDDLE):
            getattr(conn, end)()
            with pytest.raises(ConnectionClosed):
                conn.send("late")

    route = net.route().on_text(style(on_text)).on_close(lambda conn, reason: reasons.append(reason))
    peer = await net.serve(route)
    peer.write(batch())
    await eventually(lambda: reasons)
    assert got == [str(number) for number in range(MIDDLE + 1)]
    assert reasons[0].code == 1006
    assert [one.opcode for one in await peer.rest()] == ([CLOSE] if end == "drop" else [])


async def test_after_pause_reading_nothing_of_the_batch_is_delivered_until_resumed(net: Any, style: Any) -> None:
    got: list[str] = []
    connections: list[Any] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        if data == str(MIDDLE):
            conn.pause_reading()
            connections.append(conn)

    peer = await net.serve(net.route().on_text(style(on_text)))
    peer.write(batch())
    await eventually(lambda: connections)
    await asyncio.sleep(0.03)
    assert len(got) == MIDDLE + 1
    connections[0].resume_reading()
    assert len(got) == MIDDLE + 1, "callbacks are not called from within resume_reading"
    await eventually(lambda: len(got) == BATCH)
    assert got == [str(number) for number in range(BATCH)]


async def test_pause_and_resume_in_one_callback_loses_nothing(net: Any, style: Any) -> None:
    got: list[str] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        conn.pause_reading()
        conn.resume_reading()

    peer = await net.serve(net.route().on_text(style(on_text)))
    peer.write(batch())
    await eventually(lambda: len(got) == BATCH)
    assert got == [str(number) for number in range(BATCH)]


async def test_an_exception_ends_the_batch_and_what_was_sent_before_it_leaves_first(
    net: Any, style: Any, errors: Any
) -> None:
    got: list[str] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        conn.send(data)
        if data == str(MIDDLE):
            raise KeyError("secret")

    peer = await net.serve(net.route().on_text(style(on_text)))
    peer.write(batch())
    frames = await peer.rest_until_close()
    assert [one.payload.decode() for one in frames[:-1]] == got == [str(number) for number in range(MIDDLE + 1)]
    assert frames[-1].payload == b"\x03\xf3"
    assert len(errors()) == 1


async def test_an_exception_in_the_middle_of_fragments_leaves_the_parser_with_the_peers_close(net: Any) -> None:
    reasons: list[CloseReason] = []

    def on_ping(data: bytes, conn: Any) -> None:
        raise KeyError("between fragments")

    route = net.route().discard().on_ping(on_ping).on_close(lambda conn, reason: reasons.append(reason))
    peer = await net.serve(route)
    peer.write(text("a", fin=False), ping(), text("b")[:0], b"\x80\x80" + bytes(4), text("whole"), close(3001))
    frames = await peer.rest()
    assert [(one.opcode, one.code) for one in frames if one.opcode == CLOSE] == [(CLOSE, 1011)]
    await eventually(lambda: reasons)
    assert reasons == [CloseReason(3001, "")]


async def test_ping_from_a_callback_is_matched_by_the_pong_in_the_next_batch(net: Any) -> None:
    waits: list[Any] = []
    peer = await net.serve(net.route().on_text(lambda data, conn: waits.append(conn.ping(data))))
    peer.write(batch(20))
    pings = [await peer.frame() for _ in range(20)]
    assert all(one.opcode == PING for one in pings)
    peer.write(*[pong(one.payload) for one in pings])
    for wait in waits:
        assert 0 <= await wait < 1


async def test_a_callback_may_close_twice_pause_and_terminate_in_any_order(net: Any) -> None:
    calls: list[Callable[[Any], object]] = [
        lambda conn: conn.pause_reading(),
        lambda conn: conn.close(),
        lambda conn: conn.resume_reading(),
        lambda conn: conn.close(1001),
        lambda conn: conn.drop(),
        lambda conn: conn.terminate(),
        lambda conn: conn.flush(),
        lambda conn: conn.wait_closed(),
        lambda conn: conn.terminate(),
        lambda conn: conn.close(),
        lambda conn: conn.pause_reading(),
        lambda conn: conn.resume_reading(),
    ]
    for rotation in range(len(calls)):
        ended: list[CloseReason] = []
        delivered: list[str] = []

        def on_text(data: str, conn: Any, first: int = rotation, delivered: list[str] = delivered) -> None:
            delivered.append(data)
            for call in calls[first:] + calls[:first]:
                call(conn)

        route = net.route().on_text(on_text)
        route.on_close(lambda conn, reason, ended=ended: ended.append(reason))
        peer = await net.serve(route)
        peer.write(batch(50))
        await eventually(lambda ended=ended: ended)
        assert delivered == ["0"]
        assert len(ended) == 1


async def test_sending_on_another_connection_from_a_callback_reaches_it(net: Any) -> None:
    connections: list[Any] = []

    def on_text(data: str, conn: Any) -> None:
        for other in connections:
            other.send(data)

    server = await net.listen(net.route().on_accept(connections.append).on_text(on_text))
    one, other = await net.peer(server), await net.peer(server)
    await eventually(lambda: len(connections) == 2)
    one.write(batch())
    expected = [str(number) for number in range(BATCH)]
    assert await one.texts(BATCH) == expected
    assert await other.texts(BATCH) == expected


async def test_closing_another_connection_in_the_middle_of_its_own_batch_drops_the_rest(net: Any) -> None:
    connections: list[Any] = []
    got: list[str] = []

    def on_text(data: str, conn: Any) -> None:
        got.append(data)
        if data == "end it":
            connections[0].terminate()
        elif data == "0":
            conn.pause_reading()

    server = await net.listen(net.route().on_accept(connections.append).on_text(on_text))
    one = await net.peer(server)
    await eventually(lambda: connections)
    other = await net.peer(server)
    one.write(batch())
    await eventually(lambda: got == ["0"])
    other.write(text("end it"))
    assert await one.rest() == []
    assert got == ["0", "end it"]


@pytest.mark.parametrize("end", ["close", "terminate", "drop"])
async def test_a_connection_ended_in_on_accept_delivers_no_message(net: Any, end: str) -> None:
    got: list[str] = []
    ended: list[object] = []
    route = net.route().on_accept(lambda conn: getattr(conn, end)() and None)
    route.on_text(lambda data, conn: got.append(data)).on_close(lambda conn, reason: ended.append(reason))
    peer = await net.serve(route, behind=batch(20))
    if end == "close":
        await peer.rest_until_close()
    await eventually(lambda: ended)
    assert got == []


async def test_pausing_in_on_accept_holds_back_messages_and_frames_alike(net: Any) -> None:
    got: list[object] = []
    connections: list[Any] = []

    def on_accept(conn: Any) -> None:
        connections.append(conn)
        conn.pause_reading()

    route = net.route().on_accept(on_accept).on_text(lambda data, conn: got.append(data))
    route.on_frame(lambda one, conn: got.append(one)).on_ping(lambda data, conn: got.append(data))
    peer = await net.serve(route, behind=text("a") + ping(b"p"))
    peer.write(text("b"))
    await asyncio.sleep(0.03)
    assert got == []
    connections[0].resume_reading()
    await eventually(lambda: len(got) == 6)
    assert [one for one in got if isinstance(one, str)] == ["a", "b"]


@pytest.mark.parametrize("where", ["on_frame", "on_ping", "on_pong"])
async def test_pausing_in_any_callback_stops_all_of_them_for_the_batch(net: Any, where: str) -> None:
    got: list[object] = []
    connections: list[Any] = []

    def noting(name: str) -> Any:
        def callback(one: object, conn: Any) -> None:
            got.append((name, one))
            if name == where and not connections:
                connections.append(conn)
                conn.pause_reading()

        return callback

    route = net.route()
    for name in ("on_frame", "on_ping", "on_pong", "on_text"):
        getattr(route, name)(noting(name))
    peer = await net.serve(route)
    peer.write(text("a"), ping(b"p"), pong(b"q"), text("b"), ping(b"r"), pong(b"s"), text("c"))
    await eventually(lambda: connections)
    await asyncio.sleep(0.02)
    before = len(got)
    assert got[before - 1][0] == where  # type: ignore[index]
    peer.write(text("d"))
    await asyncio.sleep(0.02)
    assert len(got) == before
    connections[0].resume_reading()
    await eventually(lambda: ("on_text", "d") in got)
    assert [one for name, one in got if name == "on_text"] == ["a", "b", "c", "d"]  # type: ignore[misc]
    assert sum(name == "on_frame" for name, _ in got) == 8  # type: ignore[misc]


@pytest.mark.parametrize("make", [uvloop.new_event_loop, asyncio.new_event_loop])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_leaves_the_loop_and_the_connection_can_go_on(
    make: Callable[[], asyncio.AbstractEventLoop], kind: type[BaseException]
) -> None:
    def on_text(data: str, conn: Any) -> None:
        conn.send(data)
        if data == "1":
            raise kind

    async def begin() -> tuple[Any, Peer]:
        server = await http_server().websocket("/").on_text(on_text).listen("127.0.0.1", 0)
        return server, await Peer.connect(server.port)

    async def go_on() -> None:
        assert await peer.texts(5) == [str(number) for number in range(5)]
        peer.write(close())
        await peer.rest()
        await peer.end()
        await server.close()

    loop = make()
    try:
        server, peer = loop.run_until_complete(begin())
        peer.write(batch(5))
        with pytest.raises(kind):
            loop.run_until_complete(asyncio.sleep(5))
        loop.run_until_complete(go_on())
    finally:
        loop.close()
